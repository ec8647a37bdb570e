"""The whole vocabulary at once: is a thing's name among the nearest of all names, and does a name that is in no photo
stay silent?

    python -m tarsier_recipe evaluate-names        # ../../shared/data/val.json; COCO's photos and names

`tarsier everything` names each object by the nearest of all names of the pack. Of the labelled boxes that it finds (IoU
at least 0.5, the best such object) it is counted where the label's name comes. Many names are true of one thing (a
person is a human): the first place is no measure, the first three and five are.

Then names that no training photo shows and that are not near to one that some do (`prompts.NEAR`) are asked of every
photo, at the pack's thresholds: each box is taken for a mistake. Nobody looked: a lamp post may be one.
"""

import json
import random
import subprocess
from pathlib import Path

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.evaluation.boxes import coco_truth, through_binary
from tarsier_recipe.evaluation.errors import ious

PLACES = (1, 3, 5, 10)


def everything(a, files):
    """[(file name, boxes [n,4] in pixels of the photo, names nearest first)] of `tarsier everything`."""
    command = [
        a.tarsier,
        "everything",
        "--pack",
        a.pack,
        "--names",
        max(PLACES),
        "--format",
        "json",
        "--threads",
        a.threads,
        *files,
    ]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, check=True)
    for line in done.stdout.splitlines():
        frame = json.loads(line)
        boxes = np.array(
            [
                (d["bbox"]["center"]["x"], d["bbox"]["center"]["y"], d["bbox"]["size_x"], d["bbox"]["size_y"])
                for d in frame["detections"]
            ]
        ).reshape(-1, 4)
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        yield (
            Path(frame["file_name"]).name,
            np.concatenate([middle - half, middle + half], 1),
            [[r["class_id"] for r in d["results"]] for d in frame["detections"]],
        )


def strangers(build, count):
    """Names of the vocabulary that no training photo shows, and that are not near to one that some do."""
    from tarsier_recipe.detector.prompts import NEAR, PromptBank

    records = json.load(open(build.categories))
    trained = [c["name"] for c in records if "training" in c["sets"]]
    others = [c["name"] for c in records if "training" not in c["sets"]]
    rows = PromptBank(build.prompts, trained + others).names().numpy()
    far = (rows[len(trained) :] @ rows[: len(trained)].T).max(1) < NEAR
    return random.Random(0).sample([n for n, f in zip(others, far) if f], count)


def main():
    p = options.parser(__doc__, *options.BINARY, "output")
    p.add_argument("--source", default="coco", help="only photos of this `source`; `any` takes all")
    p.add_argument("--strangers", type=int, default=200, help="names that are in no photo")
    a = options.parse(p)
    truth, ids = coco_truth(a.annotations, a.source, a.limit)
    files = [a.images / im["file_name"] for im in truth["images"]]
    name_of, labels = {k: n for n, k in ids.items()}, {}
    file_of = {im["id"]: Path(im["file_name"]).name for im in truth["images"]}
    for n in truth["annotations"]:
        if not n.get("iscrowd"):
            labels.setdefault(file_of[n["image_id"]], []).append((name_of[n["category_id"]], n["bbox"]))
    places, total = {}, 0
    for file, boxes, names in everything(a, files):
        for name, box in labels.get(file, []):
            total += 1
            x, y, w, h = box
            overlap = ious(boxes, np.array([[x, y, x + w, y + h]]))
            if len(boxes) and overlap.max() >= 0.5:
                nearest = names[overlap.argmax()]
                places.setdefault(name, []).append(nearest.index(name) if name in nearest else max(PLACES))
    every = np.concatenate(list(places.values()))
    numbers = {"labelled boxes": total, "found by `everything`": len(every)}
    numbers |= {
        f"name among the nearest {n} of all, share of boxes": round(float((every < n).mean()), 3) for n in PLACES
    }
    numbers |= {
        f"name among the nearest {n} of all, mean over names": round(
            float(np.mean([(np.array(v) < n).mean() for v in places.values()])), 3
        )
        for n in PLACES
    }
    asked = strangers(a.build, a.strangers)
    found = through_binary(a, files, asked)
    pairs = {(r["file_name"], r["category_name"]) for r in found}
    numbers |= {
        "names that are in no photo": len(asked),
        "of these and photos, share of pairs with a box": round(len(pairs) / len(asked) / len(files), 4),
    }
    for k, v in numbers.items():
        print(f"{k}: {v}")
    if a.output:
        a.output.write_text(
            json.dumps({**numbers, "places by name": {n: v for n, v in sorted(places.items())}}, indent=1)
        )


if __name__ == "__main__":
    main()

"""Showing against naming: AP of prompts made from boxes of training photos, beside the AP of the names of the same
things.

    python -m tarsier_recipe evaluate-exemplars  # ../tarsier-s.tarsier through the program
    python -m tarsier_recipe evaluate-exemplars --shots 1 3 5 --draws 3

For every category, `draws` times, k boxes from k photos of the training split are shown (`tarsier vocab add
--exemplar`); then the photos of the validation split are looked at with these words (`tarsier detect --words`).
Names of COCO are measured on the photos of COCO, the others on those of the source that labels them all. A box in
which the program finds nothing object-like is left for the next; how often that happens is printed.
"""

import contextlib
import io
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tarsier_recipe import options

COCO = (
    "person elephant giraffe horse bus motorcycle dog train broccoli frisbee tv airplane pizza cat laptop car boat "
    "umbrella surfboard skateboard"
).split()
# categories outside COCO with enough boxes on both sides: name -> source of the photos in which all of them are
# labelled
OTHERS = {"cabinet door": "doordetect", "refrigerator door": "doordetect", "door": "doordetect", "handle": "doordetect"}


def boxes_of(split, name, least):
    """One box per photo, the largest of the name; none below that share of the photo."""
    ids = {c["id"] for c in split["categories"] if c["name"] == name}
    photos = {p["id"]: p for p in split["images"]}
    best = {}
    for n in split["annotations"]:
        photo = photos[n["image_id"]]
        x, y, w, h = n["bbox"]
        if n["category_id"] in ids and not n.get("iscrowd") and w * h >= least * photo["width"] * photo["height"]:
            if n["image_id"] not in best or w * h > best[n["image_id"]][1][2] * best[n["image_id"]][1][3]:
                best[n["image_id"]] = (photo["file_name"], (x, y, w, h))
    return [best[k] for k in sorted(best)]


def shown(a, words, name, boxes, k):
    """Adds a word from the first k boxes that the program takes; how many it refused."""
    taken, refused = [], 0
    for file, box in boxes:
        one = f"{a.images / file}@{','.join(f'{v:.1f}' for v in box)}"
        with tempfile.TemporaryDirectory() as scratch:
            tried = subprocess.run(
                [a.tarsier, "vocab", "--pack", a.pack, "--words", f"{scratch}/x.words", "add", name, "--exemplar", one],
                capture_output=True,
                text=True,
            )
        if tried.returncode == 65 and "nothing object-like" in tried.stderr:
            refused += 1
            continue
        assert tried.returncode == 0, tried.stderr
        taken.append(one)
        if len(taken) == k:
            break
    exemplars = [part for one in taken for part in ("--exemplar", one)]
    subprocess.run(
        [a.tarsier, "vocab", "--pack", a.pack, "--words", words, "add", name, *exemplars],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return refused


def detected(a, files, names, more):
    """COCO results for these names, a few at a time: a report holds 300 boxes."""
    found = []
    for at in range(0, len(names), 10):
        prompts = [part for name in names[at : at + 10] for part in ("--prompt", name)]
        command = [
            a.tarsier,
            "detect",
            "--pack",
            a.pack,
            *more,
            *prompts,
            "--threshold",
            a.threshold,
            "--threads",
            a.threads,
            "--format",
            "coco",
        ]
        done = subprocess.run([*map(str, command), *map(str, files)], stdout=subprocess.PIPE, check=True)
        found += json.loads(done.stdout)
    return found


def ap(split, source, found, names, of):
    """AP and AP50 by name, on the photos of one source."""
    from pycocotools.coco import COCO as Truth
    from pycocotools.cocoeval import COCOeval

    photos = {p["id"]: p for p in split["images"] if p.get("source") == source}
    ids = {c["name"]: c["id"] for c in split["categories"]}
    truth, by_file = Truth(), {Path(p["file_name"]).name: k for k, p in photos.items()}
    truth.dataset = {
        **split,
        "images": list(photos.values()),
        "annotations": [n for n in split["annotations"] if n["image_id"] in photos],
    }
    results = [
        {
            "image_id": by_file[r["file_name"]],
            "category_id": ids[of(r["category_name"])],
            "bbox": r["bbox"],
            "score": r["score"],
        }
        for r in found
        if r["file_name"] in by_file
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        e = COCOeval(truth, truth.loadRes(results), "bbox")
        e.params.catIds = [ids[n] for n in names]
        e.evaluate()
        e.accumulate()
    precision = e.eval["precision"][:, :, :, 0, 2]
    mean = lambda p: 100 * float(p[p > -1].mean()) if (p > -1).any() else float("nan")
    place = {n: list(e.params.catIds).index(ids[n]) for n in names}  # evaluate() sorts them
    return {n: (mean(precision[:, :, i]), mean(precision[0, :, i])) for n, i in place.items()}


def main():
    p = options.parser(__doc__, "images", "pack", "tarsier", "output")
    p.add_argument("--shots", type=int, nargs="+", default=[1, 3, 5])
    p.add_argument("--draws", type=int, default=3)
    p.add_argument("--threshold", default="0.02")
    a = options.parse(p)
    train, val = json.load(open(a.shared / "data/train.json")), json.load(open(a.shared / "data/val.json"))
    sources = {**dict.fromkeys(COCO, "coco"), **OTHERS}
    names = list(sources)
    files = {
        s: [a.images / im["file_name"] for im in val["images"] if im.get("source") == s] for s in set(sources.values())
    }

    def measured(prefix, more):
        out = {}
        for source, photos in files.items():
            own = [n for n in names if sources[n] == source]
            out.update(
                ap(
                    val,
                    source,
                    detected(a, photos, [prefix + n for n in own], more),
                    own,
                    lambda n: n.removeprefix(prefix),
                )
            )
        return out

    table = {"name": measured("", ["--no-words"])}
    refused = total = 0
    for k in a.shots:
        draws = []
        for draw in range(a.draws):
            with tempfile.TemporaryDirectory() as folder:
                words = f"{folder}/shown.words"
                for name in names:
                    boxes = boxes_of(train, name, 0.01 if sources[name] == "coco" else 0.002)
                    random.Random(f"{name} {draw}").shuffle(boxes)
                    more = shown(a, words, f"shown {name}", boxes, k)
                    refused, total = refused + more, total + more + k
                draws.append(measured("shown ", ["--words", words]))
            print(
                f"k = {k}, draw {draw}: mean AP {np.nanmean([draws[-1][n][0] for n in names if n in COCO]):.1f} (COCO)",
                flush=True,
            )
        table[f"k={k}"] = {n: tuple(np.mean([d[n] for d in draws], 0)) for n in names}
    print(f"\n{refused} of {total} boxes held nothing object-like\n")
    print("| AP (AP50) | " + " | ".join(table) + " |\n|---|" + "---|" * len(table))
    line = lambda label, chosen: print(
        f"| {label} | "
        + " | ".join("{:.1f} ({:.1f})".format(*np.nanmean([column[n] for n in chosen], 0)) for column in table.values())
        + " |"
    )
    line("mean of COCO's", COCO)
    for n in names:
        line(n, [n])
    if a.output:
        a.output.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()

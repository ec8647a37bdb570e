"""What the shipped binary makes of sentences: `tarsier ground` on expressions about photos.

    python -m tarsier_recipe evaluate-grounding  # build/detector/expressions_val.json, made by `ground`
    # RefCOCO in MDETR's form
    python -m tarsier_recipe evaluate-grounding --expressions finetune_refcoco_val.json --images train2014

* P@0.5: the box that matches best overlaps the one that is meant by half (IoU), whether or not it passes the gate; mIoU
  is the mean IoU.
* with the gate: the same for what a user sees, and how many sentences about things that are absent get a box
  (intra-scenario: such sentences were written for that photo).
* inter-scenario: `--asked` sentences asked of every photo; a sentence is taken to be true only of the photos it was
  written for, so a few of these boxes are right after all.

The expressions are a JSON list of {"file_name", "sentence", "kind", "box": [x0, y0, x1, y1] in parts of the photo,
or null if absent}.
"""

import collections
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tarsier_recipe import options


def expressions(path):
    """The list of the head of this file; RefCOCO, RefCOCO+ and RefCOCOg in MDETR's COCO form are converted."""
    told = json.load(open(path))
    if isinstance(told, list):
        return told
    images, out = {im["id"]: im for im in told["images"]}, []
    for n in told["annotations"]:
        im = images[n["image_id"]]
        x, y, w, h = n["bbox"]
        scale = [im["width"], im["height"]] * 2
        out.append(
            {
                "file_name": im["file_name"],
                "sentence": im["caption"],
                "kind": im.get("dataset_name", "refcoco"),
                "box": [v / s for v, s in zip([x, y, x + w, y + h], scale)],
            }
        )
    return out


def ask(a, files, sentences, threshold=None):
    """Lists of answers by file name, in the order of the sentences."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write("\n".join(sentences))
        f.flush()
        command = [
            a.tarsier,
            "ground",
            "--pack",
            a.pack,
            "--sentences",
            f.name,
            "--format",
            "json",
            "--threads",
            str(a.threads),
        ]
        command += [] if threshold is None else ["--threshold", str(threshold)]
        out = subprocess.run([*map(str, command), *map(str, files)], stdout=subprocess.PIPE, check=True).stdout
    frames = [json.loads(line) for line in out.splitlines()]
    return {Path(f["file_name"]).name: f["groundings"] for f in frames}


def corners(b):
    return np.array(
        [
            b["center"]["x"] - b["size_x"] / 2,
            b["center"]["y"] - b["size_y"] / 2,
            b["center"]["x"] + b["size_x"] / 2,
            b["center"]["y"] + b["size_y"] / 2,
        ]
    )


def iou(a, b):
    lt, rb = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = np.clip(rb - lt, 0, None).prod()
    return both / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both, 1e-9)


def main():
    p = options.parser(__doc__, "images", "pack", "tarsier", "output", threads=1)
    p.add_argument("--expressions", type=Path)
    p.add_argument("--asked", type=int, default=100, help="sentences asked of every photo; 0 leaves that out")
    a = options.parse(p)
    told = expressions(a.expressions or a.build.expressions)
    by_file, where = collections.defaultdict(list), {f.name: f for f in a.images.rglob("*") if f.is_file()}
    for t in told:
        by_file[Path(t["file_name"]).name].append(t)
    overlap, kinds, gone, seen, n = [], collections.defaultdict(list), [], [], 0
    for file, rows in sorted(by_file.items()):
        size = np.array(Image.open(where[file]).size * 2)
        sentences = [r["sentence"] for r in rows]
        best, shown = ask(a, [where[file]], sentences, 0)[file], ask(a, [where[file]], sentences)[file]
        for r, b, s in zip(rows, best, shown):
            if r["box"] is None:
                gone.append(s["bbox"] is not None)
                kinds[r["kind"]].append(gone[-1])
            else:
                overlap.append(iou(corners(b["bbox"]), np.array(r["box"]) * size) if b["bbox"] else 0.0)
                seen.append(overlap[-1] if s["bbox"] else 0.0)
                kinds[r["kind"]].append(overlap[-1] >= 0.5)
        n += 1
        if n % 50 == 0:
            print(f"{n}/{len(by_file)} photos", flush=True)
    overlap, seen = np.array(overlap), np.array(seen)
    share = lambda v: round(float(np.mean(v)), 3) if len(v) else None  # noqa: E731
    numbers = {
        "sentences": len(overlap),
        "P@0.5": share(overlap >= 0.5),
        "mIoU": share(overlap),
        "P@0.5 with the gate": share(seen >= 0.5),
        "absent sentences": len(gone),
        "box for absent": share(gone),
        "P@0.5 by kind, or share of absent ones with a box": {k: [share(v), len(v)] for k, v in sorted(kinds.items())},
    }
    if a.asked:
        pool = random.Random(0).sample(sorted({t["sentence"] for t in told if t["box"]}), a.asked)
        true = {(Path(t["file_name"]).name, t["sentence"]) for t in told if t["box"]}
        answers = ask(a, [where[f] for f in sorted(by_file)], pool)
        given = [(g["bbox"] is not None, (file, g["sentence"]) in true) for file, gs in answers.items() for g in gs]
        numbers["inter-scenario: pairs not written for each other"] = sum(not own for _, own in given)
        numbers["inter-scenario: share of these with a box"] = share([box for box, own in given if not own])
    for k, v in numbers.items():
        print(f"{k}: {v}")
    if a.output:
        a.output.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()

"""Numbers of every pixel: mean IoU of `tarsier semantic` and panoptic quality of `tarsier panoptic`, through the
shipped binary (int8), on the stuff-labelled photos of a COCO-format split.

    python -m tarsier_recipe evaluate-scene  # ../tarsier-s.tarsier through the program
    python -m tarsier_recipe evaluate-scene --threshold 0.2 --stuff-threshold 0.3

Names are COCO's 80 and all stuff that these photos are annotated with. Only labelled pixels count; a pixel that is
labelled and that the program gives no name is wrong. PQ is that of Kirillov et al. 2019: a segment matches where the
IoU is over one half, crowds and unlabelled pixels are void.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.quality import Confusion, Panoptic


def decoded(segmentation, height, width):
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation).astype(bool)


def run(a, task, stuff, files, *more):
    """What a task says of the photos, as JSON."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as prompts:
        prompts.write("\n".join(COCO80))
        prompts.flush()
        command = [
            a.tarsier,
            task,
            "--pack",
            a.pack,
            "--prompts",
            prompts.name,
            "--format",
            "coco",
            "--threads",
            a.threads,
            *more,
        ]
        command += [o for n in stuff for o in ("--stuff", n)]
        command += [] if a.threshold is None else ["--threshold", a.threshold]
        command += [] if a.stuff_threshold is None else ["--stuff-threshold", a.stuff_threshold]
        done = subprocess.run([str(c) for c in [*command, *files]], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def truth_of(image, annotations, names):
    """Label map [h,w] (-1: not labelled), segments (name, thing, mask), and crowds: pixels that count neither way."""
    h, w = image["height"], image["width"]
    labels, crowd, stuff, things = np.full((h, w), -1), np.zeros((h, w), bool), {}, []
    for n in sorted(annotations, key=lambda n: n["isthing"]):  # things lie on stuff
        if n["name"] not in names or not n.get("segmentation"):
            continue
        mask = decoded(n["segmentation"], h, w)
        labels[mask] = names[n["name"]]
        if n.get("iscrowd"):
            crowd |= mask
        elif n["isthing"]:
            things.append((n["name"], True, mask))
        else:
            stuff[n["name"]] = stuff.get(n["name"], False) | mask
    covered = np.logical_or.reduce([m for *_, m in things]) if things else np.zeros((h, w), bool)
    return labels, things + [(n, False, m & ~covered) for n, m in stuff.items() if (m & ~covered).any()], crowd


def main():
    p = options.parser(__doc__, "annotations", "images", "pack", "tarsier", "output")
    p.add_argument("--threshold", type=float, help="of things; default: the pack's")
    p.add_argument("--stuff-threshold", type=float, help="default: the pack's")
    a = options.parse(p)
    data = json.load(open(a.annotations))
    images = {im["id"]: im for im in data["images"] if im.get("stuff_labelled")}
    stuff = sorted({n for im in images.values() for n in im["exhaustive_categories"]} - set(COCO80))
    names = {n: i for i, n in enumerate([*COCO80, *stuff])}
    of_category, by_image = {c["id"]: c["name"] for c in data["categories"]}, {i: [] for i in images}
    for n in data["annotations"]:
        if n["image_id"] in images:
            by_image[n["image_id"]].append({**n, "name": of_category[n["category_id"]]})
    files = {Path(im["file_name"]).name: im for im in images.values()}
    paths = [a.images / im["file_name"] for im in images.values()]
    print(f"{len(images)} photos, {len(names)} names, {len(stuff)} of them stuff, {a.pack}", flush=True)

    truths = {f: truth_of(im, by_image[im["id"]], names) for f, im in files.items()}
    said = {f: np.full(t[0].shape, -1) for f, t in truths.items()}
    for r in run(a, "semantic", stuff, paths):
        said[r["file_name"]][coco_mask.decode(r["segmentation"]).astype(bool)] = names[r["category_name"]]
    confusion, split = Confusion(len(names)), len(COCO80)
    for f, (labels, *_) in truths.items():
        confusion.add(labels, said[f], labels >= 0)
    iou = confusion.iou()
    numbers = {
        "mIoU": np.nanmean(iou),
        "mIoU, things": np.nanmean(iou[:split]),
        "mIoU, stuff": np.nanmean(iou[split:]),
        "named pixels that are named right": confusion.summary()["accuracy"],
    }
    numbers = {k: round(100 * float(v), 2) for k, v in numbers.items()}
    numbers["names that are there"] = int((~np.isnan(iou)).sum())

    quality = Panoptic()
    with tempfile.TemporaryDirectory() as folder:
        found = run(a, "panoptic", stuff, paths, "--output", folder)
        file_of = {im["id"]: im["file_name"] for im in found["images"]}
        for annotation in found["annotations"]:
            rgb = np.asarray(Image.open(Path(folder) / annotation["file_name"])).astype(np.uint32)
            ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
            labels, segments, crowd = truths[file_of[annotation["image_id"]]]
            mine = [(s["category_name"], bool(s["isthing"]), ids == s["id"]) for s in annotation["segments_info"]]
            quality.add(segments, mine, (labels < 0) | crowd)
    numbers.update(quality.summary())
    best = sorted(((n, round(100 * float(iou[i]), 1)) for n, i in names.items() if iou[i] > 0), key=lambda kv: -kv[1])[
        :15
    ]
    print(json.dumps(numbers, indent=1))
    print("IoU of the best names:", ", ".join(f"{n} {v}" for n, v in best))
    if a.output:
        a.output.write_text(
            json.dumps(
                {
                    **numbers,
                    "IoU by name": {n: round(100 * float(iou[i]), 1) for n, i in names.items() if not np.isnan(iou[i])},
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()

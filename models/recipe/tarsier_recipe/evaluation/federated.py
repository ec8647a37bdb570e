"""Federated AP of the shipped binary: each name counts only on photos of which it is known whether the name is in them
(Gupta et al. 2019).

    python -m tarsier_recipe evaluate-federated  # ../../shared/data/val.json, names with boxes in it
    python -m tarsier_recipe evaluate-federated --annotations lvis_v1_val.json --images .../coco      # LVIS
    python -m tarsier_recipe evaluate-federated --annotations openimages/ --images openimages/validation
    # ODinW, RoboFlow100, Objects365: nothing is federated there
    python -m tarsier_recipe evaluate-federated --annotations _annotations.coco.json --images test
    # SegInW, LVIS: mask AP
    python -m tarsier_recipe evaluate-federated --annotations _annotations.coco.json --images valid --masks

Prompts are all names of the set, asked at once; a name that is not in the pack's vocabulary goes through the
sentence encoder. AP is the mean over names and IoU 0.50:0.95; `rare`, `common`, `frequent` are the mean over names
with at most 10, at most 100, and more photos in the evaluated labels (LVIS' own `frequency` where it says one).
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tarsier_recipe import options
from tarsier_recipe.evaluation.boxes import through_binary
from tarsier_recipe.evaluation.truth import in_pixels, load


def federated_ap(truth, results, category, kind="bbox"):
    """AP and AP50 of one category over the photos that say something of it; None where no box of it counts."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    photos = [im for im in truth["images"] if category in im["known"] or category in im["partial"]]
    ids = {im["id"] for im in photos}
    mine = [n for n in truth["annotations"] if n["category_id"] == category and n["image_id"] in ids]
    if not any(not n["iscrowd"] for n in mine):
        return None
    found = [r for r in results if r["category_id"] == category and r["image_id"] in ids]
    if not found:
        return 0.0, 0.0
    # what is found where not everything is boxed is no mistake: a crowd as large as the photo takes it
    free = max(n["id"] for n in truth["annotations"]) + 1
    for k, im in enumerate(im for im in photos if category in im["partial"]):
        w, h = im["width"], im["height"]
        mine.append(
            {
                "id": free + k,
                "image_id": im["id"],
                "category_id": category,
                "bbox": [0, 0, w, h],
                "area": w * h,
                "iscrowd": 1,
                "segmentation": [[0, 0, w, 0, w, h, 0, h]],
            }
        )
    coco = COCO()
    coco.dataset = {
        "images": [{k: im[k] for k in ("id", "width", "height")} for im in photos],
        "categories": [{"id": category, "name": str(category)}],
        "annotations": [dict(n) for n in mine],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes([dict(r) for r in found]), kind)
        e.params.maxDets = [300]
        e.params.areaRng, e.params.areaRngLbl = e.params.areaRng[:1], e.params.areaRngLbl[:1]
        e.evaluate()
        e.accumulate()
    pr = e.eval["precision"][:, :, 0, 0, 0]
    return float(pr[pr > -1].mean()), float(pr[0][pr[0] > -1].mean())


def main():
    p = options.parser(__doc__, *options.BINARY, "output")
    p.add_argument("--threshold", type=float, default=0.001)
    p.add_argument("--masks", action="store_true", help="mask AP; labels without a mask are left out")
    a = options.parse(p)
    truth = in_pixels(load(a.annotations), lambda f: Image.open(a.images / f).size)
    truth["images"] = truth["images"][: a.limit]
    chosen = {im["id"] for im in truth["images"]}
    truth["annotations"] = [
        n for n in truth["annotations"] if n["image_id"] in chosen and n["bbox"][2] > 0 and n["bbox"][3] > 0
    ]
    if a.masks:
        truth["annotations"] = [n for n in truth["annotations"] if n.get("segmentation")]
    have = {n["category_id"] for n in truth["annotations"] if n.get("isthing", 1)}
    categories = {c["id"]: c for c in truth["categories"] if c["id"] in have}
    ids = {c["name"].replace("_", " "): k for k, c in categories.items()}
    by_file = {Path(im["file_name"]).name: im["id"] for im in truth["images"]}
    print(f"{len(chosen)} photos, {len(truth['annotations'])} boxes, {len(ids)} names, {a.pack}", flush=True)
    found = through_binary(
        a,
        [a.images / im["file_name"] for im in truth["images"]],
        list(ids),
        a.threshold,
        *(["--masks"] if a.masks else []),
    )
    shape, kind = ("segmentation", "segm") if a.masks else ("bbox", "bbox")
    results = [
        {
            "image_id": by_file[r["file_name"]],
            "category_id": ids[r["category_name"]],
            shape: r[shape],
            "score": r["score"],
        }
        for r in found
        if r["category_name"] in ids
    ]
    ap = {k: v for k in categories if (v := federated_ap(truth, results, k, kind)) is not None}
    photos = {k: len({n["image_id"] for n in truth["annotations"] if n["category_id"] == k}) for k in ap}
    share = {
        k: categories[k].get("frequency") or ("r" if photos[k] <= 10 else "c" if photos[k] <= 100 else "f") for k in ap
    }
    mean = lambda ks, at=0: round(100 * float(np.mean([ap[k][at] for k in ks])), 2) if ks else None  # noqa: E731
    numbers = {"names": len(ap), "AP": mean(list(ap)), "AP50": mean(list(ap), 1)}
    numbers |= {
        long: [mean([k for k in ap if share[k] == short]), sum(v == short for v in share.values())]
        for long, short in (("AP, rare", "r"), ("AP, common", "c"), ("AP, frequent", "f"))
    }
    numbers["AP50 of the best"] = {
        categories[k]["name"]: round(100 * ap[k][1], 1) for k in sorted(ap, key=lambda k: -ap[k][1])[:20]
    }
    for k, v in numbers.items():
        print(f"{k}: {v}")
    if a.output:
        a.output.write_text(
            json.dumps(
                {**numbers, "AP by name": {categories[k]["name"]: round(100 * v[0], 2) for k, v in ap.items()}},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()

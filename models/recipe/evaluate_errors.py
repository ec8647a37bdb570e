"""Where box AP is lost: AP if one kind of mistake did not happen, everything else being as it is (fp32 export, calibrated scores).

    python evaluate_errors.py        # build/detector/{detector_fp32.onnx,calibration.json}

| mended | how |
|---|---|
| nothing | the export as it is |
| presence | names that are not in the photo are not asked for |
| class | a proposal on a labelled object (IoU of at least 0.5) has its greatest score for that object's name, and for no other |
| box | a proposal that touches an object of the name it is scored for (IoU of at least 0.1) has that object's box |

COCO photos of a split, the 80 names. A second stage, or another use of the same scores, can win no more than these.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from evaluate import COCO80, nms, proposals, unit_rows

HERE = Path(__file__).resolve().parent
LEAST = 0.001
ON, TOUCHES = 0.5, 0.1  # IoU


def ious(a, b):
    """Boxes [n,4] and [m,4] -> [n,m]."""
    lt, rb = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (rb - lt).clip(0).prod(2)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(1)  # noqa: E731
    return both / np.maximum(area(a)[:, None] + area(b)[None] - both, 1e-9)


def mended(boxes, scores, real, names):
    """Proposals [n,4] with scores [n,80] and labels [m,4] of names [m] -> {kind: (boxes for a name's index, scores)}."""
    there = np.isin(np.arange(len(COCO80)), names)
    out = {"nothing": (lambda c: boxes, scores), "presence": (lambda c: boxes, scores * there)}
    if not len(real):
        return out | {"class": out["nothing"], "box": out["nothing"]}
    overlap = ious(boxes, real)
    on = overlap.max(1) >= ON
    known = scores.copy()
    known[on] = 0
    known[on, names[overlap.argmax(1)[on]]] = scores[on].max(1)

    def exact(c):
        own = np.flatnonzero(names == c)
        if not len(own):
            return boxes
        o = overlap[:, own]
        return np.where((o.max(1) > TOUCHES)[:, None], real[own[o.argmax(1)]], boxes)

    return out | {"class": (lambda c: boxes, known), "box": (exact, scores)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[2] / "shared", type=Path)
    p.add_argument("--build", default=HERE.parent / "build", type=Path)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--limit", type=int, help="only the first photos")
    a = p.parse_args()
    a.onnx = a.build / "detector/detector_fp32.onnx"
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = json.load(open(a.shared / "data/val.json"))
    truth["images"] = [im for im in truth["images"] if im["source"] == "coco"][: a.limit]
    chosen = {im["id"] for im in truth["images"]}
    ids = {c["name"]: c["id"] for c in truth["categories"] if c["name"] in COCO80}
    index = {ids[n]: c for c, n in enumerate(COCO80)}
    truth["annotations"] = [n for n in truth["annotations"] if n["image_id"] in chosen and n["category_id"] in index]
    labels = {i: [] for i in chosen}
    for n in truth["annotations"]:
        if not n.get("iscrowd"):
            x, y, w, h = n["bbox"]
            labels[n["image_id"]].append((x, y, x + w, y + h, index[n["category_id"]]))
    rows, alignment = unit_rows(a, COCO80), json.load(open(a.build / "detector/alignment.json"))
    calibration = json.load(open(a.build / "detector/calibration.json"))
    own = [{**calibration["common"], **calibration["names"].get(n, {})} for n in COCO80]
    factor, shift = (np.array([o[k] for o in own]) for k in ("factor", "shift"))
    results = {}
    files = [a.shared / "data/images" / im["file_name"] for im in truth["images"]]
    for done, (im, (photo, (s, left, top), embedding, boxes, _)) in enumerate(zip(truth["images"], proposals(a, files))):
        to_json = np.array([im["width"] / photo.shape[1], im["height"] / photo.shape[0]] * 2)
        boxes = ((boxes - [left, top, left, top]) / s).clip(0, [photo.shape[1], photo.shape[0]] * 2) * to_json
        scores = 1 / (1 + np.exp(-(factor * (alignment["scale"] * embedding @ rows.T + alignment["bias"]) + shift)))
        label = np.array(labels[im["id"]]).reshape(-1, 5)
        for kind, (boxes_for, values) in mended(boxes, scores, label[:, :4], label[:, 4].astype(int)).items():
            for c in np.flatnonzero((values > LEAST).any(0)):
                at = np.flatnonzero(values[:, c] > LEAST)
                of = boxes_for(c)[at]
                for i in nms(of, values[at, c], 0.6):
                    x0, y0, x1, y1 = of[i]
                    results.setdefault(kind, []).append({"image_id": im["id"], "category_id": ids[COCO80[c]], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(values[at[i], c])})
        if done % 50 == 49:
            print(f"{done + 1} of {len(files)} photos", flush=True)
    coco = COCO()
    coco.dataset = truth
    print("mended      AP   AP50   AP75  small medium  large")
    for kind, found in results.items():
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
            e = COCOeval(coco, coco.loadRes(found), "bbox")
            e.params.imgIds, e.params.catIds = sorted(chosen), sorted(ids.values())
            e.evaluate(), e.accumulate(), e.summarize()
        print(f"{kind:9}" + "".join(f"{100 * v:7.2f}" for v in e.stats[:6]), flush=True)


if __name__ == "__main__":
    main()

"""Where box AP is lost: AP if one kind of mistake did not happen, everything else being as it is (fp32 export,
calibrated scores).

    python -m tarsier_recipe evaluate-errors        # build/detector/{detector_fp32.onnx,calibration.json}

| mended | how |
|---|---|
| nothing | the export as it is |
| presence | names that are not in the photo are not asked for |
| class | a proposal on a labelled object (IoU of at least 0.5) has its greatest score for that object's name, and for no other |
| box | a proposal that touches an object of the name it is scored for (IoU of at least 0.1) has that object's box |

COCO photos of a split, the 80 names. A second stage, or another use of the same scores, can win no more than these.
"""  # noqa: E501

import contextlib
import io

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.evaluation.boxes import alignment, coco_truth, in_photo, proposals, selected

LEAST = 0.001
ON, TOUCHES = 0.5, 0.1  # IoU


def ious(a, b):
    """Boxes [n,4] and [m,4] -> [n,m]."""
    lt, rb = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (rb - lt).clip(0).prod(2)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(1)  # noqa: E731
    return both / np.maximum(area(a)[:, None] + area(b)[None] - both, 1e-9)


def mended(boxes, scores, real, names):
    """Proposals [n,4] with scores [n,80] and labels [m,4] of names [m] -> {kind: (boxes, scores)}; boxes [80,n,4]
    where a name has its own."""
    there = np.isin(np.arange(len(COCO80)), names)
    out = dict.fromkeys(("nothing", "presence", "class", "box"), (boxes, scores))
    out["presence"] = boxes, scores * there
    if len(real):
        overlap = ious(boxes, real)
        on = overlap.max(1) >= ON
        known = scores.copy()
        known[on] = 0
        known[on, names[overlap.argmax(1)[on]]] = scores[on].max(1)
        out["class"] = boxes, known
        exact = np.tile(boxes, (len(COCO80), 1, 1))
        for c in np.flatnonzero(there):
            o = overlap[:, names == c]
            touches = o.max(1) > TOUCHES
            exact[c, touches] = real[names == c][o.argmax(1)[touches]]
        out["box"] = exact, scores
    return out


def main():
    p = options.parser(__doc__, "limit")
    a = options.parse(p)
    a.onnx = a.build.detector_fp32
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, ids = coco_truth(a.shared / "data/val.json", "coco", a.limit)
    chosen = sorted(im["id"] for im in truth["images"])
    index = {ids[n]: c for c, n in enumerate(COCO80)}
    labels = {i: [] for i in chosen}
    for n in truth["annotations"]:
        if not n.get("iscrowd"):
            x, y, w, h = n["bbox"]
            labels[n["image_id"]].append((x, y, x + w, y + h, index[n["category_id"]]))
    logits, results = alignment(a, COCO80, calibrated=True), {}
    files = [a.shared / "data/images" / im["file_name"] for im in truth["images"]]
    for done, (im, (photo, placed, embedding, boxes, _)) in enumerate(zip(truth["images"], proposals(a, files))):
        scores = 1 / (1 + np.exp(-logits(embedding)))
        label = np.array(labels[im["id"]]).reshape(-1, 5)
        for kind, mend in mended(in_photo(boxes, placed, photo), scores, label[:, :4], label[:, 4].astype(int)).items():
            found = [
                {"image_id": im["id"], "category_id": ids[r["category_name"]], **r} for r in selected(*mend, LEAST)
            ]
            results.setdefault(kind, []).extend(found)
        if done % 50 == 49:
            print(f"{done + 1} of {len(files)} photos", flush=True)
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    print("mended      AP   AP50   AP75  small medium  large")
    for kind, found in results.items():
        with contextlib.redirect_stdout(io.StringIO()):
            e = COCOeval(coco, coco.loadRes(found), "bbox")
            e.params.imgIds, e.params.catIds = chosen, sorted(ids.values())
            e.evaluate(), e.accumulate(), e.summarize()
        print(f"{kind:9}" + "".join(f"{100 * v:7.2f}" for v in e.stats[:6]), flush=True)


if __name__ == "__main__":
    main()

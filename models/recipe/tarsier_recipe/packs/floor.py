"""How object-like a thing is that scores so high: the line below which the runtime does not look (`head.floor` of the
manifest).

    python -m tarsier_recipe floor  # build/detector/{detector_fp32.onnx,calibration.json} -> build/detector/floor.json

Proposals are ranked by objectness, and most of them are nothing. Each pair of a proposal and a name has a logit
(calibrated) and an objectness logit. Of the pairs that NMS leaves, those with greater logits lie on more object-like
proposals: for thresholds from 0.007 to 0.73 the 1 % quantile of the objectness of all pairs above is taken, and the
line through these, moved down until for no threshold more than 1 % are below it, is the floor. A prompt with a
threshold of logit l is compared with proposals of at least `scale l + bias` only.

Photos are the COCO photos of the training split, like those of `calibrate`.
"""

import json

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.evaluation.boxes import PROPOSALS, alignment, nms, proposals

SHARE = 0.01  # of the pairs above a threshold that may lie below
THRESHOLDS = np.arange(-5, 1.01, 0.5)  # logits: beyond, there are few pairs


def pairs(a, files, names):
    """[(logit, objectness logit)] of what NMS leaves in each photo, and the objectness logits of all proposals."""
    to_logits = alignment(a, names, calibrated=True)
    found, every = [], []
    for done, (_, _, embedding, boxes, stored) in enumerate(proposals(a, files)):
        objectness = 2 * (stored - 5)
        logits = to_logits(embedding)
        for c in range(len(names)):
            at = np.nonzero(logits[:, c] >= THRESHOLDS[0])[0]
            kept = at[nms(boxes[at], logits[at, c], 0.6)]
            found.append(np.stack([logits[kept, c], objectness[kept]], 1))
        every.append(objectness)
        if done % 200 == 199:
            print(f"{done + 1} of {len(files)} photos", flush=True)
    return np.concatenate(found), np.array(every)


def line(found):
    """(scale, bias) of the floor, and a row for each threshold."""
    above = [found[found[:, 0] >= t, 1] for t in THRESHOLDS]
    least = np.array([np.quantile(o, SHARE) for o in above])
    scale = max(0.0, np.polyfit(THRESHOLDS, least, 1)[0])
    return scale, min(least - scale * THRESHOLDS), [(t, q, len(o)) for t, q, o in zip(THRESHOLDS, least, above)]


def main():
    p = options.parser(__doc__)
    p.add_argument("--limit", type=int, default=1000, help="photos")
    a = options.parse(p)
    truth = json.load(open(a.shared / "data/train.json"))
    files = [a.shared / "data/images" / im["file_name"] for im in truth["images"] if im["source"] == "coco"][: a.limit]
    a.onnx = a.build.detector_fp32
    found, every = pairs(a, files, COCO80)
    scale, bias, rows = line(found)
    print("threshold  objectness of 99 %   floor   pairs")
    for threshold, least, count in rows:
        print(f"{threshold:9.2f} {least:19.2f} {scale * threshold + bias:7.2f} {count:7}")
    for score in (0.001, 0.05, 0.3, 0.5):
        logit = np.log(score / (1 - score))
        print(
            f"threshold {score}: {(every >= scale * logit + bias).sum(1).mean():.0f} of {PROPOSALS} proposals a photo"
        )
    (a.build.floor).write_text(json.dumps({"scale": round(float(scale), 4), "bias": round(float(bias), 4)}) + "\n")


if __name__ == "__main__":
    main()

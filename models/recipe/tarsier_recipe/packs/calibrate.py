"""Score calibration: what a score of each name is worth, measured on training photos through the binary.

    # build/detector/uncalibrated.tarsier (`pack --uncalibrated`) -> build/detector/calibration.json
    python -m tarsier_recipe calibrate

A pair of object and prompt has logit z. For each name p = sigmoid(factor z + shift) is fitted (Platt 1999) to whether
the detection is right: IoU of at least 0.5 with a box of that name that no better detection has taken. Names with few
detections stay near the fit of all names together, which is also what sentences and names without labelled photos get.
A name's threshold is the calibrated score with the best F0.5 (precision counts double), but no less than FLOOR.

The photos are those that the model was trained on (they are the only other ones whose labels are exhaustive); the
table that is printed says what that costs: calibration error, precision and recall on the validation photos, before
and after.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80

FLOOR = 0.35
PRIOR = 8.0  # weight of the common fit, in detections
LEAST = 0.02  # lower scores are not looked at


def detections(a, annotations):
    """Detections of the COCO photos of a split and whether each is right; the number of boxes of each name."""
    truth = json.load(open(annotations))
    name_of = {c["id"]: c["name"] for c in truth["categories"]}
    photos = {im["id"]: im for im in truth["images"] if im["source"] == "coco"}
    boxes = {}
    for n in truth["annotations"]:
        if n["image_id"] in photos and name_of[n["category_id"]] in COCO80:
            key = Path(photos[n["image_id"]]["file_name"]).name, name_of[n["category_id"]]
            boxes.setdefault(key, []).append((*n["bbox"], n.get("iscrowd", 0)))
    with tempfile.TemporaryDirectory() as folder:
        prompts, list_ = Path(folder) / "prompts.txt", []
        prompts.write_text("\n".join(COCO80))
        files = [a.shared / "data/images" / im["file_name"] for im in photos.values()]
        for part in range(0, len(files), 500):
            command = [
                a.tarsier,
                "detect",
                "--pack",
                a.pack,
                "--prompts",
                prompts,
                "--threshold",
                LEAST,
                "--format",
                "coco",
            ]
            done = subprocess.run(
                [*map(str, command), *map(str, files[part : part + 500])], stdout=subprocess.PIPE, check=True
            )
            list_ += json.loads(done.stdout)
            print(f"{min(part + 500, len(files))} of {len(files)} photos", flush=True)
    found = {}
    for d in list_:
        found.setdefault((d["file_name"], d["category_name"]), []).append((d["score"], *d["bbox"]))
    rows = {n: [] for n in COCO80}
    for key, ds in found.items():
        real = np.array(boxes.get(key, []), np.float64).reshape(-1, 5)
        free = np.ones(len(real), bool)
        for score, x, y, w, h in sorted(ds, reverse=True):
            iw = np.clip(np.minimum(x + w, real[:, 0] + real[:, 2]) - np.maximum(x, real[:, 0]), 0, None)
            ih = np.clip(np.minimum(y + h, real[:, 1] + real[:, 3]) - np.maximum(y, real[:, 1]), 0, None)
            crowd = real[:, 4] > 0
            iou = iw * ih / np.where(crowd, w * h, w * h + real[:, 2] * real[:, 3] - iw * ih)
            best = np.where(free & ~crowd, iou, 0)
            if len(best) and best.max() >= 0.5:
                free[best.argmax()] = False
                rows[key[1]].append((score, 1))
            elif not (crowd & (iou >= 0.5)).any():  # what lies in a crowd counts neither way
                rows[key[1]].append((score, 0))
    count = {n: 0 for n in COCO80}
    for (_, n), bs in boxes.items():
        count[n] += sum(not b[4] for b in bs)
    return {n: np.array(r, np.float64).reshape(-1, 2) for n, r in rows.items()}, count


def logit(score):
    return np.log(score) - np.log1p(-score)


def fit(rows, prior=None):
    """(factor, shift) of the most likely sigmoid; factors stay positive, so that no order changes."""
    z, right = logit(rows[:, 0].clip(1e-6, 1 - 1e-6)), rows[:, 1]

    def cost(q):
        u = np.exp(q[0]) * z + q[1]
        value = (np.logaddexp(0, u) - right * u).sum()
        return value + (PRIOR * ((q[0] - np.log(prior[0])) ** 2 + (q[1] - prior[1]) ** 2) if prior else 0)

    start = [np.log(prior[0]), prior[1]] if prior else [0.0, 0.0]
    q = minimize(cost, start, method="BFGS").x
    return float(np.exp(q[0])), float(q[1])


def threshold(p, right, boxes):
    """The calibrated score with the best F0.5."""
    order = np.argsort(-p)
    hits = np.cumsum(right[order])
    n = np.arange(1, len(p) + 1)
    f = 1.25 * hits / (n + 0.25 * boxes)
    return float(p[order][f.argmax()]) if len(p) and hits[-1] else 1.0


def error(p, right, bins=10):
    """Expected calibration error over equally filled bins."""
    order = np.argsort(p)
    return sum(
        abs(p[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, bins) if len(part)
    ) / len(p)


def main():
    p = options.parser(__doc__, "tarsier")
    p.add_argument("--pack", type=Path, help="an uncalibrated pack (build/detector/uncalibrated.tarsier)")
    a = options.parse(p)
    a.pack = a.pack or a.build.uncalibrated
    learn, boxes = detections(a, a.shared / "data/train.json")
    check, real = detections(a, a.shared / "data/val.json")
    common = fit(np.concatenate(list(learn.values())))
    names, raw, calibrated, right, reported = {}, [], [], [], []
    for n in COCO80:
        factor, shift = fit(learn[n], common) if len(learn[n]) else common
        p = 1 / (1 + np.exp(-(factor * logit(learn[n][:, 0]) + shift))) if len(learn[n]) else np.zeros(0)
        t = min(0.9, max(FLOOR, threshold(p, learn[n][:, 1], boxes[n])))
        names[n] = {"factor": round(factor, 4), "shift": round(shift, 4), "threshold": round(t, 3)}
        q = 1 / (1 + np.exp(-(factor * logit(check[n][:, 0]) + shift)))
        raw.append(check[n][:, 0]), calibrated.append(q), right.append(check[n][:, 1]), reported.append(q >= t)
    raw, calibrated, right, reported = map(np.concatenate, (raw, calibrated, right, reported))
    total = sum(real.values())
    report = {
        "common": {"factor": round(common[0], 4), "shift": round(common[1], 4)},
        "calibration error, val, before": round(float(error(raw, right)), 4),
        "calibration error, val, after": round(float(error(calibrated, right)), 4),
        "precision, val, score 0.3 before": round(float(right[raw >= 0.3].mean()), 3),
        "recall, val, score 0.3 before": round(float(right[raw >= 0.3].sum() / total), 3),
        "precision, val, thresholds": round(float(right[reported].mean()), 3),
        "recall, val, thresholds": round(float(right[reported].sum() / total), 3),
    }
    for k, v in report.items():
        print(f"{k}: {v}")
    (a.build.calibration).write_text(json.dumps({**report, "names": names}, indent=1))


if __name__ == "__main__":
    main()

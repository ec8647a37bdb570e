"""When is a thing in a picture at all? Weighs what the whole picture says against what the best object says, on
training photos.

    # a pack with the presence network (`pack`) -> the "presence" member of build/detector/calibration.json
    python -m tarsier_recipe calibrate-presence

`tarsier detect --absent` gives both for every photo and name of COCO, at the scale and bias of training. A logistic
regression weighs the two; the threshold is the score with the best Matthews correlation (IL_MCC). Run `pack` again
afterwards.

Photos and labels are those that both networks were trained on, so each is trusted more than it deserves; what that
costs is what `evaluate` says of the validation photos.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80


def logit(p):
    p = np.clip(p, 2e-5, 1 - 2e-5)
    return np.log(p / (1 - p))


def gather(a, annotations):
    """Logits of the picture and of the best object, and the truth, of every photo and name: [N], [N], [N]."""
    truth = json.load(open(annotations))
    name_of = {c["id"]: c["name"] for c in truth["categories"]}
    photos = {im["id"]: Path(im["file_name"]).name for im in truth["images"] if im["source"] == "coco"}
    has = {(photos[n["image_id"]], name_of[n["category_id"]]) for n in truth["annotations"] if n["image_id"] in photos}
    files = [a.shared / "data/images" / im["file_name"] for im in truth["images"] if im["id"] in photos]
    rows = []
    for part in range(0, len(files), 500):
        command = [a.tarsier, "detect", "--pack", a.pack, "--absent", "--format", "json"]
        out = subprocess.run(
            [*map(str, command), *map(str, files[part : part + 500])], stdout=subprocess.PIPE, check=True
        ).stdout
        for line in out.splitlines():
            f = json.loads(line)
            rows += [
                (p["score"], p["best"], (Path(f["file_name"]).name, p["class_id"]) in has)
                for p in f["presence"]
                if p["class_id"] in COCO80
            ]
        print(f"{min(part + 500, len(files))} of {len(files)} photos", flush=True)
    rows = np.array(rows, np.float64)
    return logit(rows[:, 0]), logit(rows[:, 1]), rows[:, 2]


def correlation(there, said):
    return float(np.corrcoef(there, said)[0, 1]) if said.any() else 0.0


def main():
    p = options.parser(__doc__, "tarsier")
    p.add_argument(
        "--pack", type=Path, required=True, help="a pack with the presence of training: scale, bias, object 0"
    )
    a = options.parse(p)
    picture, best, there = gather(a, a.shared / "data/train.json")

    def cost(q):
        u = q[0] * picture + q[1] * best + q[2]
        return (np.logaddexp(0, u) - there * u).mean()

    q = minimize(cost, [0.5, 0.5, 0.0], method="BFGS").x
    score = lambda p, b: 1 / (1 + np.exp(-(q[0] * p + q[1] * b + q[2])))  # noqa: E731
    mine = score(picture, best)
    gates = np.linspace(0.1, 0.8, 71)
    gate = gates[np.argmax([correlation(there, mine >= g) for g in gates])]
    alignment = json.load(open(a.build.alignment))
    presence = {
        "scale": q[0] * alignment["presence_scale"],
        "object": q[1],
        "bias": q[0] * alignment["presence_bias"] + q[2],
        "threshold": float(gate),
    }
    vp, vb, vt = gather(a, a.shared / "data/val.json")
    report = {
        "weights": [round(float(v), 3) for v in q],
        "IL_MCC, train": round(correlation(there, mine >= gate), 3),
        "IL_MCC, val": round(correlation(vt, score(vp, vb) >= gate), 3),
    }
    print(report, presence)
    path = a.build.calibration
    path.write_text(
        json.dumps(
            {**json.load(open(path)), "presence": {k: round(float(v), 4) for k, v in presence.items()}}, indent=1
        )
    )


if __name__ == "__main__":
    main()

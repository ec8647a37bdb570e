"""No photo that anything is measured on may be among the training photos: compares contents, not names.

    python -m tarsier_recipe check-split --shared ../../../shared      # exits with 1 and the pairs if there are any

Two photos are the same if their files are, or if the 16x16 grey pictures that they shrink to differ by less than
NEAR on average (a photo saved again).
"""

import hashlib
import json
import sys

import cv2
import numpy as np

from tarsier_recipe import options
from tarsier_recipe.detector.data import training

NEAR = 2.0  # grey levels of 255


def prints(folder, splits):
    """File names, SHA-256 of each file, and its 16x16 grey picture, of all splits' photos."""
    files = [im["file_name"] for split in splits for im in json.load(open(split))["images"]]
    raw = [(folder / f).read_bytes() for f in files]
    small = [
        cv2.resize(
            cv2.imdecode(np.frombuffer(r, np.uint8), cv2.IMREAD_GRAYSCALE), (16, 16), interpolation=cv2.INTER_AREA
        )
        for r in raw
    ]
    return files, [hashlib.sha256(r).hexdigest() for r in raw], np.array(small, np.float32).reshape(len(files), -1)


def main():
    p = options.parser(__doc__)
    a = options.parse(p)
    measured = [a.shared / f"data/{s}.json" for s in ("val", "camvid-evaluation-only", "names-evaluation-only")]
    train, val = (prints(a.shared / "data/images", some) for some in (training(a.shared), measured))
    digests = dict(zip(train[1], train[0]))
    found = []
    for name, digest, small in zip(*val):
        distance = np.abs(train[2] - small).mean(1)
        nearest = int(distance.argmin())
        if digest in digests or distance[nearest] < NEAR:
            found.append(f"{name} is {digests.get(digest, train[0][nearest])} (distance {distance[nearest]:.2f})")
    print(f"{len(val[0])} photos of evaluations against {len(train[0])} training photos: {len(found)} the same")
    sys.exit("\n".join(found) or None)


if __name__ == "__main__":
    main()

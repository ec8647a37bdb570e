"""Which of the networks is made: the environment variable MODEL says it to every stage; without it, tarsier-s.

    MODEL=tarsier-n make BUILD=../build-n

Its build folder is its own; ../build-n/text may be a link to ../build/text.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """`size`: side of the runtime's picture in pixels; `neck`: channels of every feature; `depths`: pairs of 3x3
    convolutions in each stage of an ELAN trunk, or None where the trunk is EfficientNet-Lite0 (`lite`)."""

    size: int
    neck: int
    depths: tuple | None


SHAPES = {
    "tarsier-s": Shape(320, 64, (1, 1, 2, 1)),
    "tarsier-n": Shape(256, 48, (1, 1, 1, 1)),
    "lite": Shape(320, 64, None),
    "wide": Shape(320, 96, None),
}
MODEL = os.environ.get("MODEL") or "tarsier-s"
if MODEL not in SHAPES:
    raise SystemExit(f"MODEL={MODEL}: known are {', '.join(SHAPES)}")
SHAPE = SHAPES[MODEL]
PACK = Path(__file__).resolve().parents[2] / f"{MODEL}.tarsier"  # what the recipe makes and evaluates

"""What the masks of so many objects cost beside the frame itself, in one run each, thresholds lowered until there are so many.

    python tests/bench/masks.py [--rounds 4] [--frames 40]

The mask network is run for what the objects need of it, once a frame; decoding and outlines cost by object and by their size in the photo.
"""

import argparse
import statistics
from pathlib import Path

import common

OBJECTS = (5, 20)
THRESHOLDS = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1, 0.09, 0.08, 0.07, 0.06, 0.055, 0.05, 0.045, 0.04, 0.03, 0.02, 0.01)
PICTURE = common.ROOT / "models/golden/frame.png"


def measure(binary, pack, threshold, frames):
    """(objects, milliseconds of masks, of the frame without decoding) by frame."""
    found = common.tarsier("--pack", pack, "--image", PICTURE, "--masks", "--threshold", threshold, frames=frames, binary=binary)
    return found["objects"], found["masks_ms"], common.frame_times(found)


def section(binary, pack, rounds, frames):
    """The Markdown of this bench, and the share of the frame for the most objects."""
    rows, share = [], None
    for wanted in OBJECTS:
        threshold = next(t for t in THRESHOLDS if measure(binary, pack, t, 1)[0] >= wanted)
        runs = [measure(binary, pack, threshold, frames) for _ in range(rounds)]
        share = statistics.median(statistics.median(m) / statistics.median(f) for _, m, f in runs)
        masks, frame = ([ms for run in runs for ms in run[i]] for i in (1, 2))
        rows.append([runs[0][0], threshold, f"{statistics.median(masks):.2f}", f"{statistics.median(frame):.2f}", f"{100 * share:.1f} %"])
    table = common.table(["objects", "threshold", "masks ms", "frame ms", "share"], rows)
    return f"One thread, on {PICTURE.relative_to(common.ROOT)}, 80 names; medians, the share by run:\n\n{table}", share


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path)
    p.add_argument("--rounds", default=4, type=int)
    p.add_argument("--frames", default=40, type=int)
    a = p.parse_args()
    print(section(a.tarsier, a.pack, a.rounds, a.frames)[0])


if __name__ == "__main__":
    main()

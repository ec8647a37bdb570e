"""What objects look like to the network on the whole, measured on training photos and added to the pack: exemplars are told from it.

    python background.py                                 # ../tarsier-s.tarsier, replaced by rename
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "detector"))
from shape import PACK  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[2] / "shared", type=Path)
    p.add_argument("--pack", default=PACK, type=Path)
    p.add_argument("--tarsier", default=HERE.parents[1] / "target/release/tarsier", type=Path)
    p.add_argument("--photos", type=int, default=1500, help="about how many are looked at")
    a = p.parse_args()
    train = json.load(open(a.shared / "data/train.json"))
    names = sorted(photo["file_name"] for photo in train["images"])
    every = max(1, len(names) // a.photos)
    photos = [a.shared / "data/images" / name for name in names[::every]]
    subprocess.run([a.tarsier, "pack", "background", a.pack, *photos, "--output", a.pack], check=True)


if __name__ == "__main__":
    main()

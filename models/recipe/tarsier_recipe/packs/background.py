"""What objects look like to the network on the whole, measured on training photos and added to the pack: exemplars are
told from it.

    python -m tarsier_recipe background      # ../tarsier-s.tarsier, replaced by rename
"""

import json
import subprocess

from tarsier_recipe import options


def main():
    p = options.parser(__doc__, "pack", "tarsier")
    p.add_argument("--photos", type=int, default=1500, help="about how many are looked at")
    a = options.parse(p)
    train = json.load(open(a.shared / "data/train.json"))
    names = sorted(photo["file_name"] for photo in train["images"])
    every = max(1, len(names) // a.photos)
    photos = [a.shared / "data/images" / name for name in names[::every]]
    subprocess.run([a.tarsier, "pack", "background", a.pack, *photos, "--output", a.pack], check=True)


if __name__ == "__main__":
    main()

"""Everything that training needs, in pieces small enough for a machine that takes only so much at a time.

    # here: piece-00.tar, piece-01.tar, ...
    python -m tarsier_recipe bundle pack --shared ../../../shared --output ../build/bundle
    # there, when all pieces have arrived
    python -m tarsier_recipe bundle unpack --pieces ../build/bundle --output /tmp/tarsier

Unpacked, `--output` has shared/ (data/train.json, data/train_more.json, data/val.json, data/images, teachers/) and
build/ (text/prompts.npz, text/sentences.npz, detector/*.pt): what `train --shared ... --build ...` reads. Photos are
shrunk to what training keeps of them (data.LONGEST) and saved as WebP under their own names (the content says what
they are); labels stay in the pixels of the original. Of the prompts, those that training asks for: noun phrases stay
behind. Every piece can be unpacked alone, a list of all of them is in each, and unpacking says what is missing.
"""

import hashlib
import io
import json
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from tarsier_recipe import options
from tarsier_recipe.detector.data import stored
from tarsier_recipe.folders import CHECKPOINTS

PIECE = 58 << 20  # bytes of a piece at most
TEACHERS = (
    "ncnn_torch.py",
    "nanodet-plus-m_416.param",
    "nanodet-plus-m_416.bin",
    "picodet_torch.py",
    "picodet-s-416.param",
    "picodet-s-416.bin",
)
WEIGHTS = ("detector.pt", "detector_constant.pt")


def photo(path, quality):
    """The WebP of a photo that is no longer than LONGEST on its longer side."""
    x = cv2.cvtColor(stored(path), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", x, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def prompts(path):
    """`prompts.npz` without its noun phrases, which training does not ask for."""
    with np.load(path, allow_pickle=False) as z:
        kept = z["kind"] != "phrase"
        rows = {k: v[kept] if v.shape[:1] == kept.shape else v for k, v in z.items()}
    out = io.BytesIO()
    np.savez_compressed(out, **rows)
    return out.getvalue()


def contents(a):
    """Yields (name in the bundle, bytes)."""
    for split in a.splits:
        yield f"shared/data/{split}.json", (a.shared / f"data/{split}.json").read_bytes()
    for name in TEACHERS:
        yield f"shared/teachers/{name}", (a.shared / "teachers" / name).read_bytes()
    yield "build/text/prompts.npz", prompts(a.build.prompts)
    if (a.build.sentences).exists():
        yield "build/text/sentences.npz", (a.build.sentences).read_bytes()
    for name in WEIGHTS:
        if (a.weights / name).exists():
            yield f"build/detector/{name}", (a.weights / name).read_bytes()
    files = [im["file_name"] for s in a.splits for im in json.load(open(a.shared / f"data/{s}.json"))["images"]]
    with ThreadPoolExecutor(a.threads) as pool:
        for name, webp in zip(files, pool.map(lambda f: photo(a.shared / "data/images" / f, a.quality), files)):
            yield f"shared/data/images/{name}", webp


def pack(a):
    a.output.mkdir(parents=True, exist_ok=True)
    for old in a.output.glob("piece-*.tar"):
        old.unlink()
    pieces, size = [[]], 0
    for name, data in contents(a):
        whole = 512 + (len(data) + 511) // 512 * 512  # what a member takes in a tar
        if size + whole > PIECE:
            pieces.append([])
            size = 0
        pieces[-1].append((name, data))
        size += whole
    told = json.dumps({"pieces": len(pieces), "files": sum(map(len, pieces))}).encode()
    for n, piece in enumerate(pieces):
        path = a.output / f"piece-{n:02}.tar"
        with tarfile.open(path, "w") as tar:
            for name, data in [("bundle.json", told), *piece]:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        print(
            f"{path.name}: {path.stat().st_size} bytes, {len(piece)} files, sha256 "
            f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}",
            flush=True,
        )


def unpack(a):
    a.output.mkdir(parents=True, exist_ok=True)
    for path in sorted(a.pieces.glob("piece-*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall(a.output, filter="data")
    if not (a.output / "bundle.json").exists():
        sys.exit(f"{a.pieces} has no pieces")
    told = json.load(open(a.output / "bundle.json"))
    have = len(list(a.pieces.glob("piece-*.tar")))
    files = sum(1 for f in a.output.rglob("*") if f.is_file() and f.name != "bundle.json")
    print(f"{have} of {told['pieces']} pieces unpacked")
    if have < told["pieces"] or files < told["files"]:
        sys.exit(f"{told['files'] - files} of {told['files']} files are missing")


def main():
    p = options.parser(__doc__)
    p.add_argument("what", choices=("pack", "unpack"))
    p.add_argument("--weights", default=CHECKPOINTS, type=Path, help="folder of detector.pt and detector_constant.pt")
    p.add_argument("--pieces", type=Path, help="default: bundle/ of --build")
    p.add_argument("--output", type=Path, help="default: the same")
    p.add_argument("--quality", type=int, default=78, help="of the photos")
    p.add_argument("--splits", nargs="+", default=["train", "train_more", "val"])
    a = options.parse(p)
    a.pieces, a.output = a.pieces or a.build.bundle, a.output or a.build.bundle
    {"pack": pack, "unpack": unpack}[a.what](a)


if __name__ == "__main__":
    main()

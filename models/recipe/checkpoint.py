"""Keeps the trained weights in the repository, in half precision, so that nobody has to train them again.

    python checkpoint.py save        # build/ -> ../checkpoints/*.pt and numbers.json
    python checkpoint.py restore     # the other way: everything that export.py, quantize.py and pack.py read, without training

Those of tarsier-n (MODEL=tarsier-n) are in a folder of their own; the sentence encoder is the same for all.

| file | what |
|---|---|
| detector.pt | the detector as it is exported: averaged weights |
| detector_int8.pt | the same, fine-tuned for int8 |
| detector_constant.pt | the detector of a training that goes on (build/detector/checkpoint.pt), for `detector/train.py --weights` |
| masks.pt, presence.pt, stuff.pt, ground.pt | the stages on top of it |
| text.pt | the sentence encoder |
| numbers.json | thresholds, gates and the floor of objectness that belong to the weights, and the calibration |
"""

import argparse
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "detector"))
from export import digest  # noqa: E402
from precision import whole  # noqa: E402
from shape import MODEL  # noqa: E402

STAGES = ("masks", "presence", "stuff", "ground")
NUMBERS = ("ground", "stuff", "calibration", "floor")


def half(state):
    """Tensors of floats in fp16, everything else as it is."""
    if isinstance(state, dict):
        return {k: half(v) for k, v in state.items()}
    return state.half() if isinstance(state, torch.Tensor) and state.is_floating_point() else state


def save(detector, text, kept, encoder):
    kept.mkdir(parents=True, exist_ok=True)
    parts = {kept / "detector.pt": (detector / "final.pt", None)} | {kept / f"{n}.pt": (detector / f"{n}.pt", None) for n in STAGES}
    parts |= {kept / "detector_int8.pt": (detector / "final.int8.pt", "student"), kept / "detector_constant.pt": (detector / "checkpoint.pt", "student")}
    for file, (path, key) in {**parts, encoder: (text / "encoder.pt", "average")}.items():
        if path.exists():
            state = torch.load(path, weights_only=True, map_location="cpu")
            torch.save(half(state[key] if key else state), file)
            print(f"{file}: {file.stat().st_size} bytes")
    numbers = {n: json.load(open(detector / f"{n}.json")) for n in NUMBERS if (detector / f"{n}.json").exists()}
    (kept / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")


def restore(detector, text, kept, encoder):
    for folder in (detector, text):
        folder.mkdir(parents=True, exist_ok=True)
    read = lambda file: whole(torch.load(file, weights_only=True))  # noqa: E731
    load = lambda name: read(kept / f"{name}.pt")  # noqa: E731
    torch.save(load("detector"), detector / "final.pt")
    torch.save({"key": digest(detector / "final.pt"), "student": load("detector_int8")}, detector / "final.int8.pt")
    for name in STAGES:
        if (kept / f"{name}.pt").exists():
            torch.save(load(name), detector / f"{name}.pt")
    for name, value in json.load(open(kept / "numbers.json")).items():
        (detector / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    state = read(encoder)
    torch.save({"model": state, "average": state, "epoch": 0}, text / "encoder.pt")
    print(f"{', '.join(sorted(p.name for p in detector.glob('*.pt')))} and encoder.pt are in {detector.parent}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("save", "restore"))
    p.add_argument("--build", default=HERE.parent / "build", type=Path)
    p.add_argument("--checkpoints", default=HERE.parent / "checkpoints", type=Path)
    a = p.parse_args()
    kept = a.checkpoints if MODEL == "tarsier-s" else a.checkpoints / MODEL
    {"save": save, "restore": restore}[a.what](a.build / "detector", a.build / "text", kept, a.checkpoints / "text.pt")


if __name__ == "__main__":
    main()

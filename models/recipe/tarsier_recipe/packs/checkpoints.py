"""Keeps the trained weights in the repository, in half precision, so that nobody has to train them again.

    python -m tarsier_recipe checkpoints save        # build/ -> ../checkpoints/*.pt and numbers.json
    # the other way: everything that `export`, `quantise` and `pack` read, without training
    python -m tarsier_recipe checkpoints restore

Those of tarsier-n (MODEL=tarsier-n) are in a folder of their own; the sentence encoder is the same for all.

| file | what |
|---|---|
| detector.pt | the detector as it is exported: averaged weights |
| detector_int8.pt | the same, fine-tuned for int8 |
| detector_constant.pt | the detector of a training that goes on (build/detector/checkpoint.pt), for `train --weights` |
| masks.pt, presence.pt, stuff.pt, ground.pt | the stages on top of it |
| text.pt | the sentence encoder |
| numbers.json | thresholds, gates and the floor of objectness that belong to the weights, and the calibration |
"""

import json
from pathlib import Path

import torch

from tarsier_recipe import options
from tarsier_recipe.detector.export import digest
from tarsier_recipe.folders import BRANCHES, CHECKPOINTS
from tarsier_recipe.precision import whole
from tarsier_recipe.shape import MODEL

NUMBERS = ("ground", "stuff", "calibration", "floor")


def half(state):
    """Tensors of floats in fp16, everything else as it is."""
    if isinstance(state, dict):
        return {k: half(v) for k, v in state.items()}
    return state.half() if isinstance(state, torch.Tensor) and state.is_floating_point() else state


def save(build, kept, encoder):
    kept.mkdir(parents=True, exist_ok=True)
    parts = {
        "detector": (build.weights, None),
        "detector_int8": (build.int8_weights, "student"),
        "detector_constant": (build.checkpoint, "student"),
    }
    parts |= {name: (build.branch(name), None) for name in BRANCHES}
    for file, (path, key) in {
        **{kept / f"{n}.pt": part for n, part in parts.items()},
        encoder: (build.encoder, "average"),
    }.items():
        if path.exists():
            state = torch.load(path, weights_only=True, map_location="cpu")
            torch.save(half(state[key] if key else state), file)
            print(f"{file}: {file.stat().st_size} bytes")
    numbers = {n: json.load(open(build.numbers(n))) for n in NUMBERS if build.numbers(n).exists()}
    (kept / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")


def restore(build, kept, encoder):
    for folder in (build.detector, build.text):
        folder.mkdir(parents=True, exist_ok=True)
    read = lambda file: whole(torch.load(file, weights_only=True))  # noqa: E731
    load = lambda name: read(kept / f"{name}.pt")  # noqa: E731
    torch.save(load("detector"), build.weights)
    torch.save({"key": digest(build.weights), "student": load("detector_int8")}, build.int8_weights)
    for name in BRANCHES:
        if (kept / f"{name}.pt").exists():
            torch.save(load(name), build.branch(name))
    for name, value in json.load(open(kept / "numbers.json")).items():
        build.numbers(name).write_text(json.dumps(value, indent=1) + "\n")
    state = read(encoder)
    torch.save({"model": state, "average": state, "epoch": 0}, build.encoder)
    print(f"{', '.join(sorted(p.name for p in build.detector.glob('*.pt')))} and encoder.pt are in {build}")


def main():
    p = options.parser(__doc__)
    p.add_argument("what", choices=("save", "restore"))
    p.add_argument("--checkpoints", default=CHECKPOINTS, type=Path)
    a = options.parse(p)
    kept = a.checkpoints if MODEL == "tarsier-s" else a.checkpoints / MODEL
    {"save": save, "restore": restore}[a.what](a.build, kept, a.checkpoints / "text.pt")


if __name__ == "__main__":
    main()

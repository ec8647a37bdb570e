"""Keeps a training's weights in the repository, in half precision, so that it can go on elsewhere.

    python checkpoint.py       # build/detector/checkpoint.pt, build/text/encoder.pt -> ../checkpoints/*.pt
"""

import argparse
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def half(state):
    """Tensors of floats in fp16, everything else as it is."""
    if isinstance(state, dict):
        return {k: half(v) for k, v in state.items()}
    return state.half() if isinstance(state, torch.Tensor) and state.is_floating_point() else state


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=HERE.parent / "build", type=Path)
    p.add_argument("--output", default=HERE.parent / "checkpoints", type=Path)
    a = p.parse_args()
    a.output.mkdir(exist_ok=True)
    student = torch.load(a.build / "detector/checkpoint.pt", weights_only=True)["student"]
    torch.save(half(student), a.output / "detector.pt")
    encoder = torch.load(a.build / "text/encoder.pt", weights_only=True)
    weights = next(v for k, v in encoder.items() if isinstance(v, dict) and any(isinstance(t, torch.Tensor) and t.ndim > 1 for t in v.values()))
    torch.save(half(weights), a.output / "text.pt")
    for f in sorted(a.output.glob("*.pt")):
        print(f"{f.name}: {f.stat().st_size} bytes")


if __name__ == "__main__":
    main()

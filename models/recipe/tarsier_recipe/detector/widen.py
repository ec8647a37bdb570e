"""First weights of a network with a wider neck from those of a narrower one, which computes the same at first.

    MODEL=wide python -m tarsier_recipe widen lite.pt --output ../build/detector/start.pt

What makes new channels starts at random; what reads them starts at zero, so no output changes until training has
found a use for them. Every feature of neck and head has the channels of the neck, or is several of those in a row.
"""

from pathlib import Path

import torch

from tarsier_recipe import options
from tarsier_recipe.detector.student import Student
from tarsier_recipe.precision import whole
from tarsier_recipe.shape import MODEL, SHAPE


def widen(state, fresh, old, new):
    """The state dict `state` of a network whose neck has `old` channels in the shapes of `fresh`, one with `new`."""
    out = {}
    for name, own in fresh.items():
        known = state[name]
        if own.shape == known.shape:
            out[name] = known.clone()
            continue
        own = own.clone()
        if own.ndim == 4:
            rows, inputs = known.shape[:2]
            groups = inputs // old if own.shape[1] != inputs else 1
            width = inputs // groups
            own[:rows] = 0
            for g in range(groups):
                own[:rows, g * own.shape[1] // groups :][:, :width] = known[:, g * width : (g + 1) * width]
        else:
            own[: len(known)] = known
        out[name] = own
    return out


def main():
    p = options.parser(__doc__)
    p.add_argument("weights", type=Path)
    p.add_argument("--output", required=True, type=Path)
    a = options.parse(p)
    torch.manual_seed(0)
    state, student = whole(torch.load(a.weights, weights_only=True)), Student()
    old = state["head.what.0.0.weight"].shape[1]
    student.load_state_dict(widen(state, student.state_dict(), old, SHAPE.neck))
    a.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(student.state_dict(), a.output)
    millions = sum(q.numel() for q in student.parameters()) / 1e6
    print(f"{a.output}: {MODEL}, a neck of {SHAPE.neck} channels instead of {old}, {millions:.2f} M parameters")


if __name__ == "__main__":
    main()

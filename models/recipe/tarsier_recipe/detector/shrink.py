"""First weights of a smaller network from those of tarsier-s, for `train` to go on from.

    MODEL=tarsier-n python -m tarsier_recipe shrink ../build/detector/final.pt --output ../build-n/detector/start.pt

Stages keep what they have; pairs of convolutions beyond the smaller network's depth go, with the weights that read
them. Of neck and head the channels stay that are read most: the greatest sums of |weight| in what reads them, where
a channel's own normalisation scales it. The four features keep the same channels, because one head reads them; what
it reads counts, and for the coarsest lateral what the last mix reads.
"""

from pathlib import Path

import torch

from tarsier_recipe import options
from tarsier_recipe.detector.student import Student
from tarsier_recipe.precision import whole
from tarsier_recipe.shape import MODEL, SHAPE, SHAPES

NECK = SHAPES["tarsier-s"].neck


class Neck:
    """Weights of neck and head, cut channel by channel."""

    def __init__(self, state, kept):
        self.state, self.kept = state, kept

    def read(self, channel_of):
        """How much each of 64 channels is read: `channel_of`: (convolution, where the channels begin in its input,
        their normalisation)."""
        total = torch.zeros(NECK)
        for reader, begin, norm in channel_of:
            own = self.state[f"{norm}.weight"].abs() + self.state[f"{norm}.bias"].clamp(min=0)
            total += own * self.state[f"{reader}.weight"][:, begin : begin + NECK].abs().sum((0, 2, 3))
        return total.topk(self.kept).indices.sort().values

    def outputs(self, conv, channels):
        """Only these outputs of a convolution and its normalisation."""
        for name in (f"{conv}.0.weight", *(f"{conv}.1.{k}" for k in ("weight", "bias", "running_mean", "running_var"))):
            self.state[name] = self.state[name][channels]

    def inputs(self, conv, *groups):
        """Only these of each group of 64 inputs."""
        at = torch.cat([NECK * n + g for n, g in enumerate(groups)])
        self.state[f"{conv}.weight"] = self.state[f"{conv}.weight"][:, at]


def shrink(state):
    """The state dict of a tarsier-s, as the smaller network's."""
    state = dict(state)
    for n, depth in enumerate(SHAPE.depths, 1):
        stage = f"backbone.stage{n}.1"
        width = state[f"{stage}.left.0.weight"].shape[0]
        state = {
            k: v for k, v in state.items() if not (k.startswith(f"{stage}.chain.") and int(k.split(".")[4]) >= depth)
        }
        state[f"{stage}.mix.0.weight"] = state[f"{stage}.mix.0.weight"][:, : width * (2 + depth)]
    neck = Neck(state, SHAPE.neck)
    conv, norm = "backbone.{}.0".format, "backbone.{}.1".format
    heads = ("head.what.0.0", "head.where.0.0")
    made = ("up_mix.0.1", "up_mix.1.1", "down_mix.1.1", "last_step")
    feature = neck.read([(h, 0, norm(m)) for h in heads for m in made])
    lateral = [
        neck.read([(conv(r), NECK, norm(f"lateral.{i}"))])
        for i, r in enumerate(("down_mix.1.0", "down_mix.0.0", "up_mix.1.0"))
    ]
    middle = neck.read(
        [(conv("down_mix.1.0"), 0, norm("down_mix.0.1")), (conv("up_mix.0.0"), NECK, norm("down_mix.0.1"))]
    )
    inner = {
        m: neck.read([(conv(f"{m}.1"), 0, norm(f"{m}.0"))])
        for m in ("down_mix.0", "down_mix.1", "up_mix.0", "up_mix.1")
    }
    step = [neck.read([(conv(f"up_mix.{i}.0"), 0, norm(f"up_step.{i}"))]) for i in (0, 1)]
    what = neck.read([("head.what.1.0", 0, "head.what.0.1")])
    readers = {
        "down_mix.0.0": (lateral[2], lateral[1]),
        "down_mix.1.0": (middle, lateral[0]),
        "up_mix.0.0": (step[0], middle),
        "up_mix.1.0": (step[1], lateral[2]),
        **{f"{m}.1": (c,) for m, c in inner.items()},
        "up_step.0": (feature,),
        "up_step.1": (feature,),
        "last_step": (feature,),
    }
    outputs = {
        **{f"lateral.{i}": c for i, c in enumerate(lateral)},
        **{f"{m}.0": c for m, c in inner.items()},
        "down_mix.0.1": middle,
        **dict.fromkeys(made, feature),
        "up_step.0": step[0],
        "up_step.1": step[1],
    }
    for name, groups in readers.items():
        neck.inputs(conv(name), *groups)
    for name, channels in outputs.items():
        neck.outputs(f"backbone.{name}", channels)
    for h in heads:
        neck.inputs(h, feature)
    neck.outputs("head.what.0", what)
    neck.inputs("head.what.1.0", what)
    return neck.state


def main():
    p = options.parser(__doc__)
    p.add_argument("weights", type=Path)
    p.add_argument("--output", required=True, type=Path)
    a = options.parse(p)
    student = Student()
    student.load_state_dict(shrink(whole(torch.load(a.weights, weights_only=True))))
    torch.save(student.state_dict(), a.output)
    print(f"{a.output}: {MODEL}, {sum(q.numel() for q in student.parameters()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()

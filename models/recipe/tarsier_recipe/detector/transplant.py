"""First weights of a student with a trained trunk (MODEL=lite): ImageNet's trunk under the neck and heads of a
tarsier-s.

    # then `train` --weights start.pt
    MODEL=lite python -m tarsier_recipe transplant tarsier-s.pt --output ../build/detector/start.pt

Between them are three pointwise convolutions; they are fitted by least squares to give what the old trunk's gave on
training pictures, so that the neck and heads, which have seen millions of pictures, begin with something that they
know.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import PhotoStore, Pictures, Split, training
from tarsier_recipe.detector.lite import imagenet
from tarsier_recipe.detector.student import Backbone, Conv, Student
from tarsier_recipe.precision import whole
from tarsier_recipe.shape import SHAPES

RIDGE = 1e-2  # of the mean square of the trunk's features


@torch.no_grad()
def fit(lite, old, pictures, count):
    """For each stride: weights [64,c] and how much of the variance of the old laterals (before normalisation) they
    explain."""
    sums = [None] * 3
    for _, (rgb, *_) in zip(range(count), pictures):
        x = rgb.float().div(255).contiguous(memory_format=torch.channels_last)
        for k, (mine, theirs, lateral) in enumerate(zip(lite(x), old.trunk(x), old.lateral)):
            a, b = (t.permute(0, 2, 3, 1).flatten(0, 2).double() for t in (mine, lateral[0](theirs)))
            a = F.pad(a, (0, 1), value=1.0)
            more = (a.T @ a, a.T @ b, (b * b).sum(), b.sum(0), len(b))
            sums[k] = more if sums[k] is None else tuple(s + m for s, m in zip(sums[k], more))
    out = []
    for aa, ab, bb, total, n in sums:
        w = torch.linalg.solve(aa + RIDGE * aa.diagonal().mean() * torch.eye(len(aa), dtype=aa.dtype), ab)
        left = bb - 2 * (w * ab).sum() + (w * (aa @ w)).sum()
        out.append((w.T.float(), 1 - float(left / (bb - (total**2).sum() / n))))
    return out


def main():
    p = options.parser(__doc__)
    p.add_argument("old", type=Path, help="weights of a tarsier-s")
    p.add_argument("--output", type=Path, required=True)
    p.add_argument("--batches", type=int, default=24, help="of 8 pictures")
    a = options.parse(p)
    state = whole(torch.load(a.old, weights_only=True))
    old = (
        Backbone(depths=SHAPES["tarsier-s"].depths, neck=SHAPES["tarsier-s"].neck)
        .to(memory_format=torch.channels_last)
        .eval()
    )
    old.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")})
    student = Student()
    student.backbone.lite = imagenet()
    split = Split(training(a.shared), COCO80)
    pictures = iter(Pictures(split, PhotoStore(split, a.shared / "data/images", a.build.photos), 8, (256, 320), 0.2, 0))
    fitted = fit(student.backbone.lite, old, pictures, a.batches)
    own = student.state_dict()
    kept = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    missing = [k for k in own if k not in kept and ".lite." not in k]
    student.load_state_dict(own | kept)
    with torch.no_grad():
        for lateral, (w, explained) in zip(student.backbone.lateral, fitted):
            assert isinstance(lateral, Conv)
            lateral[0].weight.copy_(w[:, :-1, None, None])
            lateral[1].running_mean -= w[:, -1]  # the convolution has no bias
            print(f"{w.shape[1] - 1} channels explain {100 * explained:.0f} % of the old lateral's variance")
    print(f"new: {', '.join(missing)}")
    torch.save(student.state_dict(), a.output)


if __name__ == "__main__":
    main()

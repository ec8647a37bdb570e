"""What a teacher's neck sees, as a target for the student's: features say something at every location of a picture,
scores only where something is.

The student's features of a level, through a pointwise convolution that is thrown away afterwards, shall have the
pattern of the teacher's: each channel normalised over batch and picture, so that it is its correlation that counts
(PKD, Cao et al. 2022). The teacher looks at the student's very picture, so the grids agree.
"""

import torch
import torch.nn as nn

from tarsier_recipe.detector.student import STRIDES
from tarsier_recipe.shape import SHAPE

CHANNELS = 96  # of the teacher's neck


def normalised(x):
    """[N,C,h,w] -> each channel with mean 0 and variance 1."""
    x = x.float()
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()


class Hints(nn.Module):
    """Student's features and teacher's -> one minus their correlation, the mean over levels."""

    def __init__(self, neck=SHAPE.neck):
        super().__init__()
        self.adapt = nn.ModuleList(nn.Conv2d(neck, CHANNELS, 1) for _ in STRIDES)

    def forward(self, features, theirs):
        far = [
            (normalised(adapt(mine.float())) - normalised(their)).square().mean() / 2
            for adapt, mine, their in zip(self.adapt, features, theirs)
        ]
        return torch.stack(far).mean()

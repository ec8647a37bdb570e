"""Grounding: which of a frame's objects a sentence means, or that it means none.

Fusion here is between objects and the sentence, not between feature maps and the sentence (as in APE): the head's
proposals are thinned to OBJECTS by class-agnostic suppression, each is described by one vector, and three layers see
every object beside the greatest values over all objects. That is what "leftmost", "second" or "next to the dog" need
(comparing objects), it costs 8 MMAC per sentence where a fused neck and head cost 300. Names do not pass through here:
to them the gate is shut, as the zero token is in APE.

    objects [N,464,64]: embedding x sentence (128), embedding (128), sentence (128), the location's feature (64),
                          geometry (16), each times its factor in SCALES and cut to -4..4, so that one int8 scale
                          serves them all
      -> 128, greatest over objects -> 128, greatest -> 128 -> match [N,64], a logit per object
    geometry: cx, cy, w, h in 0..1 of the photo; sqrt of the area; log2 of the aspect / 4; objectness / 8;
              alignment logit / 8; mean red, green, blue of the box's inner half in 0..1; 1 where there is an object;
              four zeros
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from tarsier_recipe.shape import SHAPE

SIDE = 8  # the network sees the objects as a picture of 8 x 8: pooling and doubling are operators that the runtime has
OBJECTS = SIDE * SIDE
OVERLAP = 0.7  # of boxes; the one with less objectness goes
CHANNELS = 3 * 128 + SHAPE.neck + 16
SCALES = (6.0, 0.5, 11.0, 0.8, 4.0)  # of the five groups: about one standard deviation becomes one
RANGE = 4.0


def thin(boxes, objectness, count=OBJECTS, overlap=OVERLAP):
    """Indices of the boxes that agnostic suppression keeps, best first; boxes [K,4] come sorted by objectness."""
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    lt, rb = (
        torch.maximum(boxes[:, None, :2], boxes[None, :, :2]),
        torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]),
    )
    both = (rb - lt).clamp(min=0).prod(2)
    near = both / (area[:, None] + area[None] - both).clamp(min=1e-6) > overlap
    kept, free = [], torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if free[i]:
            kept.append(i)
            if len(kept) == count:
                break
            free &= ~near[i]
    return torch.tensor(kept)


def describe(embedding, feature, geometry, alignment, sentence):
    """Objects [K,...] and unit sentences [S,128] -> [S,CHANNELS,K]. `geometry` [K,16] without the alignment logits
    [S,K], which differ by sentence."""
    s, k = len(sentence), embedding.shape[0]
    e, t = embedding[None].expand(s, -1, -1), sentence[:, None].expand(-1, k, -1)
    g = geometry[None].repeat(s, 1, 1)
    g[:, :, 7] = alignment / 8
    groups = (e * t, e, t, feature[None].expand(s, -1, -1), g)
    return torch.cat([c * v for c, v in zip(SCALES, groups)], 2).clamp(-RANGE, RANGE).transpose(1, 2)


class Grounder(nn.Module):
    """[N,CHANNELS,SIDE,SIDE] -> [N,1,SIDE,SIDE]. Only convolutions, pooling, doubling and concatenation: the
    runtime's operators."""

    def __init__(self, width=128):
        super().__init__()
        self.first = nn.Conv2d(CHANNELS, width, 1)
        self.second = nn.Conv2d(2 * width, width, 1)
        self.third = nn.Conv2d(2 * width, width, 1)
        self.last = nn.Conv2d(width, 1, 1)

    def beside_all(self, x):
        top = F.max_pool2d(x, SIDE)
        for _ in range(SIDE.bit_length() - 1):
            top = F.interpolate(top, scale_factor=2, mode="nearest")
        return torch.cat([x, top], 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.second(self.beside_all(x)))
        x = F.relu(self.third(self.beside_all(x)))
        return self.last(x)

    def match(self, objects):
        """[N,CHANNELS,OBJECTS] -> a logit per object [N,OBJECTS]."""
        return self(objects.unflatten(2, (SIDE, SIDE))).flatten(1)

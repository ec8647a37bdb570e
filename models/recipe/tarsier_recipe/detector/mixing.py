"""What keeps a student from learning few photos by heart: pictures that show two photos at once, and labels that are
kept from it.

Function matching (Beyer et al. 2022): the teacher answers on the very picture that the student sees, so a picture
may be anything, and no two need be alike. Labels cannot: they say the same of a photo every time, and after some
hundred times the student knows the photo instead of what is in it.
"""

import torch

from tarsier_recipe.coco import COCO80


def mix(count, blend, labelled, generator=None):
    """For `count` pictures: weight [count] of each beside the one before it, 1 where it is alone; whether its labels
    of the teacher's names are learnt [count]. `blend`: share of the pictures that are not alone, `labelled`: share
    of the others that keep these labels."""
    u = torch.rand(3, count, generator=generator)
    weight = torch.where(u[0] < blend, 0.5 + 0.5 * u[1], 1.0)
    return weight, (u[2] < labelled) & (weight == 1)


def blended(rgb, weight):
    """Pictures uint8 [B,3,S,S] of which each is `weight` [B] itself, the rest the one before it."""
    w = weight[:, None, None, None]
    return (w * rgb + (1 - w) * rgb.roll(1, 0)).round().to(torch.uint8)


def kept(labels, listed, weight, labelled):
    """The labels [B,n,6] and listed names [B,...,C] that still hold: none where two photos are blended; of the
    teacher's names only where `labelled`."""
    alone = weight == 1
    names = labelled[:, None] | (labels[..., 4] >= len(COCO80))
    certainty = labels[..., 5] * (alone[:, None] & names)
    return torch.cat([labels[..., :5], certainty[..., None]], -1), listed & alone.view(-1, *[1] * (listed.ndim - 1))

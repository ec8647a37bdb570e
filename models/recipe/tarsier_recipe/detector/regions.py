"""Stuff as objects (APE's thing-stuff equalising): every isolated region of a stuff mask is a box of its own."""

import cv2

from tarsier_recipe.coco import decode

LEAST_SHARE = 0.01  # of the photo; smaller regions are mostly the annotators' crumbs


def isolated(segmentation, height, width):
    """Boxes (x0, y0, x1, y1) of the connected regions of a mask, in pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(decode(segmentation, height, width), connectivity=8)
    return [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:].tolist() if area >= LEAST_SHARE * height * width]

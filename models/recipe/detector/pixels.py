"""Masks of COCO's kind as arrays."""

from pycocotools import mask as rle


def decode(segmentation, height, width):
    """A COCO segmentation (polygons, or RLE in either form) as uint8 [height, width] of 0 and 1."""
    if isinstance(segmentation, list):
        segmentation = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, height, width)
    return rle.decode(segmentation)

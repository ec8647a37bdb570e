"""Pictures whose every pixel says what it is of: labels for the stuff network.

A photo's labels are masks of names; which names are annotated at which pixels differs by source:

| photos | positive | negative where nothing of the name is labelled |
|---|---|---|
| COCO with stuff labels (panoptic) | 53 stuff names, 80 things | all of these, at labelled pixels; nobody labelled the others |
| COCO with a mask for every thing | the things | the things everywhere, stuff at the pixels of things |
| clothing (CCP) | garments, skin, hair, person | the names labelled in the photo, everywhere; COCO's stuff on the person |
"""  # noqa: E501

import random

import cv2
import numpy as np
import torch

from tarsier_recipe.coco import COCO80, decode
from tarsier_recipe.detector.data import DEPLOYED, GREY, Pictures, jitter_colour

STRIDE = 8  # of the labels and of the network's output
KEPT_BACK = 8  # one stuff-labelled photo in so many is not learnt from: the threshold is chosen on these


class Labels:
    """What each photo of a split has masks of, in one list of names: COCO's 80, its stuff, then what else has masks."""

    def __init__(self, split, stuff=None):
        cats = {c["id"]: c["name"] for c in split.data["categories"]}
        place = {im["id"]: i for i, im in enumerate(split.images)}
        self.masks = [[] for _ in split.images]
        own = set()
        for a in split.data["annotations"]:
            i = place[a["image_id"]]
            if not a.get("segmentation"):
                continue
            name = cats[a["category_id"]]
            if split.images[i].get("stuff_labelled") and not a["isthing"]:
                own.add(name)
            self.masks[i].append((name, a["segmentation"]))
        self.stuff = sorted(own) if stuff is None else stuff
        known = [*COCO80, *self.stuff]
        clothes = sorted(
            {n for i, im in enumerate(split.images) if im["source"] == "ccp" for n, _ in self.masks[i]} - set(known)
        )
        self.names = known + clothes
        self.index = {n: k for k, n in enumerate(self.names)}
        self.kind = [self.kind_of(im) for im in split.images]

    @staticmethod
    def kind_of(image):
        """`panoptic`, `things`, `clothes`, or None for photos without dense labels."""
        if image.get("stuff_labelled"):
            return "panoptic"
        if image.get("mask_complete"):
            return "things"
        return "clothes" if image["source"] == "ccp" else None

    def known(self, kind, cover, named, seen):
        """Which names are annotated where: [C,n] of 0 and 1.

        `cover` [C,n] is the share of each cell that a name's masks cover, `named` the names that the picture has,
        `seen` [n] what of the cell is photo.
        """
        things, stuff = len(COCO80), len(COCO80) + len(self.stuff)
        out = torch.zeros_like(cover)
        if kind == "panoptic":
            out[:stuff] = cover[:stuff].sum(0) > 0.5
        elif kind == "things":
            out[:things] = 1
            out[things:stuff] = cover[:things].sum(0) > 0.5
        else:
            out[named] = 1
            out[things:stuff] = torch.maximum(out[things:stuff], (cover[0] > 0.5).float())  # cover[0]: person
        return out * (seen > 0.5)


def dense_labels(labels, i, image, m, size):
    """Names [n] and the share of every cell they cover, uint8 [n,h,w] of 0..255; `m` maps the photo's JSON pixels to
    the picture."""
    side, by_name = size // STRIDE, {}
    for name, segmentation in labels.masks[i]:
        k = labels.index.get(name)
        if k is not None:
            whole = decode(segmentation, image["height"], image["width"])
            by_name[k] = whole if k not in by_name else np.maximum(by_name[k], whole)
    names, masks = [], []
    for k, whole in by_name.items():
        fine = cv2.warpAffine(whole * 255, m.astype(np.float32), (size, size), flags=cv2.INTER_LINEAR)
        cells = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
        if cells.any():
            names.append(k)
            masks.append(cells)
    return np.array(names, np.int64), np.array(masks, np.uint8).reshape(-1, side, side)


class DensePictures(Pictures):
    """Batches of augmented single photos: uint8 [B,3,S,S] and per picture (kind, names, masks, seen)."""

    SHARE = {"panoptic": 0.6, "things": 0.25, "clothes": 0.15}

    def __init__(self, split, store, labels, batch, size, seed):
        super().__init__(split, store, batch, (size,), 0.0, seed)
        self.labels = labels
        self.by_kind = {
            k: [i for i, kind in enumerate(labels.kind) if kind == k and not (k == "panoptic" and kept_back(i))]
            for k in self.SHARE
        }

    def picture(self, size, rng):
        kind = rng.choices(list(self.SHARE), self.SHARE.values())[0]
        i = rng.choice(self.by_kind[kind])
        canvas = np.full((size, size, 3), GREY, np.uint8)
        _, m = self.paste(canvas, (0, 0, size, size), i, rng, (0.8 * size, 1.6 * DEPLOYED), [])
        image = self.split.images[i]
        names, masks = dense_labels(self.labels, i, image, m, size)
        seen = cv2.warpAffine(
            np.full((image["height"], image["width"]), 255, np.uint8), m.astype(np.float32), (size, size)
        )
        seen = cv2.resize(seen, (size // STRIDE,) * 2, interpolation=cv2.INTER_AREA)
        x = jitter_colour(canvas, rng) if rng.random() < 0.8 else canvas
        return x, (kind, torch.from_numpy(names), torch.from_numpy(masks), torch.from_numpy(seen))

    def __iter__(self):
        rng = random.Random(self.seed)
        while True:
            items = [self.picture(self.sizes[0], rng) for _ in range(self.batch)]
            yield torch.from_numpy(np.stack([x for x, _ in items])).permute(0, 3, 1, 2), [label for _, label in items]


def kept_back(i):
    return i % KEPT_BACK == 0

"""Trains the mask branch on the frozen detector: final.pt -> masks.pt.

    python -m tarsier_recipe masks --pictures 36000      # run again to continue after an interruption

Only photos with instance masks are used. At every location that is responsible for a masked object and finds about
its box, the mask logit is made by the network that the location's coefficients are, over the prototypes and that
box, at stride 8, enlarged to stride 4 as the runtime does. Inside the found box, because there the runtime draws, it
is compared with the object's mask: binary cross entropy over the box's area + Dice.
"""

import random

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.coco import decode
from tarsier_recipe.detector.data import DEPLOYED, GREY, Pictures, jitter_colour
from tarsier_recipe.detector.frozen import Frozen
from tarsier_recipe.detector.loss import assign, boxes_from_geometry, by_location, giou
from tarsier_recipe.detector.student import Masks
from tarsier_recipe.precision import autocast, whole
from tarsier_recipe.training import Trainer, linear, save

MASK_STRIDE = 4  # of the targets; the prototypes' is 8
PER_PICTURE = 16  # locations that learn, at most
LEAST_IOU = 0.4  # of a location's box with the object's


class MaskedPictures(Pictures):
    """Single photos that have masks: uint8 [B,3,S,S], per picture boxes [n,6] and their masks [n,S/4,S/4] in 0..1."""

    def __init__(self, split, store, batch, size, seed):
        super().__init__(split, store, batch, (size,), 0.0, seed)
        # annotators of some sets drew one mask around everything of a kind
        self.pool = [
            i for i, m in enumerate(split.masks) if any(m) and split.images[i]["source"] not in ("ccp", "human-seg")
        ]

    def picture(self, size, rng):
        canvas = np.full((size, size, 3), GREY, np.uint8)
        i, boxes = rng.choice(self.pool), []
        kept, m = self.paste(canvas, (0, 0, size, size), i, rng, (0.8 * size, 1.6 * DEPLOYED), boxes)
        boxes = boxes[0] if boxes else np.zeros((0, 6))
        image = self.split.images[i]
        have = [n for n, k in enumerate(kept) if k < len(self.split.masks[i]) and self.split.masks[i][k]]
        side = size // MASK_STRIDE
        masks = np.zeros((len(have), side, side), np.float32)
        for n, b in enumerate(have):
            whole = decode(self.split.masks[i][kept[b]], image["height"], image["width"]) * 255
            fine = cv2.warpAffine(whole, m.astype(np.float32), (size, size), flags=cv2.INTER_LINEAR)
            masks[n] = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA) / 255.0
        x = jitter_colour(canvas, rng) if rng.random() < 0.8 else canvas
        return x, boxes[have].astype(np.float32), masks

    def __iter__(self):
        rng = random.Random(self.seed)
        while True:
            items = [self.picture(self.sizes[0], rng) for _ in range(self.batch)]
            yield (
                torch.from_numpy(np.stack([i[0] for i in items])).permute(0, 3, 1, 2),
                [torch.from_numpy(i[1]) for i in items],
                [torch.from_numpy(i[2]) for i in items],
            )


def inside(boxes, side):
    """1 where a pixel's centre of the mask grid lies in the box, [n,side,side]."""
    c = (torch.arange(side) + 0.5) * MASK_STRIDE
    x = (c >= boxes[:, None, 0]) & (c <= boxes[:, None, 2])
    y = (c >= boxes[:, None, 1]) & (c <= boxes[:, None, 3])
    return (y[:, :, None] & x[:, None, :]).float()


def mask_loss(model, prototypes, coefficients, found, boxes, masks, points, steps):
    """Loss of a batch and the mean IoU of what it drew. Lists over pictures; coefficients [B,L,160], found boxes
    [B,L,4]."""
    losses, overlaps = [], []
    for p, c, f, b, m in zip(prototypes, coefficients, found, boxes, masks):
        at, label = assign(b, points, steps)
        good = giou(f[at], b[label, :4])[1] >= LEAST_IOU
        at, label = at[good], label[good]
        if not len(at):
            continue
        if len(at) > PER_PICTURE:
            some = torch.randperm(len(at))[:PER_PICTURE]
            at, label = at[some], label[some]
        logits = model.logits(p, c[at], f[at])
        logits = F.interpolate(logits[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
        where, target = inside(f[at], m.shape[-1]), m[label]
        area = where.sum((1, 2)).clamp(min=1)
        bce = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * where).sum((1, 2)) / area
        s = logits.sigmoid() * where
        dice = 1 - (2 * (s * target).sum((1, 2)) + 1) / ((s * s).sum((1, 2)) + (target * target).sum((1, 2)) + 1)
        losses.append(bce + dice)
        hard, truth = (logits > 0) & (where > 0), target > 0.5
        overlaps.append((hard & truth).sum((1, 2)) / (hard | truth).sum((1, 2)).clamp(min=1))
    return torch.cat(losses).mean(), torch.cat(overlaps).mean().item()


def main():
    p = options.parser(__doc__, "weights", "steps", "seed", pictures=36_000, batch=16, lr=2e-3)
    p.add_argument("--width", type=int, default=32, help="channels before the prototypes")
    a = options.parse(p)
    frozen = Frozen(a.shared, a.build)
    model = Masks(width=a.width).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.01)
    if a.weights:
        model.load_state_dict(whole(torch.load(a.weights, weights_only=True)))
    trainer = Trainer(
        {"model": model, "optimiser": optimiser},
        a.build.branch_checkpoint("masks"),
        schedule=linear(500, 0.05),
        rate=a.lr,
        budget=a.pictures,
        limit=a.steps,
        table=a.build.table("masks"),
    )
    trainer.resume()
    points, steps = frozen.points, frozen.steps
    pictures = MaskedPictures(frozen.split, frozen.store, a.batch, DEPLOYED, trainer.seen)
    print(f"{len(pictures.pool)} photos with masks", flush=True)
    for rgb, boxes, masks in trainer.over(
        torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=1, prefetch_factor=4)
    ):
        features = frozen.features(rgb)
        with autocast():
            with torch.no_grad():
                geometry = by_location([frozen.student.head.geometry(f, level) for level, f in enumerate(features)])
            prototypes, coefficients = model(features)
        found = boxes_from_geometry(geometry, points, steps).clamp(0, DEPLOYED)
        loss, overlap = mask_loss(
            model, prototypes.float(), by_location(coefficients), found, boxes, masks, points, steps
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if trainer.done(len(rgb), loss=loss, IoU=overlap):
            trainer.save()
    model.eval()
    save(a.build.branch("masks"), model.state_dict())
    trainer.finish()


if __name__ == "__main__":
    main()

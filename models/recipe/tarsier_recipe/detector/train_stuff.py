"""Trains the stuff network on the frozen detector: final.pt -> stuff.pt, stuff.json (scale, bias, threshold).

    python -m tarsier_recipe stuff --pictures 24000      # run again to continue after an interruption

A cell's vector is compared with prompt rows as an object's is: every name has its own sigmoid, so that adding a prompt
never changes another's score. Learnt from dense labels (`dense`) by binary cross entropy where a name is annotated, and
by cross entropy between the annotated names of a cell, which is what decides where several names are asked for. Few
photos have such labels (120), the backbone is ten times as dear as this network, and is frozen: so each augmented
picture's features are kept in a pool and learnt from --reuse times, each time with other words for the names and other
pictures beside it.

The threshold is the score that gives the best IoU (over all pixels, and the mean over names) on the photos that are
kept back.
"""

import json
import random

import numpy as np
import torch
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.detector.data import DEPLOYED, letterbox
from tarsier_recipe.detector.dense import DensePictures, Labels, dense_labels, kept_back
from tarsier_recipe.detector.frozen import Frozen
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.detector.student import Stuff
from tarsier_recipe.precision import autocast, whole
from tarsier_recipe.quality import Confusion, label_map
from tarsier_recipe.training import Trainer, linear, save

POOL = 2048  # pictures whose features are kept
CELLS = 400  # of the 1,600 of a picture, drawn anew for each step: losses over all names are bound by memory
MIDDLE = 0.02  # a name that fills this share of the labelled cells has weight one; rare ones more, by the root


def cover_of(labels, picture, at):
    """(cover [C,n], known [C,n]) of one picture's labels at the cells `at` [n]."""
    kind, names, masks, seen = picture
    cover = torch.zeros(len(labels.names), len(at))
    cover[names] = masks.flatten(1)[:, at].float() / 255
    return cover, labels.known(kind, cover, names, seen.flatten()[at].float() / 255)


def stuff_loss(logit, cover, known, weight):
    """`logit`, `cover`, `known` [N,C,n]; `weight` [C] of the names. Returns the two terms."""
    w = 1 + cover * (weight[None, :, None] - 1)
    labelled = (known.amax(1) > 0).sum().clamp(min=1)
    entropy = F.binary_cross_entropy_with_logits(logit, cover, weight=known * w, reduction="sum") / labelled
    share = cover * known
    total = share.sum(1, keepdim=True)
    target = share / total.clamp(min=1e-6)
    between = F.log_softmax(logit.masked_fill(known == 0, -30.0), 1)
    which = -(target * weight[None, :, None] * between).sum(1) * (total[:, 0] > 0.5)
    return entropy, which.sum() / labelled


class Held:
    """Whole photos with dense labels that are not learnt from, as the runtime sees them."""

    def __init__(self, frozen, labels, photos):
        self.labels, self.items, pictures = labels, [], []
        for i in photos:
            image, (photo, sx, sy) = frozen.split.images[i], frozen.store[i]
            x, s, left, top = letterbox(photo, DEPLOYED)
            m = np.array([[s * sx, 0, left], [0, s * sy, top]])
            names, masks = dense_labels(labels, i, image, m, DEPLOYED)
            pictures.append(x)
            cover = np.zeros((len(labels.names), *masks.shape[1:]), np.float32)
            cover[names] = masks / 255
            self.items.append(cover)
        rgb = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        self.features = [frozen.features(part) for part in rgb.split(16)]
        self.stuff = slice(80, 80 + len(labels.stuff))

    @torch.no_grad()
    def scores(self, model, rows):
        """Scores of the stuff names [N,C,h,w]."""
        return torch.cat([model.logits(model(f), rows[self.stuff]).sigmoid() for f in self.features]).numpy()

    def measure(self, scores, threshold):
        """Of cells that are labelled as stuff or as a thing: which stuff is said where the best score reaches the
        threshold."""
        confusion = Confusion(len(self.labels.stuff))
        for cover, score in zip(self.items, scores):
            truth = label_map(cover[self.stuff])
            counted = label_map(cover[: self.stuff.stop]) >= 0
            confusion.add(truth, label_map(score, threshold), counted)
        return confusion.summary()


def main():
    p = options.parser(__doc__, "weights", "steps", "seed", pictures=24_000, batch=16, lr=2e-3)
    p.add_argument("--reuse", type=int, default=4, help="steps on the features of as many pictures as are drawn anew")
    a = options.parse(p)
    frozen, val = Frozen(a.shared, a.build), Frozen(a.shared, a.build, "val")
    split, store = frozen.split, frozen.store
    labels = Labels(split)
    bank = PromptBank(a.build.prompts, labels.names)
    rows = F.normalize(bank.names(), dim=1)
    pictures = DensePictures(split, store, labels, a.batch, DEPLOYED, 0)
    print(
        {k: len(v) for k, v in pictures.by_kind.items()},
        f"{len(labels.stuff)} stuff names, {len(labels.names)} in all",
        flush=True,
    )
    back = Held(frozen, labels, [i for i, k in enumerate(labels.kind) if k == "panoptic" and kept_back(i)])
    val_labels = Labels(val.split, labels.stuff)
    held = Held(val, val_labels, [i for i, k in enumerate(val_labels.kind) if k == "panoptic"])

    model = Stuff()
    decay = [q for q in model.parameters() if q.ndim == 4]
    plain = [q for q in model.parameters() if q.ndim < 4]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=a.lr
    )
    if a.weights:
        model.load_state_dict(whole(torch.load(a.weights, weights_only=True)))
    share = torch.full((len(labels.names),), MIDDLE)
    trainer = Trainer(
        {"model": model, "optimiser": optimiser},
        a.build.branch_checkpoint("stuff"),
        schedule=linear(500, 0.05),
        rate=a.lr,
        budget=a.pictures,
        limit=a.steps,
        table=a.build.table("stuff"),
    )
    share = trainer.resume().get("share", share)
    pictures.seed = trainer.seen
    rng, pool = random.Random(trainer.seen), []

    def keep():
        model.eval()
        scores = back.scores(model, rows)
        best = max(np.arange(0.1, 0.7, 0.05), key=lambda t: sum(back.measure(scores, t)[k] for k in ("IoU", "mIoU")))
        threshold = round(float(best), 3)
        numbers = {
            "kept back": back.measure(scores, threshold),
            "val": held.measure(held.scores(model, rows), threshold),
        }
        save(a.build.branch("stuff"), model.state_dict())
        answer = {"scale": model.log_scale.exp().item(), "bias": model.bias.item(), "threshold": threshold}
        a.build.numbers("stuff").write_text(json.dumps(answer) + "\n")
        print(answer, {k: {n: round(v, 3) for n, v in m.items()} for k, m in numbers.items()}, flush=True)
        model.train()

    for rgb, told in trainer.over(
        torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=1, prefetch_factor=4)
    ):
        features = [f.half() for f in frozen.features(rgb)]
        pool.extend((([f[n] for f in features]), told[n]) for n in range(len(rgb)))
        del pool[:-POOL]
        trainer.set_rate(ahead=len(rgb))
        sums = torch.zeros(2)
        for _ in range(a.reuse):
            chosen = [rng.choice(pool) for _ in range(a.batch)]
            x = [torch.stack(level).float() for level in zip(*(c[0] for c in chosen))]
            at = torch.randperm(x[0].shape[-1] ** 2)[:CELLS]
            cover, known = map(torch.stack, zip(*(cover_of(labels, c[1], at) for c in chosen)))
            share = share.lerp((cover * known).sum((0, 2)) / (known.amax(1) > 0).sum().clamp(min=1), 0.01)
            with autocast():
                vectors = model(x)
            vectors = vectors.float().flatten(2)[:, :, at, None]
            logit = model.logits(vectors, F.normalize(bank.sample(rng), dim=1)).squeeze(3)
            entropy, which = stuff_loss(logit, cover, known, (MIDDLE / share.clamp(min=1e-4)).sqrt().clamp(0.5, 4))
            optimiser.zero_grad(set_to_none=True)
            (entropy + which).backward()
            optimiser.step()
            sums += torch.stack([entropy.detach(), which.detach()]) / a.reuse
        if trainer.done(len(rgb), each=sums[0], which=sums[1]):
            keep()
            trainer.save(share=share)
    keep()
    trainer.finish()


if __name__ == "__main__":
    main()

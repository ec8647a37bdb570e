"""Trains the stuff network on the frozen detector: final.pt -> stuff.pt, stuff.json (scale, bias, threshold).

    python train_stuff.py --pictures 24000      # run again to continue after an interruption

A cell's vector is compared with prompt rows as an object's is: every name has its own sigmoid, so that adding a prompt never changes
another's score. Learnt from dense labels (dense.py) by binary cross entropy where a name is annotated, and by cross entropy between
the annotated names of a cell, which is what decides where several names are asked for. Few photos have such labels (120), the backbone
is ten times as dear as this network, and is frozen: so each augmented picture's features are kept in a pool and learnt from --reuse times,
each time with other words for the names and other pictures beside it.

The threshold is the score that gives the best IoU (over all pixels, and the mean over names) on the photos that are kept back.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import DEPLOYED, letterbox
from dense import DensePictures, Labels, dense_labels, kept_back
from frozen import Frozen
from precision import autocast, whole
from prompts import PromptBank
from semantic import Confusion, label_map
from student import Stuff

HERE = Path(__file__).resolve().parent
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
        """Of cells that are labelled as stuff or as a thing: which stuff is said where the best score reaches the threshold."""
        confusion = Confusion(len(self.labels.stuff))
        for cover, score in zip(self.items, scores):
            truth = label_map(cover[self.stuff])
            counted = label_map(cover[: self.stuff.stop]) >= 0
            confusion.add(truth, label_map(score, threshold), counted)
        return confusion.summary()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[3] / "shared", type=Path)
    p.add_argument("--build", default=HERE.parents[1] / "build", type=Path)
    p.add_argument("--pictures", type=int, default=24_000, help="augmented pictures whose features are computed")
    p.add_argument("--reuse", type=int, default=4)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--weights", type=Path, help="start from these weights, say of a branch on an earlier detector, instead of random ones")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    out = a.build / "detector"
    frozen, val = Frozen(a.shared, a.build), Frozen(a.shared, a.build, "val.json")
    split, store = frozen.split, frozen.store
    labels = Labels(split)
    bank = PromptBank(a.build / "text/prompts.npz", labels.names)
    rows = F.normalize(bank.names(), dim=1)
    pictures = DensePictures(split, store, labels, a.batch, DEPLOYED, 0)
    print({k: len(v) for k, v in pictures.by_kind.items()}, f"{len(labels.stuff)} stuff names, {len(labels.names)} in all", flush=True)
    back = Held(frozen, labels, [i for i, k in enumerate(labels.kind) if k == "panoptic" and kept_back(i)])
    val_labels = Labels(val.split, labels.stuff)
    held = Held(val, val_labels, [i for i, k in enumerate(val_labels.kind) if k == "panoptic"])

    model = Stuff()
    decay = [q for q in model.parameters() if q.ndim == 4]
    plain = [q for q in model.parameters() if q.ndim < 4]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=a.lr)
    if a.weights:
        model.load_state_dict(whole(torch.load(a.weights, weights_only=True)))
    checkpoint, seen, share = out / "stuff.checkpoint.pt", 0, torch.full((len(labels.names),), MIDDLE)
    if checkpoint.exists():
        c = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(c["model"])
        optimiser.load_state_dict(c["optimiser"])
        seen, share = c["seen"], c["share"]
    pictures.seed = seen
    rng, pool, sums, began = random.Random(seen), [], np.zeros(3), time.time()

    def finish():
        model.eval()
        scores = back.scores(model, rows)
        best = max(np.arange(0.1, 0.7, 0.05), key=lambda t: sum(back.measure(scores, t)[k] for k in ("IoU", "mIoU")))
        threshold = round(float(best), 3)
        numbers = {"kept back": back.measure(scores, threshold), "val": held.measure(held.scores(model, rows), threshold)}
        torch.save(model.state_dict(), out / "stuff.pt")
        answer = {"scale": model.log_scale.exp().item(), "bias": model.bias.item(), "threshold": threshold}
        (out / "stuff.json").write_text(json.dumps(answer) + "\n")
        print(answer, {k: {n: round(v, 3) for n, v in m.items()} for k, m in numbers.items()}, flush=True)
        model.train()

    for rgb, told in torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=1, prefetch_factor=4):
        if seen >= a.pictures:
            break
        features = [f.half() for f in frozen.features(rgb)]
        pool.extend((([f[n] for f in features]), told[n]) for n in range(len(rgb)))
        del pool[:-POOL]
        seen += len(rgb)
        for _ in range(a.reuse):
            chosen = [rng.choice(pool) for _ in range(a.batch)]
            x = [torch.stack(level).float() for level in zip(*(c[0] for c in chosen))]
            at = torch.randperm(x[0].shape[-1] ** 2)[:CELLS]
            cover, known = map(torch.stack, zip(*(cover_of(labels, c[1], at) for c in chosen)))
            share = share.lerp((cover * known).sum((0, 2)) / (known.amax(1) > 0).sum().clamp(min=1), 0.01)
            for g in optimiser.param_groups:
                g["lr"] = a.lr * min(1, seen / 500 + 0.05) * max(0.0, 1 - seen / a.pictures)
            with autocast():
                vectors = model(x)
            vectors = vectors.float().flatten(2)[:, :, at, None]
            logit = model.logits(vectors, F.normalize(bank.sample(rng), dim=1)).squeeze(3)
            entropy, which = stuff_loss(logit, cover, known, (MIDDLE / share.clamp(min=1e-4)).sqrt().clamp(0.5, 4))
            optimiser.zero_grad(set_to_none=True)
            (entropy + which).backward()
            optimiser.step()
            sums += (entropy.item(), which.item(), 1)
        if seen % (50 * a.batch) == 0:
            print(f"{seen}/{a.pictures} pictures  {50 * a.batch / (time.time() - began):.1f}/s  each {sums[0] / sums[2]:.3f}  which {sums[1] / sums[2]:.3f}", flush=True)
            sums, began = np.zeros(3), time.time()
        if seen % (100 * a.batch) == 0:
            finish()
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "seen": seen, "share": share}, checkpoint)
    finish()
    checkpoint.unlink(missing_ok=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()

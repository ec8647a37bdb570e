"""Trains the presence head on the frozen detector: final.pt -> presence.pt.

    python -m tarsier_recipe presence

"Is it in the picture at all?" is asked of the whole picture: mean and greatest value of every feature channel at
strides 16, 32 and 64 go through two layers to one vector, which is compared with prompts like an object is. Learnt
from image-level truth: names that a photo's set annotates exhaustively (present or absent), image labels without
boxes (present), and captions: names of the whole vocabulary that they mention are present, the others absent, but
for those near to what is present. The detector's features of every photo, in a few views, are computed once.
"""

import itertools
import random

import numpy as np
import torch
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.detector.captions import mentioned
from tarsier_recipe.detector.data import DEPLOYED, letterbox
from tarsier_recipe.detector.frozen import Frozen
from tarsier_recipe.detector.prompts import NEAR, PromptBank
from tarsier_recipe.detector.student import Presence, pooled
from tarsier_recipe.training import Trainer, linear, save

BATCH = 256


def views(frozen, count, rng):
    """Yields (photo index, picture, whole): the letterboxed photo, its mirror image, then random crops."""
    for i in range(len(frozen.split.images)):
        photo, _, _ = frozen.store[i]
        for v in range(count):
            if v < 2:
                x = letterbox(photo[:, ::-1] if v else photo, DEPLOYED)[0]
            else:
                h, w = photo.shape[:2]
                s = rng.uniform(0.75, 0.95)
                y0, x0 = rng.integers(0, int(h * (1 - s)) + 1), rng.integers(0, int(w * (1 - s)) + 1)
                part = photo[y0 : y0 + int(h * s), x0 : x0 + int(w * s)]
                x = letterbox(part[:, ::-1] if v % 2 else part, DEPLOYED)[0]
            yield i, x


def gather(frozen, count, cache):
    """Pooled features [N,V,384] of every photo of the split, cached."""
    if cache.exists():
        return torch.load(cache, weights_only=True)
    rng, rows, batch = np.random.default_rng(0), [], []
    total = len(frozen.split.images) * count
    for _, x in views(frozen, count, rng):
        batch.append(x)
        if len(batch) == 32 or len(rows) * 32 + len(batch) == total:
            rgb = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
            rows.append(pooled(frozen.features(rgb)).float())
            batch = []
            if len(rows) % 50 == 0:
                print(f"{len(rows) * 32}/{total} views", flush=True)
    out = torch.cat(rows).view(-1, count, rows[0].shape[1])
    torch.save(out, cache)
    return out


def truth(split):
    """Present [N,C] and known [N,C] of the split's names."""
    present = torch.zeros(len(split.images), len(split.names), dtype=torch.bool)
    index = {n: k for k, n in enumerate(split.names)}
    for i, (im, boxes) in enumerate(zip(split.images, split.boxes)):
        present[i, boxes[:, 4].astype(int)] = True
        for n in im.get("image_labels", []):
            if n in index:
                present[i, index[n]] = True
    return present, split.exhaustive | present


def validation(bank, split, names):
    """A function of the model: loss and Matthews' correlation at the best threshold, of these names on the split's
    COCO photos; and which photos."""
    index = {n: k for k, n in enumerate(split.names)}
    photos = [i for i, im in enumerate(split.images) if im["source"] == "coco"]
    present = truth(split)[0][photos][:, [index[n] for n in names]]
    rows = F.normalize(bank.names()[: len(names)], dim=1)

    @torch.no_grad()
    def measure(model, x):
        model.eval()
        z = model.logits(model(x[photos, 0]), rows)
        loss = F.binary_cross_entropy_with_logits(z, present.float())
        best = max(np.corrcoef((z > t).flatten(), present.flatten())[0, 1] for t in np.arange(-3, 1, 0.1))
        model.train()
        print(f"val {loss.item():.4f} MCC {best:.3f}", flush=True)

    return measure


def main():
    p = options.parser(__doc__, "steps", "seed", lr=2e-3)
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--captions", type=float, default=0.03, help="weight of the names that only captions tell of")
    a = options.parse(p)
    train, val = Frozen(a.shared, a.build), Frozen(a.shared, a.build, "val")
    x, xv = (
        gather(train, a.views, a.build.detector / "presence_train.pt"),
        gather(val, 1, a.build.detector / "presence_val.pt"),
    )
    bank = PromptBank(a.build.prompts, train.split.names)
    present, known = truth(train.split)
    # names that nothing labels are known from captions alone
    others = F.normalize(bank.embedding[bank.others], dim=1)
    said = mentioned(train.split.images, train.split.names + [bank.texts[i] for i in bank.others])
    own, said = said.split((len(train.split.names), len(bank.others)), 1)
    own &= ~known  # of what is annotated, boxes know better
    present |= own
    known |= own
    alike = torch.cat([F.normalize(bank.names(), dim=1), others]) @ others.T >= NEAR
    near = torch.cat([present, said], 1).float() @ alike.float() > 0
    asked = (said | ~near) & said.any(1)[:, None]
    told = int(said.any(1).sum())
    print(
        f"{int(own.sum())} mentions of the data's names, {int(said.sum())} of {len(others)} others, in captions of "
        f"{told} photos",
        flush=True,
    )
    weight = known.float()
    model = Presence(x.shape[-1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.05)
    measure = validation(bank, val.split, train.split.names[:80])
    trainer = Trainer(
        {"model": model, "optimiser": optimiser},
        schedule=linear(50),
        rate=a.lr,
        budget=a.epochs * (len(x) // BATCH),
        by="step",
        unit="views",
        limit=a.steps,
        table=a.build.table("presence"),
    )
    rng = random.Random(a.seed)
    for _ in trainer.over(itertools.repeat(None)):
        rows = torch.randint(len(x), (BATCH,))
        view = torch.randint(x.shape[1], (BATCH,))
        v = model(x[rows, view])
        prompts = F.normalize(bank.sample(rng), dim=1)
        logit = model.logits(v, prompts)
        # rare names count as much as their positives allow
        bce = F.binary_cross_entropy_with_logits(logit, present[rows].float(), reduction="none") * weight[rows]
        loss = bce.sum() / present[rows].sum().clamp(min=1)
        bce = (
            F.binary_cross_entropy_with_logits(model.logits(v, others), said[rows].float(), reduction="none")
            * asked[rows]
        )
        loss = loss + a.captions * bce.sum() / said[rows].sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if trainer.done(BATCH, loss=loss):
            measure(model, xv)
    measure(model, xv)
    model.eval()
    save(a.build.branch("presence"), model.state_dict())
    trainer.finish()


if __name__ == "__main__":
    main()

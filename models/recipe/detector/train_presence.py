"""Trains the presence head on the frozen detector: final.pt -> presence.pt.

    python train_presence.py

"Is it in the picture at all?" is asked of the whole picture: mean and greatest value of every feature channel at strides 16, 32 and 64
go through two layers to one vector, which is compared with prompts like an object is. Learnt from image-level truth: names that a
photo's set annotates exhaustively (present or absent), image labels without boxes (present), and captions: names of the whole vocabulary that they
mention are present, the others absent, but for those near to what is present. The detector's features of every photo, in a few views, are
computed once.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from captions import mentioned
from data import DEPLOYED, letterbox
from frozen import Frozen
from prompts import NEAR, PromptBank
from student import Presence, pooled

HERE = Path(__file__).resolve().parent


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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[3] / "shared", type=Path)
    p.add_argument("--build", default=HERE.parents[1] / "build", type=Path)
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--captions", type=float, default=0.03, help="weight of the names that only captions tell of")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    out = a.build / "detector"
    train, val = Frozen(a.shared, a.build), Frozen(a.shared, a.build, "val.json")
    x, xv = gather(train, a.views, out / "presence_train.pt"), gather(val, 1, out / "presence_val.pt")
    bank = PromptBank(a.build / "text/prompts.npz", train.split.names)
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
    print(f"{int(own.sum())} mentions of the data's names, {int(said.sum())} of {len(others)} others, in captions of {int(said.any(1).sum())} photos", flush=True)
    weight = known.float()
    model = Presence(x.shape[-1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    batch, steps = 256, a.epochs * (len(x) // 256)
    # val
    index = {n: k for k, n in enumerate(val.split.names)}
    photos = [i for i, im in enumerate(val.split.images) if im["source"] == "coco"]
    pv, _ = truth(val.split)
    pv = pv[photos][:, [index[n] for n in train.split.names[:80]]]
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        view = torch.randint(x.shape[1], (batch,))
        for g in optimiser.param_groups:
            g["lr"] = 2e-3 * min(1, step / 50) * (1 - step / steps)
        v = model(x[rows, view])
        prompts = F.normalize(bank.sample(), dim=1)
        logit = model.logits(v, prompts)
        # rare names count as much as their positives allow
        bce = F.binary_cross_entropy_with_logits(logit, present[rows].float(), reduction="none") * weight[rows]
        loss = bce.sum() / present[rows].sum().clamp(min=1)
        bce = F.binary_cross_entropy_with_logits(model.logits(v, others), said[rows].float(), reduction="none") * asked[rows]
        loss = loss + a.captions * bce.sum() / said[rows].sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0 or step == steps - 1:
            model.eval()
            with torch.no_grad():
                z = model.logits(model(xv[photos, 0]), F.normalize(bank.names()[:80], dim=1))
                vloss = F.binary_cross_entropy_with_logits(z, pv.float())
                best = max(np.corrcoef((z > t).flatten(), pv.flatten())[0, 1] for t in np.arange(-3, 1, 0.1))
            model.train()
            print(f"step {step}/{steps} loss {loss.item():.3f} val {vloss.item():.4f} MCC {best:.3f}", flush=True)
    model.eval()
    torch.save(model.state_dict(), out / "presence.pt")


if __name__ == "__main__":
    main()

"""Trains grounding on the frozen detector: final.pt -> ground.pt, its gate, ground_calibration.npz (for the quantiser),
expressions of val.

    python -m tarsier_recipe ground

One photo in sixteen is kept back to set the gate: the logit above which a sentence is said to be there, so that REFUSED
of the absent sentences about those photos get no box.

What the detector proposes on each photo (and its mirror image) is computed once; then sentences are generated from
the labels (`expressions`), encoded by the sentence encoder, and matched with the objects. Writes
build/detector/expressions_val.json: the held-out expressions, of photos that no stage has trained on, which
`evaluate` asks the binary.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.detector.data import DEPLOYED, letterbox
from tarsier_recipe.detector.expressions import absent, area, colour_name, present
from tarsier_recipe.detector.frozen import Frozen
from tarsier_recipe.detector.ground import CHANNELS, OBJECTS, Grounder, describe, thin
from tarsier_recipe.detector.loss import by_location
from tarsier_recipe.precision import autocast
from tarsier_recipe.text.sentence_encoder import SentenceEncoder
from tarsier_recipe.training import Trainer, linear, save

LEAST_AREA = 0.05  # of the photo, of what is meant: RefCOCO's rule (Kazemzadeh et al. 2014)
REFUSED = 0.9  # share of absent sentences
BATCH = 16  # scenes of a step
GONE = 3  # absent sentences per photo and round


def inner_mean(photo, box):
    """Mean RGB of the inner half of a box; photo uint8 [h,w,3], box in pixels."""
    h, w = photo.shape[:2]
    x0, y0, x1, y1 = box
    qx, qy = (x1 - x0) / 4, (y1 - y0) / 4
    a, b = int(min(max(x0 + qx, 0), w - 1)), int(min(max(y0 + qy, 0), h - 1))
    c, d = max(a + 1, int(min(x1 - qx, w))), max(b + 1, int(min(y1 - qy, h)))
    return photo[b:d, a:c].reshape(-1, 3).mean(0)


def scenes(frozen, cache):
    """Per photo and view (as it is, mirrored): what is proposed and what is labelled. Cached."""
    if cache.exists():
        return torch.load(cache, weights_only=False)
    out, split = [], frozen.split
    chosen = [i for i, im in enumerate(split.images) if im["source"] == "coco" and len(split.boxes[i])]
    batch = []

    def flush():
        rgb = torch.from_numpy(np.stack([b["x"] for b in batch])).permute(0, 3, 1, 2)
        features = frozen.features(rgb)
        embedding, boxes, objectness, at = frozen.objects(features)
        flat = by_location(features)
        for n, b in enumerate(batch):
            kept = thin(boxes[n], objectness[n])
            h, w = b["photo"].shape[:2]
            real = (boxes[n, kept] - torch.tensor([b["left"], b["top"]] * 2)) / b["scale"]
            real[:, 0::2] = real[:, 0::2].clamp(0, w)
            real[:, 1::2] = real[:, 1::2].clamp(0, h)
            rgbs = np.stack([inner_mean(b["photo"], r) for r in real.tolist()]) / 255
            unit = real / torch.tensor([w, h, w, h])
            wh = (unit[:, 2:] - unit[:, :2]).clamp(min=1e-3)
            g = torch.zeros(len(kept), 16)
            g[:, :2], g[:, 2:4] = (unit[:, :2] + unit[:, 2:]) / 2, wh
            g[:, 4], g[:, 5] = wh.prod(1).sqrt(), (wh[:, 0] * w / (wh[:, 1] * h)).log2() / 4
            g[:, 6], g[:, 8:11], g[:, 11] = objectness[n, kept] / 8, torch.from_numpy(rgbs).float(), 1
            objects = []
            for r in b["boxes"]:
                c = colour_name(inner_mean(b["photo"], r[:4]))
                objects.append((split.names[int(r[4])], (r[0] / w, r[1] / h, r[2] / w, r[3] / h), c))
            out.append(
                {
                    "photo": b["index"],
                    "mirror": b["mirror"],
                    "embedding": embedding[n, kept].half(),
                    "feature": flat[n, at[n, kept]].half(),
                    "geometry": g,
                    "boxes": unit,
                    "objects": objects,
                }
            )
        batch.clear()

    for n, i in enumerate(chosen):
        photo, sx, sy = frozen.store[i]
        for mirror in (False, True):
            p = np.ascontiguousarray(photo[:, ::-1]) if mirror else np.asarray(photo)
            boxes = split.boxes[i][:, :5] * [sx, sy, sx, sy, 1]
            if mirror:
                boxes[:, [0, 2]] = photo.shape[1] - boxes[:, [2, 0]]
            x, s, left, top = letterbox(p, DEPLOYED)
            batch.append(
                {"x": x, "photo": p, "scale": s, "left": left, "top": top, "boxes": boxes, "index": i, "mirror": mirror}
            )
        if len(batch) >= 32 or n == len(chosen) - 1:
            flush()
        if n % 500 == 0:
            print(f"scenes {n}/{len(chosen)}", flush=True)
    torch.save(out, cache)
    return out


def overlaps(boxes, box):
    """IoU of boxes [K,4] with one."""
    b = torch.tensor(box)
    wh = (torch.minimum(boxes[:, 2:], b[2:]) - torch.maximum(boxes[:, :2], b[:2])).clamp(min=0)
    both = wh.prod(1)
    return both / ((boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) + (b[2:] - b[:2]).prod() - both).clamp(min=1e-9)


def sentences(scene, split, words, rng, per_kind=2):
    """(text, kind, target box or None) of a scene."""
    exhaustive = split.exhaustive[scene["photo"]]
    told = [o for o in scene["objects"] if exhaustive[split.names.index(o[0])]]
    out, seen = [], {}
    everything = present(told, words, rng)
    rng.shuffle(everything)
    for text, i, kind in everything:
        if area(told[i][1]) >= LEAST_AREA and seen.setdefault(kind, 0) < per_kind:
            seen[kind] += 1
            out.append((text, kind, told[i][1]))
    have = {o[0] for o in scene["objects"]}
    missing = [n for k, n in enumerate(split.names) if exhaustive[k] and n not in have]
    return out + [(t, k, None) for t, k in absent(told, missing, words, rng, GONE)]


def examples(some, encoder, frozen):
    """Tensors for scenes with their sentences: inputs [N,C,K], IoU with the target [N,K] (0 for absent), told [N]."""
    total = sum(len(told) for _, told in some)
    inputs, iou, n = torch.zeros(total, CHANNELS, OBJECTS), torch.zeros(total, OBJECTS), 0
    for scene, told in some:
        k, e, s = len(scene["boxes"]), scene["embedding"].float(), encoder([text for text, _, _ in told])
        z = frozen.logits(e, s).T
        inputs[n : n + len(told), :, :k] = describe(e, scene["feature"].float(), scene["geometry"], z, s)
        for _, _, box in told:
            if box is not None:
                iou[n, :k] = overlaps(scene["boxes"], box)
            n += 1
    return inputs, iou, torch.tensor([box is not None for _, told in some for _, _, box in told])


def loss_of(logit, iou, told):
    """Objects that cover the target by half are right, the best of them most; absent sentences have none."""
    right = (iou >= 0.5).float()
    bce = F.binary_cross_entropy_with_logits(logit, right, reduction="none")
    mine = iou.max(1).values >= 0.5
    usable = mine | ~told
    bce = (bce * usable[:, None]).sum() / usable.sum().clamp(min=1) / 4
    rank = -(F.log_softmax(logit[mine], 1) * F.normalize(right[mine] * iou[mine], p=1, dim=1)).sum(1)
    return bce + rank.sum() / usable.sum().clamp(min=1)


def report(rows, logit, iou, gate):
    """Of (text, kind, box) rows: P@0.5 in all and by kind, share of absent sentences that get a box at the threshold
    `gate`."""
    best = logit.argmax(1)
    hit = iou.gather(1, best[:, None])[:, 0] >= 0.5
    top = logit.max(1).values
    kinds = {}
    for n, (_, kind, box) in enumerate(rows):
        kinds.setdefault(kind, []).append(bool(top[n] > gate) if box is None else bool(hit[n]))
    told = torch.tensor([box is not None for _, _, box in rows])
    return {
        "P@0.5": hit[told].float().mean().item(),
        "reachable": (iou.max(1).values >= 0.5)[told].float().mean().item(),
        "P@0.5, boxes above the gate only": (hit & (top > gate))[told].float().mean().item(),
        "box for absent": (top > gate)[~told].float().mean().item(),
        **{k: round(float(np.mean(v)), 3) for k, v in sorted(kinds.items())},
    }


def main():
    p = options.parser(__doc__, "steps", "seed", lr=1.5e-3)
    p.add_argument("--rounds", type=int, default=4, help="times that sentences are generated for each photo and view")
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--width", type=int, default=128)
    a = options.parse(p)
    out = a.build.detector
    train, val = Frozen(a.shared, a.build), Frozen(a.shared, a.build, "val")
    ts, vs = scenes(train, out / "scenes_train.pt"), scenes(val, out / "scenes_val.pt")
    synonyms = {c["name"]: c["synonyms"] for c in json.load(open(a.build.categories))}
    encoder = SentenceEncoder(a.build)

    def asked(scene_list, split, seed, rounds):
        rng = random.Random(seed)
        words = lambda n: n if rng.random() < 0.75 or not synonyms.get(n) else rng.choice(synonyms[n])  # noqa: E731
        rows = [(s, sentences(s, split, words, rng)) for _ in range(rounds) for s in scene_list]
        return [r for r in rows if r[1]]

    kept_back = [s for s in ts if s["photo"] % 16 == 0]
    rows, held = (
        asked([s for s in ts if s["photo"] % 16], train.split, 1, a.rounds),
        asked([s for s in vs if not s["mirror"]], val.split, 2, 1),
    )
    gating = asked(kept_back, train.split, 3, 1)
    file = lambda s: Path(val.split.images[s["photo"]]["file_name"]).name  # noqa: E731
    flat = [(s, *q) for s, told in held for q in told]
    expressions = [{"file_name": file(s), "sentence": t, "kind": k, "box": b} for s, t, k, b in flat]
    a.build.expressions.write_text(json.dumps(expressions, indent=0))
    texts = sorted({t for _, told in rows + gating + held for t, _, _ in told}, key=len)
    print(
        f"{sum(len(told) for _, told in rows)} training sentences, {len(flat)} held out, {len(texts)} different ones",
        flush=True,
    )
    for n in range(0, len(texts), 8192):
        encoder(texts[n : n + 8192])
        print(f"encoded {min(n + 8192, len(texts))}/{len(texts)}", flush=True)
    vx, viou, _ = examples(held, encoder, val)
    gx, _, gtold = examples(gating, encoder, train)
    model = Grounder(a.width)
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.03)
    rng, steps = random.Random(a.seed), len(rows) // BATCH
    trainer = Trainer(
        {"model": model, "optimiser": optimiser},
        schedule=linear(100),
        rate=a.lr,
        budget=a.epochs * steps,
        by="step",
        unit="sentences",
        limit=a.steps,
        table=a.build.table("ground"),
    )

    def batches():
        for _ in range(a.epochs):
            rng.shuffle(rows)
            for n in range(0, len(rows) - BATCH + 1, BATCH):
                yield rows[n : n + BATCH]

    def measured():
        """The gate, and what it does to held-out sentences."""
        with torch.no_grad():
            z, gz = (torch.cat([model.match(c) for c in x.split(512)]) for x in (vx, gx))
        gate = gz.max(1).values[~gtold].quantile(REFUSED).item()
        numbers = report([r[1:] for r in flat], z, viou, gate)
        print({k: round(v, 3) for k, v in numbers.items()}, flush=True)
        return gate

    for some in trainer.over(batches()):
        x, iou, told = examples(some, encoder, train)
        with autocast():
            logit = model.match(x)
        loss = loss_of(logit.float(), iou, told)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        trainer.done(len(told), loss=loss)
        if trainer.step % steps == 0:
            measured()
    save(a.build.branch("ground"), model.state_dict())
    a.build.numbers("ground").write_text(json.dumps({"gate": measured()}) + "\n")
    np.savez(a.build.ground_calibration, objects=examples(rng.sample(rows, 48), encoder, train)[0].numpy())
    trainer.finish()


if __name__ == "__main__":
    main()

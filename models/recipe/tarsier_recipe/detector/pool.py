"""A pool of drawn pictures with the teachers' answers, on disk: what two cores learn from.

    # run again to go on; `train` reads what is there
    python -m tarsier_recipe pool --pictures 50000 --share 0/2 &
    python -m tarsier_recipe pool --pictures 50000 --share 1/2

Both teachers at 512 pixels cost more than a step of the student on the same picture, so their answers are kept, sparse,
and each picture is used again: mirrored, with other colours, a window of it at another scale. The answers move with it.
Two photos are blended before the teachers see them.

A shard is a file of SHARD pictures: JPEG bytes, what `data.Pictures` says of them, and per teacher the scores from
LEAST on.
"""

import random
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import PhotoStore, Pictures, Split, jitter_colour, training
from tarsier_recipe.detector.mixing import blended, mix
from tarsier_recipe.detector.teacher import OFFSETS, SIZE, both, brought, points, sparse

SHARD = 64
BATCH = 8  # pictures that the teachers see at a time
LEAST = 0.02  # score below which an answer is not kept
USED = 0.05  # and is not used: of answers below it, there are three times as many as of others, and they say little
QUALITY = 92  # of the JPEGs
WINDOW = 0.62  # least side of the part of a picture that is used, of its whole
OPEN = 6  # shards that a batch is drawn from


def draw(pictures, teachers, mosaic_rng, mixing, blend):
    """One shard as a dict of arrays."""
    rows = {k: [] for k in ("jpeg", "length", "labels", "count", "photos", "seams", "weight")}
    answers = [{k: [] for k in ("at", "name", "score", "n", "where", "box", "m")} for _ in teachers]
    for _ in range(SHARD // BATCH):
        rgb, labels, photos, seams = pictures.together(SIZE, [pictures.picture(SIZE, mosaic_rng) for _ in range(BATCH)])
        weight, _ = mix(BATCH, blend, 1.0, mixing)
        rgb = blended(rgb, weight)
        both_say = [t(rgb) for t in teachers]
        for i in range(BATCH):
            ok, data = cv2.imencode(
                ".jpg", rgb[i].permute(1, 2, 0).numpy()[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
            )
            assert ok
            rows["jpeg"].append(data)
            rows["length"].append(len(data))
            own = labels[i][labels[i][:, 5] > 0]
            rows["labels"].append(own.numpy())
            rows["count"].append(len(own))
            for kept, (scores, boxes) in zip(answers, both_say):
                (at, name, score), (where, box) = sparse(scores[i], boxes[i], LEAST)
                for k, v in (
                    ("at", at.short()),
                    ("name", name.byte()),
                    ("score", score.half()),
                    ("where", where.short()),
                    ("box", box.half()),
                ):
                    kept[k].append(v.numpy())
                kept["n"].append(len(at))
                kept["m"].append(len(where))
        rows["photos"].append(photos.numpy())
        rows["seams"].append(seams.numpy())
        rows["weight"].append(weight.numpy())
    joined = {k: np.concatenate(v) if k not in ("length", "count") else np.array(v) for k, v in rows.items()}
    for t, kept in enumerate(answers):
        joined |= {f"{k}_{t}": np.concatenate(v) if k not in ("n", "m") else np.array(v) for k, v in kept.items()}
    return joined


class Shard:
    """The pictures of one file."""

    def __init__(self, path):
        with np.load(path) as z:
            self.rows = {k: z[k] for k in z.files}
        ends = lambda k: np.concatenate([[0], np.cumsum(self.rows[k])])  # noqa: E731
        self.bytes, self.boxes = ends("length"), ends("count")
        self.teachers = [(ends(f"n_{t}"), ends(f"m_{t}")) for t in range(sum(k.startswith("n_") for k in self.rows))]

    def __len__(self):
        return len(self.rows["length"])

    def __getitem__(self, i):
        """RGB, labels [n,6], photos [4], seam [2], weight, and per teacher what `teacher.sparse` gives."""
        r = self.rows
        rgb = cv2.imdecode(r["jpeg"][self.bytes[i] : self.bytes[i + 1]], cv2.IMREAD_COLOR)[:, :, ::-1]
        tensor = lambda k, part: torch.from_numpy(r[k][part])  # noqa: E731
        answers = []
        for t, (n, m) in enumerate(self.teachers):
            n, m = slice(n[i], n[i + 1]), slice(m[i], m[i + 1])
            score = tensor(f"score_{t}", n).float()
            used = score >= USED
            at, where = tensor(f"at_{t}", n).long()[used], tensor(f"where_{t}", m).long()
            left = torch.isin(where, at)
            answers.append(
                (
                    (at, tensor(f"name_{t}", n).long()[used], score[used]),
                    (where[left], tensor(f"box_{t}", m).float()[left]),
                )
            )
        return (
            rgb,
            r["labels"][self.boxes[i] : self.boxes[i + 1]],
            r["photos"][i],
            r["seams"][i],
            float(r["weight"][i]),
            answers,
        )


class Again:
    """Makes of a picture of the pool one of the student's: another window of it, mirrored or not, in other colours."""

    def __init__(self, points):
        self.points = points  # [L,2] of each teacher

    def __call__(self, item, size, rng):
        rgb, labels, photos, seam, weight, answers = item
        side = SIZE * (1.0 if rng.random() < 0.4 else rng.uniform(WINDOW, 1.0))
        x, y = rng.uniform(0, SIZE - side), rng.uniform(0, SIZE - side)
        k, mirrored = size / side, rng.random() < 0.5
        scale, shift = np.array([-k if mirrored else k, k]), np.array([size + x * k if mirrored else -x * k, -y * k])
        part = cv2.warpAffine(
            halved_for(rgb, k),
            to_pixels(rgb, k, scale, shift),
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        part = jitter_colour(part, rng) if rng.random() < 0.7 else part
        scale, shift = torch.from_numpy(scale).float(), torch.from_numpy(shift).float()
        scores, boxes = brought(answers, self.points, size, scale, shift)
        labels = moved(labels, scale.numpy(), shift.numpy(), size)
        seam = seam * scale.numpy() + shift.numpy()
        if mirrored:  # quadrants are numbered left to right: what lies left of a seam is now right of it
            photos = photos[[1, 0, 3, 2]]
            if seam[0] <= 0:  # there was none
                photos, seam[0] = photos[[1, 0, 3, 2]], size
        return part, scores, boxes, labels, photos, seam, weight


def halved_for(rgb, k):
    """The picture, halved where a map that scales by `k` would otherwise alias."""
    return (
        cv2.resize(rgb, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA) if k < 0.6 else np.ascontiguousarray(rgb)
    )


def to_pixels(rgb, k, scale, shift):
    """The map [2,3] of `warpAffine`, between centres of pixels, for a picture that `halved_for` may have halved."""
    half = 2.0 if k < 0.6 else 1.0
    scaled = scale * half
    return np.array(
        [[scaled[0], 0, shift[0] + 0.5 * scaled[0] - 0.5], [0, scaled[1], shift[1] + 0.5 * scaled[1] - 0.5]], np.float32
    )


def moved(labels, scale, shift, size):
    """Labels [n,6] in the student's picture, those of which a quarter is left there."""
    out = labels.copy()
    corners = out[:, :4].reshape(-1, 2, 2) * scale + shift
    low, high = corners.min(1), corners.max(1)
    out[:, :4] = np.concatenate([low, high], 1).clip(0, size)
    seen = (out[:, 2:4] - out[:, :2]).prod(1)
    return out[(seen > 0.25 * (high - low).prod(1)) & (seen > 16)]


class Pool(torch.utils.data.IterableDataset):
    """An endless stream of batches from the shards in a folder, new ones too:
    uint8 [B,3,S,S], scores [B,L,80], boxes [B,L,4], labels [B,n,6], photos [B,4], seams [B,2], weight [B]."""

    def __init__(self, folder, batch, sizes, seed, rank=0):
        self.folder, self.batch, self.sizes, self.seed, self.rank = Path(folder), batch, sizes, seed, rank

    def shards(self, rng):
        while True:
            paths = sorted(self.folder.glob("*.npz"))
            if not paths:
                raise FileNotFoundError(f"{self.folder} has no pictures: run `pool`")
            rng.shuffle(paths)
            yield from paths[: max(1, len(paths) // 2)]

    def items(self, rng):
        """Pictures in random order, of OPEN shards at a time."""
        paths, opened = self.shards(rng), []
        while True:
            while len(opened) < OPEN:
                shard = Shard(next(paths))
                opened.append((shard, rng.sample(range(len(shard)), len(shard))))
            shard, left = rng.choice(opened)
            yield shard[left.pop()]
            opened = [o for o in opened if o[1]]

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        own = worker.id * 7919 if worker else 0
        sizes, rng = random.Random(self.seed + own), random.Random((self.seed + own) * 1009 + self.rank)
        again, items = Again([points(SIZE, offset) for offset in OFFSETS]), self.items(rng)
        while True:
            size = sizes.choice(self.sizes)
            rgb, scores, boxes, labels, photos, seams, weight = zip(
                *(again(next(items), size, rng) for _ in range(self.batch))
            )
            yield (
                torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2),
                torch.stack(scores),
                torch.stack(boxes),
                torch.nn.utils.rnn.pad_sequence(
                    [torch.from_numpy(x.astype(np.float32)) for x in labels], batch_first=True
                ),
                torch.from_numpy(np.stack(photos)),
                torch.from_numpy(np.stack(seams)).float(),
                torch.tensor(weight),
            )


def main():
    p = options.parser(__doc__, threads=1)
    p.add_argument("--pictures", type=int, default=50_000)
    p.add_argument("--share", default="0/1", help="which of how many processes this one is")
    p.add_argument("--mosaic", type=float, default=0.25)
    p.add_argument("--blend", type=float, default=0.3)
    a = options.parse(p)
    own, of = map(int, a.share.split("/"))
    folder = a.build.pool
    folder.mkdir(parents=True, exist_ok=True)
    split = Split(training(a.shared), COCO80)
    store = PhotoStore(split, a.shared / "data/images", a.build.photos)
    teachers, began, made = both(a.shared / "teachers"), time.time(), 0
    pictures = Pictures(split, store, BATCH, (SIZE,), a.mosaic, 0)
    for n in range(own, -(-a.pictures // SHARD), of):
        path = folder / f"{n:05}.npz"
        if path.exists():
            continue
        part = draw(pictures, teachers, random.Random(n), torch.Generator().manual_seed(n), a.blend)
        with open(path.with_suffix(".part"), "wb") as f:
            np.savez(f, **part)
        path.with_suffix(".part").replace(path)
        made += SHARD
        print(f"{n * SHARD + SHARD} of {a.pictures} pictures, {made / (time.time() - began):.1f}/s", flush=True)


if __name__ == "__main__":
    main()

"""Photos and boxes: reads COCO-format splits, keeps decoded photos in one mapped file, yields augmented training
pictures.

A training picture is either one photo (scaled, shifted, flipped) or a mosaic of four. Labels are federated: a photo
says in `exhaustive_categories` which names are annotated completely; only those are negatives where nothing is
labelled. A mosaic keeps track of which photo each location came from, so that the rule holds per location.
"""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from tarsier_recipe.detector.regions import isolated
from tarsier_recipe.shape import SHAPE

cv2.setNumThreads(0)
LONGEST = 480  # stored photos are shrunk to this; the data's own are no longer
DEPLOYED = SHAPE.size  # the runtime's picture: whole photos at this size are what the student must know
GREY = 114
LEAST_SCORE = 0.3  # other teachers' detections below it are not learnt
EVERYDAY = ("coco", "voc2012-sample", "openimages-dinesh", "cartucho-map")
SCENES = (
    *EVERYDAY,
    "osie",
    "houses",
    "indoor-kaggle",
    "doordetect",
    "traffic-hanoi",
    "amenity",
    "jetson-demo",
)  # with many kinds of things: drawn three times as often


def training(shared):
    """The COCO-format files of all training photos."""
    return [shared / "data/train.json", shared / "data/train_more.json"]


class Split:
    """One COCO-format file, or several of the same categories: photos, boxes of things, names.

    `names`: the 80 COCO names first (the teacher's order), then every other thing category that has boxes.
    `boxes[i]`: `[n,6]` x0 y0 x1 y1 in the JSON's pixels, index of the name, certainty: 1 for what people labelled.
    `masks[i]`: for the first of those boxes, one each, what the JSON has in `segmentation` (polygons or RLE) or
    nothing. `results`: what other teachers found (COCO-results JSON; see `add_results`). `stuff`: isolated regions
    of stuff are objects as well.
    """

    def __init__(self, json_path, coco_names, results=(), stuff=False):
        paths = [json_path] if isinstance(json_path, (str, Path)) else json_path
        parts = [json.load(open(path)) for path in paths]
        if any(part["categories"] != parts[0]["categories"] for part in parts):
            raise ValueError(f"{', '.join(map(str, paths))}: their categories differ")
        self.data = {"categories": parts[0]["categories"]} | {
            k: [x for part in parts for x in part[k]] for k in ("images", "annotations")
        }
        cats = {c["id"]: c for c in self.data["categories"]}
        others = sorted({c["name"] for c in cats.values() if (stuff or c["isthing"]) and not c.get("coco80")})
        self.names = list(coco_names) + others
        index = {n: i for i, n in enumerate(self.names)}
        self.images = self.data["images"]
        place = {im["id"]: i for i, im in enumerate(self.images)}
        boxes, self.masks = [[] for _ in self.images], [[] for _ in self.images]
        for a in self.data["annotations"]:
            c = cats[a["category_id"]]["name"]
            if a.get("iscrowd") or c not in index:
                continue
            if not cats[a["category_id"]]["isthing"] and a.get("segmentation"):
                i = place[a["image_id"]]
                boxes[i] += [
                    (*b, index[c], 1.0)
                    for b in isolated(a["segmentation"], self.images[i]["height"], self.images[i]["width"])
                ]
                self.masks[i] += [None] * (len(boxes[i]) - len(self.masks[i]))
                continue
            x, y, w, h = a["bbox"]
            if w > 1 and h > 1:
                boxes[place[a["image_id"]]].append((x, y, x + w, y + h, index[c], 1.0))
                self.masks[place[a["image_id"]]].append(a.get("segmentation"))
        for file in results:
            self.add_results(file, boxes, index, {k: c["name"] for k, c in cats.items()})
        self.boxes = [np.array(b, np.float32).reshape(-1, 6) for b in boxes]
        self.exhaustive = torch.zeros(len(self.images), len(self.names), dtype=torch.bool)
        for i, im in enumerate(self.images):
            for n in im.get("exhaustive_categories", []):
                if n in index:
                    self.exhaustive[i, index[n]] = True

    def add_results(self, file, boxes, index, name_of):
        """Appends a teacher's detections as labels whose certainty is their score.

        A list of objects as COCO's evaluation and detectron2 (so APE) write them: `image_id` or `image_name`;
        `category_name`, else `category_id`; `bbox` x y w h in pixels of the photo as the split knows it; `score`.
        Other fields are not read. What a name that is not the split's, or a photo that is not in it, is counted and
        said; a box that a label of its name covers already is left out.
        """
        place = {im["id"]: i for i, im in enumerate(self.images)}
        place.update({Path(im["file_name"]).name: i for i, im in enumerate(self.images)})
        added = known = strange_photo = strange_name = 0
        for n, r in enumerate(json.load(open(file))):
            try:
                photo = Path(r["image_name"]).name if "image_name" in r else r["image_id"]
                name = r.get("category_name") or name_of.get(r["category_id"])
                (x, y, w, h), score = map(float, r["bbox"]), float(r["score"])
            except (KeyError, TypeError, ValueError) as e:
                raise ValueError(f"{file}: element {n} is no detection: {e!r}") from e
            i, c = place.get(photo), index.get(name)
            strange_photo, strange_name = strange_photo + (i is None), strange_name + (c is None)
            if i is None or c is None or w <= 1 or h <= 1 or score < LEAST_SCORE:
                continue
            covered = any(b[4] == c and iou((x, y, x + w, y + h), b) > 0.6 for b in boxes[i])
            known, added = known + covered, added + (not covered)
            if not covered:
                boxes[i].append((x, y, x + w, y + h, c, min(1.0, score)))
        print(
            f"{file}: {added} boxes added, {known} labelled already, {strange_photo} of other photos, {strange_name} "
            f"of other names",
            flush=True,
        )


def iou(a, b):
    """Intersection over union of two boxes x0 y0 x1 y1 ..."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, w) * max(0.0, h)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def stored(path):
    """A photo as RGB, no longer than LONGEST."""
    x = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if x is None:
        raise FileNotFoundError(f"{path} cannot be read")
    scale = min(1.0, LONGEST / max(x.shape[:2]))
    if scale < 1:
        x = cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(x, cv2.COLOR_BGR2RGB)


class PhotoStore:
    """Decoded photos in one mapped file, made at first use."""

    def __init__(self, split, image_root, cache):
        cache = Path(cache)
        index_path, data_path = cache.with_suffix(".index.json"), cache.with_suffix(".rgb")
        if not index_path.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            index, at = [], 0
            with open(data_path, "wb") as f, ThreadPoolExecutor() as pool:
                for first in range(0, len(split.images), 256):
                    some = split.images[first : first + 256]
                    for im, x in zip(some, pool.map(lambda im: stored(Path(image_root) / im["file_name"]), some)):
                        # boxes are in the pixels of the JSON's width and height
                        index.append((at, x.shape[0], x.shape[1], x.shape[1] / im["width"], x.shape[0] / im["height"]))
                        f.write(x.tobytes())
                        at += x.size
                    print(f"storing photos {len(index)}/{len(split.images)}", flush=True)
            index_path.write_text(json.dumps(index))
        self.index = json.loads(index_path.read_text())
        self.map = np.memmap(data_path, np.uint8, "r")

    def __getitem__(self, i):
        at, h, w, sx, sy = self.index[i]
        return self.map[at : at + h * w * 3].reshape(h, w, 3), sx, sy


def colour_change(rng):
    """Brightness, contrast, saturation and tint, as one affine map of colours: a matrix [3,3] and an offset [3] in
    units of the picture's mean red."""
    m = np.eye(3) * rng.uniform(0.7, 1.3)
    k = rng.uniform(-0.25, 0.25)  # towards the mean brightness
    offset = np.full(3, k * m[0, 0])
    m *= 1 - k
    if rng.random() < 0.5:
        k = 1.0 if rng.random() < 0.06 else rng.uniform(-0.4, 0.5)  # towards grey
        m = (np.eye(3) * (1 - k) + k / 3) @ m
    if rng.random() < 0.4:
        tint = np.array([[rng.uniform(0.9, 1.1)] for _ in range(3)])
        m, offset = tint * m, tint[:, 0] * offset
    return m, offset


def jitter_colour(x, rng):
    """A picture with its colours changed; uint8 in, uint8 out."""
    m, offset = colour_change(rng)
    return cv2.transform(x, np.column_stack([m, offset * cv2.mean(x)[0]]).astype(np.float32))


def halvings(m, width):
    """How often to halve a photo before it is drawn with the map `m`, lest it alias: until bilinear sampling uses
    every pixel."""
    times, side = 0, abs(m[0, 0]) * width
    while side < 0.6 * width:
        width, times = width // 2, times + 1
    return times


def halved(photo):
    """Half as large, each pixel the mean of four."""
    return cv2.resize(photo, (photo.shape[1] // 2, photo.shape[0] // 2), interpolation=cv2.INTER_AREA)


class Pictures(torch.utils.data.IterableDataset):
    """An endless stream of batches: uint8 [B,3,S,S], boxes [B,n,6] padded with zeros, photo of each quadrant [B,4],
    seam [B,2].

    Processes of one training (`rank`) draw different pictures of the same sizes, so that none waits for another; so
    do the worker processes that a DataLoader splits one stream over.
    """

    def __init__(self, split, store, batch, sizes, mosaic, seed, rank=0):
        self.split, self.store, self.batch, self.sizes, self.mosaic, self.seed, self.rank = (
            split,
            store,
            batch,
            sizes,
            mosaic,
            seed,
            rank,
        )
        self.pool = [i for i, im in enumerate(split.images) for _ in range(3 if im["source"] in SCENES else 1)]

    def place(self, region, i, rng, longest):
        """Where photo `i` goes: its longer side scaled to between `longest[0]` and `longest[1]` pixels, shifted at
        random in its region.

        Returns the map [2,3] from the stored photo's pixels to the canvas, which of the photo's boxes remain
        visible, and these [n,6].
        """
        x0, y0, x1, y1 = region
        _, h, w, sx, sy = self.store.index[i]
        s = np.exp(rng.uniform(*np.log(longest))) / max(w, h)
        ax = s * np.exp(rng.uniform(-0.2, 0.2))  # mild change of aspect
        nw, nh = max(8, round(w * ax)), max(8, round(h * s))
        flip = rng.random() < 0.5
        # offset of the scaled photo relative to the region: anywhere if larger (crop), anywhere inside if smaller (pad)
        dx = rng.uniform(min(0, x1 - x0 - nw), max(0, x1 - x0 - nw))
        dy = rng.uniform(min(0, y1 - y0 - nh), max(0, y1 - y0 - nh))
        m = np.array([[nw / w, 0, x0 + dx], [0, nh / h, y0 + dy]], np.float32)
        if flip:
            m = np.array([[-nw / w, 0, x0 + dx + nw], [0, nh / h, y0 + dy]], np.float32)
        b = self.split.boxes[i]
        if not len(b):
            return m, np.zeros(0, int), np.zeros((0, 6))
        kx, ky = sx * nw / w, sy * nh / h
        bx = np.stack([b[:, 0] * kx, b[:, 2] * kx], 1)
        if flip:
            bx = nw - bx[:, ::-1]
        out = np.stack(
            [bx[:, 0] + x0 + dx, b[:, 1] * ky + y0 + dy, bx[:, 1] + x0 + dx, b[:, 3] * ky + y0 + dy, b[:, 4], b[:, 5]],
            1,
        )
        area = (out[:, 2] - out[:, 0]) * (out[:, 3] - out[:, 1])
        out[:, 0:4:2] = out[:, 0:4:2].clip(x0, x1)
        out[:, 1:4:2] = out[:, 1:4:2].clip(y0, y1)
        seen = (out[:, 2] - out[:, 0]) * (out[:, 3] - out[:, 1])
        kept = np.flatnonzero((seen > 0.25 * area) & (seen > 16))
        return m, kept, out[kept]

    def paste(self, canvas, region, i, rng, longest, boxes_out):
        """Draws photo `i` where `place` puts it and appends its visible boxes.

        Returns which of the photo's boxes those are, and the map [2,3] from the photo's JSON pixels to the canvas.
        """
        x0, y0, x1, y1 = region
        m, kept, boxes = self.place(region, i, rng, longest)
        photo, sx, sy = self.store[i]
        json_to_canvas = m * np.array([sx, sy, 1], np.float32)
        h, w = photo.shape[:2]
        for _ in range(halvings(m, w)):
            photo = halved(photo)
        shift = m.copy()
        shift[0, 0] *= w / photo.shape[1]
        shift[1, 1] *= h / photo.shape[0]
        shift[:, 2] -= (x0, y0)
        cv2.warpAffine(
            photo,
            shift,
            (x1 - x0, y1 - y0),
            dst=canvas[y0:y1, x0:x1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        if len(kept):
            boxes_out.append(boxes)
        return kept, json_to_canvas

    def layout(self, size, rng):
        """Of one picture: [(region, photo, longest side in pixels)], one of a whole photo or four of a mosaic; the
        photo of each quadrant; where these meet."""
        if rng.random() < self.mosaic:
            cx, cy = (int(size * rng.uniform(0.3, 0.7)) for _ in range(2))
            quads = [(0, 0, cx, cy), (cx, 0, size, cy), (0, cy, cx, size), (cx, cy, size, size)]
            photos = [rng.choice(self.pool) for _ in quads]
            sides = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in quads]
            return [(q, i, (side, 2.2 * side)) for q, i, side in zip(quads, photos, sides)], photos, (cx, cy)
        # from the whole photo, small, to a part of it as large as the runtime sees it, and a little larger
        photo = rng.choice(self.pool)
        return [((0, 0, size, size), photo, (0.8 * size, 1.3 * max(size, DEPLOYED)))], [photo] * 4, (size, size)

    def picture(self, size, rng):
        canvas = np.full((size, size, 3), GREY, np.uint8)
        boxes = []
        parts, photos, seam = self.layout(size, rng)
        for region, i, longest in parts:
            self.paste(canvas, region, i, rng, longest, boxes)
        boxes = np.concatenate(boxes) if boxes else np.zeros((0, 6))
        x = jitter_colour(canvas, rng) if rng.random() < 0.8 else canvas
        return x, boxes.astype(np.float32), photos, seam

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        own = worker.id * 7919 if worker else 0
        sizes, rng = random.Random(self.seed + own), random.Random((self.seed + own) * 1009 + self.rank)
        while True:
            size = sizes.choice(self.sizes)
            yield self.together(size, [self.picture(size, rng) for _ in range(self.batch)])

    def together(self, size, items):
        """What `picture` made, as a batch."""
        return (
            torch.from_numpy(np.stack([i[0] for i in items])).permute(0, 3, 1, 2),
            torch.nn.utils.rnn.pad_sequence([torch.from_numpy(i[1]) for i in items], batch_first=True),
            torch.tensor([i[2] for i in items]),
            torch.tensor([i[3] for i in items]),
        )


def letterbox(photo, size):
    """The runtime's geometry: aspect kept, centred, grey around. Returns picture, scale, left, top."""
    h, w = photo.shape[:2]
    s = min(size / w, size / h)
    nw, nh = max(1, round(w * s)), max(1, round(h * s))
    out = np.full((size, size, 3), GREY, np.uint8)
    left, top = (size - nw) // 2, (size - nh) // 2
    out[top : top + nh, left : left + nw] = cv2.resize(
        photo, (nw, nh), interpolation=cv2.INTER_AREA if s < 1 else cv2.INTER_LINEAR
    )
    return out, s, left, top

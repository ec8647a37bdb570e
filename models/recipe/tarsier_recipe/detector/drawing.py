"""Training pictures drawn on the GPU that learns from them.

A GPU learns from more pictures than its machine's cores draw, pickle and copy. So all photos lie in its memory, as
they are and halved once and twice; the cores only say which photo goes where and how its colours change (`Plans`,
the same draws as `data.Pictures`), and `Album.draw` does it: bilinear sampling of the level that `data.halvings`
names.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from tarsier_recipe.detector.data import GREY, Pictures, colour_change, halved, halvings

LEVELS = 3  # the photo, its half, its quarter
MOST_LABELS = 64  # of a picture; of more, some are left out at random
CHUNK = 1 << 26  # pixels packed at a time


class Album:
    """All photos of a store and their halves in a device's memory: `pixels` [P] of int32, red in the lowest byte, then
    green, blue.

    `places[i][level]` = (first pixel, width, height).
    """

    def __init__(self, store):
        self.store, self.places, self.total = store, [], 0
        for _, h, w, _, _ in store.index:
            levels = []
            for k in range(LEVELS):
                levels.append((self.total, w >> k, h >> k))
                self.total += (w >> k) * (h >> k)
            self.places.append(levels)

    def load(self, device):
        """Fills `pixels`. Apart from the constructor because processes that only plan need none."""
        flat = np.empty((self.total, 3), np.uint8)

        def fill(i):
            photo = self.store[i][0]
            for k, (at, w, h) in enumerate(self.places[i]):
                photo = halved(photo) if k else photo
                flat[at : at + w * h] = photo.reshape(-1, 3)

        with ThreadPoolExecutor() as pool:
            list(pool.map(fill, range(len(self.places))))
        self.pixels = torch.empty(self.total, dtype=torch.int32, device=device)
        for at in range(0, self.total, CHUNK):
            part = torch.from_numpy(flat[at : at + CHUNK]).to(device).int()
            self.pixels[at : at + CHUNK] = part[:, 0] | part[:, 1] << 8 | part[:, 2] << 16
        self.painter = torch.compile(draw, dynamic=True) if self.pixels.is_cuda else draw
        return self

    def draw(self, size, source, sampling, colour, seams):
        """A plan -> uint8 [B,3,size,size]."""
        return self.painter(self.pixels, torch.arange(size, device=seams.device), source, sampling, colour, seams)


def draw(pixels, at, source, sampling, colour, seams):
    """`pixels` [P]; `at` [S] the coordinates of rows and columns; `source` [B,4,3] first pixel, width, height of the
    level in each quadrant; `sampling` [B,4,4] a, b, c, d: column a*x+b and row c*y+d of it; `colour` [B,3,4] a map
    of colours, its last column in units of the mean red; `seams` [B,2] where the quadrants meet -> uint8 [B,3,S,S]."""
    right, below = (at >= seams[:, :1])[:, None, :], (at >= seams[:, 1:])[:, :, None]

    def local(t):
        """[B,4] -> [B,S,S]"""
        t = t[:, :, None, None]
        return torch.where(below, torch.where(right, t[:, 3], t[:, 2]), torch.where(right, t[:, 1], t[:, 0]))

    first, width, height = (local(source[..., k]) for k in range(3))
    a, b, c, d = (local(sampling[..., k]) for k in range(4))
    u, v = a * at[None, None, :] + b, c * at[None, :, None] + d
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    x, y = torch.minimum(u.clamp(min=0).floor(), width - 2.0), torch.minimum(v.clamp(min=0).floor(), height - 2.0)
    fx, fy = u - x, v - y
    where = first + y.long() * width + x.long()
    where = torch.where(inside, where, 0)
    top_left, top_right, low_left, low_right = (
        pixels[where],
        pixels[where + 1],
        pixels[where + width * inside],
        pixels[where + (width + 1) * inside],
    )
    channels = []
    for shift in (0, 8, 16):
        tl, tr, ll, lr = ((p >> shift & 255).float() for p in (top_left, top_right, low_left, low_right))
        top, low = tl + (tr - tl) * fx, ll + (lr - ll) * fx
        channels.append(torch.where(inside, top + (low - top) * fy, float(GREY)))
    rgb = torch.stack(channels, 1)
    mean = rgb[:, 0].mean((1, 2))
    changed = torch.einsum("bij,bjhw->bihw", colour[..., :3], rgb) + (colour[..., 3] * mean[:, None])[..., None, None]
    return changed.clamp(0, 255).round().to(torch.uint8)


class Plans(Pictures):
    """An endless stream of batches: size, then what `Album.draw` takes, then boxes [B,MOST_LABELS,6], photo of each
    quadrant [B,4]."""

    def __init__(self, album, split, batch, sizes, mosaic, seed, rank=0):
        super().__init__(split, album.store, batch, sizes, mosaic, seed, rank)
        self.places = album.places

    def picture(self, size, rng):
        parts, photos, seam = self.layout(size, rng)
        source, sampling, boxes = (
            np.zeros((4, 3), np.int64),
            np.zeros((4, 4), np.float32),
            np.zeros((MOST_LABELS, 6), np.float32),
        )
        labels = []
        for k, (region, i, longest) in enumerate(parts):
            m, _, visible = self.place(region, i, rng, longest)
            labels.append(visible)
            level = min(LEVELS - 1, halvings(m, self.store.index[i][2]))
            source[k], (_, w, h) = self.places[i][level], self.places[i][0]
            sx, sy = source[k, 1] / w, source[k, 2] / h  # pixels of the level for one of the photo
            sampling[k] = sx / m[0, 0], -sx * m[0, 2] / m[0, 0], sy / m[1, 1], -sy * m[1, 2] / m[1, 1]
        labels = np.concatenate(labels)
        if len(labels) > MOST_LABELS:
            labels = labels[rng.sample(range(len(labels)), MOST_LABELS)]
        boxes[: len(labels)] = labels
        m, offset = colour_change(rng) if rng.random() < 0.8 else (np.eye(3), np.zeros(3))
        return (
            source,
            sampling,
            np.column_stack([m, offset]).astype(np.float32),
            np.array(seam),
            boxes,
            np.array(photos),
        )

    def together(self, size, items):
        return size, *(torch.from_numpy(np.stack(t)) for t in zip(*items))

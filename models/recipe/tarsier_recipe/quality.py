"""How well pixels are named: mean IoU over names, and what it is made of."""

import numpy as np


def label_map(cover, least=0.5):
    """Index of the name that covers each cell most, [h,w]; -1 where none covers at least `least`. `cover` [C,h,w] in
    0..1."""
    return np.where(cover.max(0) >= least, cover.argmax(0), -1)


class Confusion:
    """Counts of pixels by true and said name; the last row and column are `no name`."""

    def __init__(self, names):
        self.names, self.counts = names, np.zeros((names + 1, names + 1), np.int64)

    def add(self, truth, said, counted):
        """Index maps [h,w], -1 for no name; only pixels that are `counted` count."""
        t, s = truth[counted] % (self.names + 1), said[counted] % (self.names + 1)
        self.counts += np.bincount(t * (self.names + 1) + s, minlength=self.counts.size).reshape(self.counts.shape)

    def iou(self):
        """IoU of every name, NaN where the truth has none of it."""
        hit = np.diag(self.counts)[:-1]
        there, said = self.counts.sum(1)[:-1], self.counts.sum(0)[:-1]
        return np.where(there > 0, hit / np.maximum(1, there + said - hit), np.nan)

    def summary(self):
        """mIoU over the names that are there, IoU over all pixels together, and the share of named pixels that are
        named right."""
        hit, there, said = np.diag(self.counts)[:-1].sum(), self.counts[:-1].sum(), self.counts[:, :-1].sum()
        return {
            "mIoU": float(np.nanmean(self.iou())),
            "IoU": float(hit / max(1, there + said - hit)),
            "accuracy": float(hit / max(1, there)),
        }


class Panoptic:
    """Panoptic quality of segments: each is (name, is it a thing, mask [h,w] of bool)."""

    def __init__(self):
        self.kinds, self.rows = {}, {}  # name -> thing; name -> [IoU of matches, matches, false, missed]

    def add(self, truth, said, void):
        """Segments of one photo; what is said mostly where nothing is labelled (`void`) counts neither way."""
        for name, thing, _ in truth:
            self.kinds[name] = thing
            self.rows.setdefault(name, [0.0, 0, 0, 0])
        free = list(truth)
        for name, _, mask in said:
            area = mask.sum()
            if not area:
                continue
            row, match = self.rows.setdefault(name, [0.0, 0, 0, 0]), None
            for n, (other, _, real) in enumerate(free):
                if other == name:
                    both = (mask & real).sum()
                    iou = both / (area + real.sum() - both - (mask & void).sum())
                    if iou > 0.5:
                        match = n, iou
            if match:
                del free[match[0]]
                row[0] += match[1]
                row[1] += 1
            elif (mask & void).sum() <= 0.5 * area:
                row[2] += 1
        for name, _, _ in free:
            self.rows[name][3] += 1

    def summary(self):
        """PQ, in percent, over names: of all, of things and of stuff."""
        pq = {n: r[0] / (r[1] + r[2] / 2 + r[3] / 2) for n, r in self.rows.items() if r[1] + r[3]}
        mean = lambda names: round(100 * sum(pq[n] for n in names) / len(names), 2) if names else None  # noqa: E731
        return {
            "PQ": mean(list(pq)),
            "PQ, things": mean([n for n in pq if self.kinds[n]]),
            "PQ, stuff": mean([n for n in pq if not self.kinds[n]]),
        }

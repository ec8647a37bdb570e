"""How well pixels are named: mean IoU over names, and what it is made of."""

import numpy as np


def label_map(cover, least=0.5):
    """Index of the name that covers each cell most, [h,w]; -1 where none covers at least `least`. `cover` [C,h,w] in 0..1."""
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
        """mIoU over the names that are there, IoU over all pixels together, and the share of named pixels that are named right."""
        hit, there, said = np.diag(self.counts)[:-1].sum(), self.counts[:-1].sum(), self.counts[:, :-1].sum()
        return {"mIoU": float(np.nanmean(self.iou())), "IoU": float(hit / max(1, there + said - hit)), "accuracy": float(hit / max(1, there))}

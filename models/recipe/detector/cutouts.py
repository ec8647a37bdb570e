"""Copy-paste of instances (Ghiasi et al. 2021): things cut out along their masks appear in other photos, rare names as often as common ones.

The teacher answers on the picture as it then is, and a pasted thing is a label of its own, so federated labels stay true.
"""

import cv2
import numpy as np

from pixels import decode

LEAST_SIDE = 24  # pixels of the photo; smaller things are not worth cutting out
MOST = 3  # things per picture
COVERED = 0.7  # a label of which more is hidden is dropped


class CutOuts:
    """The instances of a split that have masks of their own."""

    def __init__(self, split):
        self.split, self.by_name = split, {}
        for i, (boxes, masks) in enumerate(zip(split.boxes, split.masks)):
            if split.images[i]["source"] in ("ccp", "human-seg"):  # one mask around everything of a kind
                continue
            for k, mask in enumerate(masks):
                if mask and min(boxes[k, 2] - boxes[k, 0], boxes[k, 3] - boxes[k, 1]) >= LEAST_SIDE:
                    self.by_name.setdefault(int(boxes[k, 4]), []).append((i, k))
        self.all = [x for some in self.by_name.values() for x in some]

    def cut(self, i, k, store):
        """RGB [h,w,3] and alpha [h,w] of 0..255, at the size in which the photo is stored."""
        image, (photo, sx, sy) = self.split.images[i], store[i]
        x0, y0, x1, y1 = self.split.boxes[i][k, :4] * [sx, sy, sx, sy]
        x0, y0, x1, y1 = max(0, int(x0)), max(0, int(y0)), min(photo.shape[1], int(np.ceil(x1))), min(photo.shape[0], int(np.ceil(y1)))
        whole = decode(self.split.masks[i][k], image["height"], image["width"]) * 255
        alpha = cv2.resize(whole, photo.shape[1::-1], interpolation=cv2.INTER_AREA)[y0:y1, x0:x1]
        return photo[y0:y1, x0:x1], alpha

    def paste(self, canvas, boxes, store, rng):
        """Pastes one to MOST things into `canvas`; returns the labels [n,6] that are then true."""
        size = canvas.shape[0]
        for _ in range(rng.randint(1, MOST)):
            i, k = rng.choice(self.by_name[rng.choice(list(self.by_name))] if rng.random() < 0.5 else self.all)
            rgb, alpha = self.cut(i, k, store)
            if not alpha.any():
                continue
            h, w = alpha.shape
            s = np.exp(rng.uniform(np.log(20), np.log(0.6 * size))) / max(h, w)
            s = min(s, 1.5)  # enlarged further it would be a blur
            nw, nh = max(4, round(w * s)), max(4, round(h * s))
            how = cv2.INTER_AREA if s < 1 else cv2.INTER_LINEAR
            rgb, alpha = cv2.resize(rgb, (nw, nh), interpolation=how), cv2.resize(alpha, (nw, nh), interpolation=how)
            if rng.random() < 0.5:
                rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
            x, y = rng.randint(0, max(0, size - nw)), rng.randint(0, max(0, size - nh))
            soft = cv2.GaussianBlur(alpha, (3, 3), 0)[:, :, None] / 255.0
            view = canvas[y : y + nh, x : x + nw]
            soft = soft[: view.shape[0], : view.shape[1]]
            view[:] = soft * rgb[: view.shape[0], : view.shape[1]] + (1 - soft) * view
            hidden = np.zeros((size, size), np.uint8)
            hidden[y : y + nh, x : x + nw] = alpha[: view.shape[0], : view.shape[1]] > 127
            ys, xs = np.nonzero(hidden)
            if not len(xs):
                continue
            kept = [b for b in boxes if hidden[int(b[1]) : int(np.ceil(b[3])), int(b[0]) : int(np.ceil(b[2]))].mean() <= COVERED]
            own = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, self.split.boxes[i][k, 4], 1.0]
            boxes = np.array([*kept, own], np.float64)
        return boxes

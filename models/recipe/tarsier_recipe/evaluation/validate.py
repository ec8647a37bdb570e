"""How far a training is: what its weights do on validation photos, in floats, without an export.

    python -m tarsier_recipe validate ../build/detector/final.pt other.pt ...  # --teacher: the dense teacher as well

On the COCO photos, letterboxed as the runtime does: AP and AP50 of the 80 names; the score loss against the
teachers' answers (drawn at 512 pixels), and against the labels alone (at labelled locations the IoU of the predicted
box, 0 elsewhere). Together these tell learning from learning by heart: while the first loss falls, the student still
learns to see what the teacher sees. Nothing is trained on these photos. With --teacher, also what each has with the
teacher's boxes, or scores, in place of its own: which of them it lacks.
"""

import contextlib
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import DEPLOYED, PhotoStore, Split, letterbox
from tarsier_recipe.detector.loss import assigned, boxes_from_geometry, by_location, giou, grid, quality_focal
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.detector.student import STRIDES, Student
from tarsier_recipe.detector.teacher import SIZE, both, together
from tarsier_recipe.evaluation.boxes import NMS_IOU, coco_truth, in_photo, nms
from tarsier_recipe.precision import autocast, whole

BATCH = 32  # pictures at a time
PROPOSALS, SCORES, MOST = (
    300,
    1000,
    100,
)  # the best so many of a photo; detections of all its names that count, where `evaluate` counts so many of each


def selected(boxes, scores):
    """Boxes [n,4] and scores [n,80] -> boxes [m,4], names [m], scores [m] of the MOST best that NMS leaves, each
    name by itself."""
    best = np.argsort(-scores.ravel(), kind="stable")[:SCORES]
    at, name = np.divmod(best, scores.shape[1])
    apart = boxes[at] + 10_000 * name[:, None]  # boxes of two names never meet
    left = nms(apart, scores.ravel()[best], NMS_IOU)[:MOST]
    return boxes[at[left]], name[left], scores.ravel()[best[left]]


def average_precision(truth, ids, found):
    """COCO's AP and AP50, in percent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes(found), "bbox")
        e.params.imgIds, e.params.catIds = sorted(im["id"] for im in truth["images"]), sorted(ids.values())
        e.evaluate(), e.accumulate(), e.summarize()
    return 100 * e.stats[0], 100 * e.stats[1]


class Photos:
    """Letterboxed pictures of the split's COCO photos in batches, their labels of the 80 names, and where the photos
    are in them."""

    def __init__(self, shared, build, size=DEPLOYED):
        self.size = size
        self.split = Split(shared / "data/val.json", COCO80)
        self.store = PhotoStore(self.split, shared / "data/images", build.photos_of("val"))
        self.chosen = [i for i, im in enumerate(self.split.images) if im["source"] == "coco"]

    def __iter__(self):
        """uint8 [B,3,S,S], the same at the teachers' size, labels [B,n,6] padded with zeros, and for each picture
        (id, (scale, left, top) of the letterbox, the photo as it is stored, and the JSON's pixels in those of that
        photo)."""
        for first in range(0, len(self.chosen), BATCH):
            pictures, large, labels, places = [], [], [], []
            for i in self.chosen[first : first + BATCH]:
                photo, sx, sy = self.store[i]
                x, s, left, top = letterbox(photo, self.size)
                b = self.split.boxes[i].copy()
                b[:, 0:4:2], b[:, 1:4:2] = b[:, 0:4:2] * sx * s + left, b[:, 1:4:2] * sy * s + top
                labels.append(torch.from_numpy(b[b[:, 4] < len(COCO80)]))
                pictures.append(x)
                large.append(letterbox(photo, SIZE)[0])
                places.append((self.split.images[i]["id"], (s, left, top), photo, [sx, sy, sx, sy]))
            small, large = (torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2) for p in (pictures, large))
            yield small, large, torch.nn.utils.rnn.pad_sequence(labels, batch_first=True), places


class Answers:
    """What a student says of pictures, and how far that is from the teacher and from the labels."""

    def __init__(self, path, rows, size, device):
        self.net = Student().to(device, memory_format=torch.channels_last).eval()
        self.net.load_state_dict(whole(torch.load(path, weights_only=True, map_location=device)))
        self.rows, self.grid, self.device = rows.to(device), grid(size, STRIDES, device), device
        self.losses, self.seen = np.zeros(2), 0

    @torch.no_grad()
    def __call__(self, rgb, labels, answers):
        """Scores [B,L,80], boxes [B,L,4], objectness [B,L] of a batch; its losses are added up."""
        with autocast(self.device):
            e, g = (
                by_location(maps)
                for maps in zip(*self.net(rgb.float().div(255).contiguous(memory_format=torch.channels_last)))
            )
        boxes, logits = boxes_from_geometry(g.clamp(0, 8), *self.grid), self.net.logits(e, self.rows)
        label = assigned(labels, *self.grid)
        told = labels.gather(1, label.clamp(min=0)[..., None].expand(-1, -1, 6))
        quality = (giou(boxes, told[..., :4])[1] * (label >= 0)).clamp(min=0)[..., None]
        real = torch.zeros_like(answers).scatter_(2, told[..., 4:5].long(), quality)
        self.losses += [
            float(quality_focal(logits, t, None) / t.amax(-1).sum().clamp(min=1)) * len(rgb) for t in (answers, real)
        ]
        self.seen += len(rgb)
        return logits.sigmoid(), boxes, g[..., 4]

    def line(self):
        return "  ".join(f"{v:.4f}" for v in self.losses / self.seen)


def detections(scores, boxes, objectness, place, ids):
    """COCO-results of one picture: what NMS leaves of its most object-like locations."""
    best = objectness.topk(PROPOSALS).indices
    image, placed, photo, pixels = place
    boxes = in_photo(boxes[best].cpu().numpy().astype(np.float64), placed, photo) / pixels
    for b, name, score in zip(*selected(boxes, scores[best].float().cpu().numpy())):
        yield {
            "image_id": image,
            "category_id": ids[COCO80[name]],
            "bbox": [*b[:2], *(b[2:] - b[:2])],
            "score": float(score),
        }


def main():
    p = options.parser(__doc__, "device")
    p.add_argument("weights", type=Path, nargs="*")
    p.add_argument("--teacher", action="store_true")
    p.add_argument("--sizes", type=int, nargs="+", default=[DEPLOYED], help="of the student's picture")
    a = options.parse(p)
    truth, ids = coco_truth(a.shared / "data/val.json", "coco", None)
    rows = PromptBank(a.build.prompts, COCO80).names()
    teachers = both(a.shared / "teachers", a.device)
    print("    AP   AP50   loss against the teacher, the labels")
    for size in a.sizes:
        students = {path: Answers(path, rows, size, a.device) for path in a.weights}
        found = defaultdict(list)
        for rgb, large, labels, places in Photos(a.shared, a.build, size):
            rgb, labels = rgb.to(a.device), labels.to(a.device)
            answers, t_boxes = together(teachers, large.to(a.device), size)
            outputs = {k: student(rgb, labels, answers) for k, student in students.items()}
            if a.teacher:
                for k, (scores, boxes, objectness) in list(outputs.items()):
                    outputs[f"{k} with the teacher's boxes"] = scores, t_boxes, objectness
                    outputs[f"{k} with the teacher's scores"] = answers, boxes, answers.amax(-1)
                outputs["teacher"] = answers, t_boxes, answers.amax(-1)
            for k, output in outputs.items():
                found[k] += [d for *maps, place in zip(*output, places) for d in detections(*maps, place, ids)]
        for k, some in found.items():
            ap, ap50 = average_precision(truth, ids, some)
            loss = students[k].line() if k in students else 14 * " "
            print(f"{ap:6.2f} {ap50:6.2f}   {loss}   {k} at {size} pixels", flush=True)


if __name__ == "__main__":
    main()

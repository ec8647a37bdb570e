"""How far a training is: what its weights do on validation photos, in floats, without an export.

    python validate.py ../../build/detector/final.pt other.pt ...        # --teacher: the dense teacher as well

On the COCO photos, letterboxed as the runtime does: AP and AP50 of the 80 names; the score loss against the teacher's answers, and against
the labels alone (at labelled locations the IoU of the predicted box, 0 elsewhere). Together these tell learning from learning by heart: while the
first loss falls, the student still learns to see what the teacher sees. Nothing is trained on these photos.
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import torch

from data import DEPLOYED, PhotoStore, Split, letterbox
from loss import assigned, boxes_from_geometry, by_location, giou, grid, quality_focal
from precision import autocast, whole
from prompts import PromptBank
from student import STRIDES, Student
from teacher import COCO80, Teacher

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from evaluate import NMS_IOU, coco_truth, in_photo, nms  # noqa: E402

PROPOSALS, SCORES, MOST = 300, 1000, 100  # the best so many of a photo; detections of all its names that count, where evaluate.py counts so many of each


def selected(boxes, scores):
    """Boxes [n,4] and scores [n,80] -> boxes [m,4], names [m], scores [m] of the MOST best that NMS leaves, each name by itself."""
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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights", type=Path, nargs="*")
    p.add_argument("--teacher", action="store_true")
    p.add_argument("--shared", default=HERE.parents[3] / "shared", type=Path)
    p.add_argument("--build", default=HERE.parents[1] / "build", type=Path)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    split = Split(a.shared / "data/val.json", COCO80)
    store = PhotoStore(split, a.shared / "data/images", a.build / "detector/val_photos")
    truth, ids = coco_truth(a.shared / "data/val.json", "coco", None)
    chosen = [i for i, im in enumerate(split.images) if im["source"] == "coco"]
    rows = PromptBank(a.build / "text/prompts.npz", COCO80).names().to(a.device)
    teacher = Teacher(a.shared / "teachers", a.device)
    points, steps = grid(DEPLOYED, STRIDES, a.device)
    students = {}
    for path in a.weights:
        students[path] = Student().to(a.device, memory_format=torch.channels_last).eval()
        students[path].load_state_dict(whole(torch.load(path, weights_only=True, map_location=a.device)))
    found, losses, seen = {k: [] for k in [*students, *["teacher"] * a.teacher]}, {k: np.zeros(2) for k in students}, 0
    for first in range(0, len(chosen), 32):
        some, pictures, labels = chosen[first : first + 32], [], []
        for i in some:
            photo, sx, sy = store[i]
            x, s, left, top = letterbox(photo, DEPLOYED)
            b = split.boxes[i].copy()
            b[:, 0:4:2], b[:, 1:4:2] = b[:, 0:4:2] * sx * s + left, b[:, 1:4:2] * sy * s + top
            labels.append(torch.from_numpy(b[b[:, 4] < len(COCO80)]))
            pictures.append((x, s, left, top))
        rgb = torch.from_numpy(np.stack([p[0] for p in pictures])).permute(0, 3, 1, 2).to(a.device)
        labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True).to(a.device)
        answers, t_boxes = teacher(rgb)
        label = assigned(labels, points, steps)
        told = labels.gather(1, label.clamp(min=0)[..., None].expand(-1, -1, 6))
        outputs = {"teacher": (answers, t_boxes, answers.amax(-1))} if a.teacher else {}
        for k, student in students.items():
            with torch.no_grad(), autocast(a.device):
                e, g = (by_location(maps) for maps in zip(*student(rgb.float().div(255).contiguous(memory_format=torch.channels_last))))
            boxes = boxes_from_geometry(g.clamp(0, 8), points, steps)
            logits = student.logits(e, rows).detach()
            real = torch.zeros_like(answers).scatter_(2, told[..., 4:5].long(), (giou(boxes, told[..., :4])[1] * (label >= 0)).clamp(min=0)[..., None])
            losses[k] += [float(quality_focal(logits, t, None) / t.amax(-1).sum().clamp(min=1)) * len(some) for t in (answers, real)]
            outputs[k] = logits.sigmoid(), boxes, g[..., 4]
        for k, (scores, boxes, objectness) in outputs.items():
            best = objectness.topk(PROPOSALS, dim=1).indices
            for n, i in enumerate(some):
                im, (_, s, left, top), (stored, sx, sy) = split.images[i], pictures[n], store[i]
                placed = in_photo(boxes[n, best[n]].cpu().numpy().astype(np.float64), (s, left, top), stored) / [sx, sy, sx, sy]
                for b, name, score in zip(*selected(placed, scores[n, best[n]].float().cpu().numpy())):
                    found[k].append({"image_id": im["id"], "category_id": ids[COCO80[name]], "bbox": [*b[:2], *(b[2:] - b[:2])], "score": float(score)})
        seen += len(some)
    print("    AP   AP50   loss against the teacher, the labels")
    for k, some in found.items():
        ap, ap50 = average_precision(truth, ids, some)
        print(f"{ap:6.2f} {ap50:6.2f}   " + ("  ".join(f"{v:.4f}" for v in losses[k] / seen) if k in losses else 14 * " ") + f"   {k}", flush=True)


if __name__ == "__main__":
    main()

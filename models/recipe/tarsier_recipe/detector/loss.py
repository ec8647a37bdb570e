"""What the student is asked for at every location: the teacher's answer, corrected where there is a label.

    target score [B,L,C]   teacher's sigmoid for the 80 COCO names, 0 for the others;
                           at labelled locations max(that, quality x certainty), quality = IoU of the predicted box, at
                           least QUALITY_FLOOR, certainty = 1, or the score where the label is another teacher's
    target box   [B,L,4]   the label's box at labelled locations, else the teacher's
    valid        [B,L,C]   COCO names: always (the teacher answers). Others: only where the photo lists them as
                           exhaustive, or at a labelled location
    rows of the bank       absent, somewhere, or nobody knows (`bank_loss`)

Loss = quality focal loss on scores and on objectness (the highest target of a location) + GIoU and L1 on boxes,
weighted by the target score.
"""

import functools

import torch
import torch.nn.functional as F

from tarsier_recipe.detector.bank import ABSENT, SOMEWHERE
from tarsier_recipe.detector.levels import responsible

QUALITY_FLOOR = 0.4
TEACHER_BOX_FLOOR = 0.1
OBJECT = 0.3  # target from which a location is on an object, for what is somewhere


def grid(size, strides, device=None):
    """Grid points [L,2] in pixels and stride [L] of every location, levels in order, row-major."""
    points, steps = [], []
    for s in strides:
        n = -(-size // s)
        y, x = torch.meshgrid(torch.arange(n, device=device), torch.arange(n, device=device), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * s)
        steps.append(torch.full((n * n,), float(s), device=device))
    return torch.cat(points), torch.cat(steps)


def by_location(maps):
    """Maps [B,c,h,w], one for each level -> [B,L,c]."""
    return torch.cat([m.float().flatten(2).transpose(1, 2) for m in maps], 1)


def boxes_from_geometry(geometry, points, steps):
    """[...,L,4] distances in strides -> boxes x0 y0 x1 y1 in pixels."""
    d = geometry[..., :4] * steps[:, None]
    return torch.cat([points - d[..., :2], points + d[..., 2:]], -1)


def area(wh):
    """[...,2] -> [...]. Not `prod`: its derivative makes a GPU wait."""
    return wh[..., 0] * wh[..., 1]


def giou(a, b):
    """Generalised IoU and IoU of paired boxes [...,4]."""
    lt, rb = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = area((rb - lt).clamp(min=0))
    union = area((a[..., 2:] - a[..., :2]).clamp(min=0)) + area((b[..., 2:] - b[..., :2]).clamp(min=0)) - inter
    hull = area((torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0))
    iou = inter / union.clamp(min=1e-6)
    return iou - (hull - union) / hull.clamp(min=1e-6), iou


def assigned(boxes, points, steps):
    """Labels [...,n,6] of pictures -> which of them each location learns, [...,L], or -1: near the box's centre, on
    the levels that fit its size. A row whose certainty is 0 is no label (padding)."""
    if not boxes.shape[-2]:
        return torch.full((*boxes.shape[:-2], len(points)), -1, dtype=torch.long, device=boxes.device)
    boxes = boxes.unsqueeze(-3)  # [...,1,n,6]
    wh = boxes[..., 2:4] - boxes[..., :2]
    side = area(wh).sqrt()
    centre = (boxes[..., :2] + boxes[..., 2:4]) / 2
    off = (points[:, None] - centre).abs()
    s = steps[:, None]
    fits = responsible(side, s, steps.min(), steps.max())
    near = (off < 1.25 * s[..., None]).all(-1) & (off <= wh / 2 + 0.5 * s[..., None]).all(-1)
    cost = torch.where(fits & near & (boxes[..., 5] > 0), area(wh), torch.inf)
    best, label = cost.min(-1)
    return torch.where(best < torch.inf, label, -1)


def assign(boxes, points, steps):
    """Labels [n,6] of one picture -> (location, label) pairs."""
    label = assigned(boxes, points, steps)
    at = torch.nonzero(label >= 0).flatten()
    return at, label[at]


def focal_terms(logit, target, weight):
    """Sum of |target - p|^2 * binary cross entropy, where weight (a mask, or None), and its derivative by the logits.

    Value and gradient are computed together and, on a CPU, in place: the loss is bound by memory.
    """
    p = logit.sigmoid()
    entropy = F.softplus(logit).addcmul_(logit, target, value=-1)
    off = p - target
    slope = entropy.mul(off)  # |off|^2 * entropy = slope * off
    # d/dlogit = 2 off p (1 - p) entropy + off^2 * off
    p.addcmul_(p, p, value=-1).mul_(slope).mul_(2)
    if weight is not None:
        off.mul_(weight)
        p.mul_(weight)
    value = torch.dot(slope.flatten(), off.flatten())
    off.pow_(3)  # the weight is 0 or 1
    return value, p.add_(off)


@functools.cache
def fused_focal_terms():
    """`focal_terms` as one kernel, for GPUs: fifteen passes over memory become two."""

    def terms(logit, target, weight):
        p = logit.sigmoid()
        off = p - target
        entropy = F.softplus(logit) - logit * target
        if weight is not None:
            off = off * weight
        return (entropy * off * off).sum(), 2 * off * p * (1 - p) * entropy + off**3

    return torch.compile(terms, dynamic=True)


class QualityFocal(torch.autograd.Function):
    """Quality focal loss, summed."""

    @staticmethod
    def forward(ctx, logit, target, weight):
        value, slope = (fused_focal_terms() if logit.is_cuda else focal_terms)(logit, target, weight)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, upstream):
        (slope,) = ctx.saved_tensors
        return slope * upstream, None, None


quality_focal = QualityFocal.apply


def asked_names(labels, photos, exhaustive):
    """Of the names, only those that a batch labels or lists as absent can be valid, beside the teacher's.

    `labels` [B,n,6], `photos` [B,4] of each quadrant, `exhaustive` [photos,C]. Returns the names' rows [A], the
    labels with columns of these in place of names, and which of them each quadrant's photo annotates completely,
    [B,4,A].
    """
    listed = exhaustive[photos]
    asked = listed.flatten(0, 1).any(0)
    asked[labels[..., 4][labels[..., 5] > 0].long()] = True
    asked[:80] = True
    labels = labels.clone()
    labels[..., 4] = (asked.cumsum(0) - 1)[labels[..., 4].long()].clamp(min=0)
    rows = torch.nonzero(asked).flatten()
    return rows, labels, listed[..., rows]


def bank_loss(embedding, student, rows, near, told, target, best):
    """Quality focal loss, summed, on rows of the bank [K,128], `near` [C,K] names, `told` [B,K] what each is to a
    picture (`bank`).

    What is absent is nowhere, except where the best target is a name near to it: there nobody knows. What is
    somewhere is at the location, of those with an object, that answers to it most; nobody knows about the others.
    """
    logits = student.logits(embedding, rows)
    unknown = near[target.argmax(-1)] & (best > TEACHER_BOX_FLOOR)[..., None]
    valid = ~unknown & (told == ABSENT)[:, None]
    at = logits.detach().masked_fill((best < OBJECT)[..., None], -torch.inf).argmax(1)  # [B,K]
    objectness = best.gather(1, at)
    there = (told == SOMEWHERE) & (objectness >= OBJECT)
    goal = torch.zeros_like(logits).scatter_(1, at[:, None], (objectness * there)[:, None])
    valid.scatter_(1, at[:, None], there[:, None] | valid.gather(1, at[:, None]))
    return quality_focal(logits, goal, valid)


def detection_loss(outputs, prompts, student, strides, size, teacher_out, labels, listed, seams, bank=None):
    """Loss terms as a dict. `prompts` [C,128], the first 80 are the teacher's names; `labels` [B,n,6], padded with
    zeros; `listed` [B,4,C]; `bank`: what `EmbeddingBank.draw` gives.

    Nothing here depends on how many labels there are: where a GPU works, it never has to wait for an answer.
    """
    embedding, geometry = (by_location(maps) for maps in zip(*outputs))
    logits = student.logits(embedding, prompts)
    points, steps = grid(size, strides, logits.device)
    boxes = boxes_from_geometry(geometry, points, steps)
    t_scores, t_boxes = teacher_out
    target = F.pad(t_scores, (0, len(prompts) - t_scores.shape[-1]))
    quadrant = (points[None, :, 0] >= seams[:, :1]).long() + 2 * (points[None, :, 1] >= seams[:, 1:]).long()
    valid = listed.gather(1, quadrant[..., None].expand(-1, -1, len(prompts)))
    valid[..., :80] = True
    label = assigned(labels, points, steps)
    if labels.shape[1]:
        labelled = label[..., None] >= 0
        told = labels.gather(1, label.clamp(min=0)[..., None].expand(-1, -1, 6))
        box_target = torch.where(labelled, told[..., :4], t_boxes)
        with torch.no_grad():
            quality = giou(boxes, told[..., :4])[1].clamp(min=QUALITY_FLOOR)[..., None] * told[..., 5:]
        name = told[..., 4:5].long()
        answered = target.gather(2, name)
        target.scatter_(2, name, torch.where(labelled, torch.maximum(answered, quality), answered))
        valid.scatter_(2, name, labelled | valid.gather(2, name))
    else:
        box_target = t_boxes
    best = target.max(-1).values
    norm = best.sum().clamp(min=1)
    weight = best * (best > TEACHER_BOX_FLOOR)
    l1 = ((boxes - box_target).abs() / steps[:, None]).mean(-1)
    losses = {} if bank is None else {"bank": bank_loss(embedding, student, *bank, target, best) / norm}
    return losses | {
        "score": 2.0 * quality_focal(logits, target, valid) / norm,  # its gradient was half of that of giou
        "object": quality_focal(geometry[..., 4], best, None) / norm,
        "giou": 2.0 * ((1 - giou(boxes, box_target)[0]) * weight).sum() / norm,
        "l1": 0.25 * (l1 * weight).sum() / norm,
    }

"""The dense teachers: NanoDet-Plus-m and PicoDet-S on the very picture the student sees (function matching), drawn
larger for them.

Labels on few photos teach slowly and are learnt by heart; the teachers answer at every location of every augmented
picture, also of photos that nobody labelled. Both are read from their ncnn files by `ncnn_torch.py` and
`picodet_torch.py` beside them; none of their weights enter the student.

The strides are the student's, its picture is smaller, so one location of the student stands for several of theirs:
`brought` takes the best of them, on the level that answers for a box of that size in the student's picture (`levels`).
"""

import importlib.util
import sys
import warnings

import torch

from tarsier_recipe.detector.levels import responsible
from tarsier_recipe.precision import autocast, has_bfloat16

try:
    import openvino
except ImportError:
    openvino = None

STRIDES = (8, 16, 32, 64)
SIZE = 512  # pixels of the teachers' picture
SAME = 0.5  # IoU from which two teachers' boxes are of one thing
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of red, green, blue


def points(size, offset, device="cpu"):
    """Where the locations of a square picture are, [L,2] in pixels, levels in order, row-major; `offset` of each in
    its cell, in strides."""
    axes = [torch.arange(-(-size // s), device=device) for s in STRIDES]
    return torch.cat(
        [
            torch.stack([t.flatten() for t in torch.meshgrid(a, a, indexing="xy")], 1) * float(s) + offset * s
            for a, s in zip(axes, STRIDES)
        ]
    )


def strides_of(size, device="cpu"):
    """The stride of each of these locations [L]."""
    return torch.cat([torch.full(((-(-size // s)) ** 2,), s, device=device) for s in STRIDES])


OFFSETS = (0.0, 0.5)  # of NanoDet-Plus's locations in their cells, and of PicoDet's


class Heads(torch.nn.Module):
    """The teacher's four head maps as a tuple, which is what a tracer takes."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return tuple(self.net(x)[0])


class Necks(Heads):
    """What NanoDet-Plus's heads read: 96 channels at strides 8 to 64."""

    BLOBS = ("1367", "1391", "1415", "1428")

    def forward(self, x):
        blobs = self.net(x)[1]
        return tuple(blobs[name] for name in self.BLOBS)


class Inference:
    """A network that only answers: normalised pictures [B,3,S,S] in the order of colours that it knows -> its maps.
    On a CPU with OpenVINO installed, through it: it is faster."""

    def __init__(self, net, bgr, device="cpu"):
        self.net, self.bgr = net.eval(), bgr
        self.device, self.compiled = torch.device(device), {}
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
        self.torch = openvino is None or self.device.type != "cpu"
        if self.torch:
            self.net = self.net.to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, rgb):
        """uint8 [B,3,S,S] -> maps."""
        x = (rgb.float() - self.mean) / self.std
        x = x.flip(1) if self.bgr else x
        if self.torch:
            with autocast(self.device):
                return self.net(x.contiguous(memory_format=torch.channels_last))
        if x.shape not in self.compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shapes are fixed here
                model = openvino.convert_model(self.net, example_input=torch.zeros_like(x))
            model.reshape(list(x.shape))
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16() else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            self.compiled[x.shape] = openvino.Core().compile_model(model, "CPU", options)
        answers = self.compiled[x.shape](x.contiguous().numpy())
        return [torch.from_numpy(answers[i]) for i in range(len(answers))]


class Teacher:
    """One detector: `__call__(rgb uint8 [B,3,S,S]) -> scores [B,L,80], boxes [B,L,4] in pixels`, L over strides 8 to
    64, row-major. `points` of a size: where the L locations are."""

    def __init__(self, net, bgr, offset, device="cpu"):
        self.heads, self.offset, self.device = Inference(Heads(net), bgr, device), offset, torch.device(device)
        self.bins = torch.arange(8.0, device=device)

    def points(self, size):
        """[L,2] in pixels of a square picture."""
        return points(size, self.offset, self.device)

    @torch.no_grad()
    def __call__(self, rgb):
        y = torch.cat([h.float().flatten(2).transpose(1, 2) for h in self.heads(rgb)], 1)
        steps = strides_of(rgb.shape[-1], self.device)
        d = (y[..., 80:].unflatten(-1, (4, 8)).softmax(-1) * self.bins).sum(-1) * steps[:, None]
        at = self.points(rgb.shape[-1])
        return y[..., :80].sigmoid(), torch.cat([at - d[..., :2], at + d[..., 2:]], -1)


def beside(folder, name):
    """The module `name` of the folder that has the teachers' files: not a package of ours."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    if spec is None or not (folder / f"{name}.py").exists():
        raise FileNotFoundError(f"{folder} has no {name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def nanodet_net(folder):
    return beside(folder, "ncnn_torch").NcnnDetector(
        f"{folder}/nanodet-plus-m_416.param", f"{folder}/nanodet-plus-m_416.bin"
    )


def nanodet(folder, device="cpu"):
    return Teacher(nanodet_net(folder), True, OFFSETS[0], device)


def neck(folder, device="cpu"):
    """Pictures -> NanoDet-Plus's features at strides 8 to 64, on the student's own grid."""
    return Inference(Necks(nanodet_net(folder)), True, device)


def picodet(folder, device="cpu"):
    beside(folder, "ncnn_torch")  # which the other imports
    return Teacher(beside(folder, "picodet_torch").load(str(folder)), False, OFFSETS[1], device)


def both(folder, device="cpu"):
    """The two teachers, in the order in which a pool keeps their answers."""
    return nanodet(folder, device), picodet(folder, device)


def sparse(scores, boxes, least):
    """One picture's answer [L,80], [L,4] without what is below `least`: (location, name, score) of each score left,
    and of each location that has one, (location, box)."""
    at, name = torch.nonzero(scores >= least, as_tuple=True)
    where = at.unique()
    return (at, name, scores[at, name]), (where, boxes[where])


def cells(xy, stride, size):
    """The student's location, on the level of `stride`, of points [...,2] in its pixels; -1 outside its picture of
    `size`."""
    first = sum((-(-size // s)) ** 2 for s in STRIDES if s < stride)
    side = -(-size // stride)
    c = (xy / stride).floor().long()
    inside = (c >= 0).all(-1) & (c < side).all(-1)
    return torch.where(inside, first + c[..., 1] * side + c[..., 0], -1)


def sides(boxes):
    """The root of the area of boxes [...,4]."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()


QUARTERS = ((0.0, 0.0), (-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # of a location's cell


def places(xy, side, cell, size):
    """Where on the student's grid an answer at `xy` [...,2] goes that has a box of `side` [...] and speaks for `cell`
    [...], all in the student's pixels: locations [...], one tensor after the other, -1 where it does not go.

    On each level that answers for the box (`levels`), that is the location it lies in, and those that the quarters of
    its cell lie in, where the teachers' cell is the larger one: else every second location would hear of nothing.
    """
    nowhere = torch.tensor(-1, device=xy.device)
    for stride in STRIDES:
        fits = responsible(side, stride, STRIDES[0], STRIDES[-1])
        for n, quarter in enumerate(QUARTERS):
            here = fits & (cell > stride) if n else fits
            if not here.is_cuda and not here.any():  # a GPU would have to wait for the answer
                continue
            at = xy + cell[..., None] * torch.tensor(quarter, device=xy.device) if n else xy
            yield torch.where(here, cells(at, stride, size), nowhere)


def brought(answers, points, size, scale, shift):
    """Sparse answers of several teachers on the student's grid: scores [L,80], the mean over teachers of the best of
    what a location covers; boxes [L,4] in the student's pixels, of the surest answer there, averaged with the others'
    that overlap it (0 where nothing is).

    `points`: for each teacher, where its locations are [n,2]. `scale`, `shift` [2] map the teachers' pixels to the
    student's, of `size`; a mirror image has a negative scale.
    """
    locations = sum((-(-size // s)) ** 2 for s in STRIDES)
    scores, boxes, sure = (
        torch.zeros(locations, 80),
        torch.zeros(len(answers), locations, 4),
        torch.zeros(len(answers), locations),
    )
    for k, (((at, name, score), (where, box)), of) in enumerate(zip(answers, points)):
        best = torch.zeros(locations * 80)
        row = torch.searchsorted(where, at)  # of each score, its location's among those that have a box
        own = torch.zeros(len(where)).scatter_reduce_(0, row, score, "amax")
        order = own.argsort()  # of the locations that share one of the student's, the surest is written last
        moved = (box.view(-1, 2, 2) * scale + shift).flatten(1)
        if scale[0] < 0:
            moved = moved[:, [2, 1, 0, 3]]
        cell = strides_of(SIZE)[where] * scale[1]
        for to in places(of[where] * scale + shift, sides(moved), cell, size):
            place = to[row]
            here = place >= 0
            best.scatter_reduce_(0, place[here] * 80 + name[here], score[here], "amax")
            here = order[(to[order] >= 0) & (own[order] >= sure[k][to[order].clamp(min=0)])].numpy()
            boxes[k].numpy()[to.numpy()[here]] = moved.numpy()[here]
            sure[k].numpy()[to.numpy()[here]] = own.numpy()[here]
        scores += best.view(locations, 80) / len(answers)
    first = sure.argmax(0)
    chosen = boxes.gather(0, first[None, :, None].expand(1, -1, 4))
    weight = sure * (overlap(boxes, chosen) > SAME)
    return scores, (boxes * weight[..., None]).sum(0) / weight.sum(0).clamp(min=1e-9)[:, None]


@torch.no_grad()
def together(teachers, rgb, size):
    """The same for whole answers, in batches, where the student's picture is the teachers' `rgb` [B,3,S,S] at `size`
    pixels: scores [B,L,80], boxes [B,L,4]."""
    locations, scale, device = sum((-(-size // s)) ** 2 for s in STRIDES), size / rgb.shape[-1], rgb.device
    nowhere = locations  # a row that is thrown away
    scores, boxes, sure = 0, [], []
    for t in teachers:
        own, box = t(rgb)
        box = box * scale
        top, index = own.amax(-1), torch.arange(own.shape[1], device=device)
        best = torch.zeros(len(rgb), locations + 1, 80, device=device)
        most = torch.zeros(len(rgb), locations + 1, device=device)
        first = torch.zeros(len(rgb), locations + 1, dtype=torch.long, device=device)
        cell = strides_of(rgb.shape[-1], device) * scale
        xy = (t.points(rgb.shape[-1]) * scale).expand(len(rgb), -1, -1)
        goes = [torch.where(to < 0, nowhere, to) for to in places(xy, sides(box), cell, size)]
        for to in goes:
            best.scatter_reduce_(1, to[..., None].expand(-1, -1, 80), own, "amax")
            most.scatter_reduce_(1, to, top, "amax")
        for to in goes:  # of equal ones it does not matter which
            first.scatter_reduce_(1, to, torch.where(top == most.gather(1, to), index, 0), "amax")
        scores = scores + best[:, :-1] / len(teachers)
        boxes.append(box.gather(1, first[:, :-1, None].expand(-1, -1, 4)))
        sure.append(most[:, :-1])
    boxes, sure = torch.stack(boxes), torch.stack(sure)
    chosen = boxes.gather(0, sure.argmax(0)[None, ..., None].expand(1, -1, -1, 4))
    weight = sure * (overlap(boxes, chosen) > SAME)
    return scores, (boxes * weight[..., None]).sum(0) / weight.sum(0).clamp(min=1e-9)[..., None]


def overlap(a, b):
    """IoU of paired boxes [...,4]."""
    inside = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area = lambda x: (x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1)  # noqa: E731
    return inside / (area(a) + area(b) - inside).clamp(min=1e-6)

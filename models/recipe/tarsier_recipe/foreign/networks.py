"""Detectors to prove the importer on, as PyTorch modules that end as their official repositories export them.

    # ONNX files of all of them
    python -m tarsier_recipe foreign-networks build/foreign --teachers ../../../shared/teachers

`NanoDetPlus` and `Yolox` are trained: they are read from the ncnn files of the teachers. `PicoDet` and `RtmDet` have
the published structure of those families (PP-LCNet with squeeze-and-excitation and hard-swish, LC-PAN, PicoHeadV2;
CSPNeXt with 5x5 depthwise convolutions, SiLU and channel attention, CSPNeXt-PAFPN, a head whose convolutions are
shared and whose normalisation is not) and random weights, because no trained ones can be had here; they prove that
the operators are right, and nothing about accuracy.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tarsier_recipe import options
from tarsier_recipe.foreign.ncnn_onnx import Weights, layers

# ---- trained, from ncnn's files


class Ncnn(nn.Module):
    """An ncnn detector, operator by operator; `forward` ends as the official export does."""

    def __init__(self, path):
        super().__init__()
        self.layers, self.weights, w = list(layers(f"{path}.param")), nn.ParameterDict(), Weights(f"{path}.bin")
        for kind, name, _, _, p in self.layers:
            if kind in ("Convolution", "ConvolutionDepthWise"):
                k = int(p[1])
                groups = int(p.get(7, 1)) if kind.endswith("DepthWise") else 1
                self.weights[name] = nn.Parameter(
                    torch.tensor(w.tagged(int(p[6]), name).reshape(int(p[0]), -1, k, k)), False
                )
                self.weights[f"{name}_bias"] = nn.Parameter(torch.tensor(w.take(np.float32, int(p[0]))), False)
                p["groups"] = groups

    def blobs(self, x):
        v = {}
        for kind, name, ins, outs, p in self.layers:
            a, i = [v[t] for t in ins if t in v], lambda k, d=0: int(p.get(k, d))
            if len(a) < len(ins):
                continue  # behind a head
            if kind == "Input":
                y = x
            elif kind == "YoloV5Focus":
                t = a[0]
                y = torch.cat([t[..., ::2, ::2], t[..., 1::2, ::2], t[..., ::2, 1::2], t[..., 1::2, 1::2]], 1)
            elif kind in ("Convolution", "ConvolutionDepthWise"):
                y = F.conv2d(
                    a[0],
                    self.weights[name],
                    self.weights[f"{name}_bias"],
                    stride=i(3, 1),
                    padding=i(4),
                    groups=p["groups"],
                )
                v[name] = y
                y = F.leaky_relu(y, float(p[-23310].split(",")[1])) if i(9) == 2 else y
            elif kind == "Swish":
                y = F.silu(a[0])
            elif kind == "Concat" and i(0) == 0 and all(t.shape[2:] == a[0].shape[2:] for t in a):
                y = torch.cat(a, 1)
            elif kind == "ShuffleChannel":
                n, c, h, w = a[0].shape
                y = a[0].view(n, i(0), c // i(0), h, w).transpose(1, 2).contiguous().view(n, c, h, w)
            elif kind == "Crop":
                y = a[0][:, int(p[-23309].split(",")[1]) : int(p[-23310].split(",")[1])]
            elif kind == "Pooling":
                y = F.max_pool2d(a[0], i(1), i(2, 1), i(3))
            elif kind == "Interp":
                y = F.interpolate(a[0], scale_factor=2.0, mode={1: "nearest", 2: "bilinear"}[i(0)])
            elif kind == "BinaryOp":
                y = a[0] + a[1]
            elif kind == "Split":
                y = a[0]
            else:
                continue
            v.update({o: y for o in outs})
        return v


class NanoDetPlus(Ncnn):
    """As nanodet's `forward` with ONNX export on: scores and distances of each level, flattened, concatenated,
    permuted."""

    HEADS = ("Conv_453", "Conv_473", "Conv_493", "Conv_513")

    def forward(self, x):
        v, outputs = self.blobs(x), []
        for layer in self.HEADS:
            scores, distances = v[layer].split([80, 32], dim=1)
            outputs.append(torch.cat([scores.sigmoid(), distances], dim=1).flatten(start_dim=2))
        return torch.cat(outputs, dim=2).permute(0, 2, 1)


class Yolox(Ncnn):
    """As YOLOX's `forward` without decoding: boxes, objectness, scores of each level, flattened, concatenated,
    permuted."""

    HEADS = (
        ("Conv_314", "Conv_327", "Conv_328"),
        ("Conv_347", "Conv_360", "Conv_361"),
        ("Conv_380", "Conv_393", "Conv_394"),
    )

    def forward(self, x):
        v, outputs = self.blobs(x), []
        for classes, boxes, objectness in self.HEADS:
            outputs.append(torch.cat([v[boxes], v[objectness].sigmoid(), v[classes].sigmoid()], 1))
        return torch.cat([o.flatten(start_dim=2) for o in outputs], dim=2).permute(0, 2, 1)


# ---- random weights, published structure


def unit(inputs, outputs, k, stride=1, groups=1, act=nn.Hardswish):
    parts = [nn.Conv2d(inputs, outputs, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([act()] if act else []))


def separable(inputs, outputs, k, stride=1, act=nn.Hardswish):
    """A depthwise and a pointwise convolution, each with normalisation and activation."""
    return nn.Sequential(unit(inputs, inputs, k, stride, inputs, act), unit(inputs, outputs, 1, act=act))


class Excite(nn.Module):
    """Squeeze and excitation: x times a hard sigmoid of two layers over its mean."""

    def __init__(self, c, reduction=4):
        super().__init__()
        self.down, self.up = nn.Conv2d(c, c // reduction, 1), nn.Conv2d(c // reduction, c, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Separated(nn.Module):
    """PP-LCNet's block: depthwise, perhaps excitation, pointwise."""

    def __init__(self, inputs, outputs, k, stride, se):
        super().__init__()
        self.parts = nn.Sequential(
            unit(inputs, inputs, k, stride, inputs), *([Excite(inputs)] if se else []), unit(inputs, outputs, 1)
        )

    def forward(self, x):
        return self.parts(x)


class Partial(nn.Module):
    """A cross-stage partial layer; `attention` is RTMDet's, over both branches."""

    def __init__(self, inputs, outputs, block, count, act, attention=False):
        super().__init__()
        mid = outputs // 2
        self.main, self.short, self.final = (
            unit(inputs, mid, 1, act=act),
            unit(inputs, mid, 1, act=act),
            unit(2 * mid, outputs, 1, act=act),
        )
        self.blocks = nn.Sequential(*(block(mid) for _ in range(count)))
        self.attention = nn.Conv2d(2 * mid, 2 * mid, 1) if attention else None

    def forward(self, x):
        y = torch.cat([self.blocks(self.main(x)), self.short(x)], 1)
        if self.attention is not None:
            y = y * F.hardsigmoid(self.attention(F.adaptive_avg_pool2d(y, 1)))
        return self.final(y)


class PicoDet(nn.Module):
    """PP-LCNet, LC-PAN and PicoHeadV2 for `classes`; widths times `scale`. Ends with a score and four distributions
    per location."""

    def __init__(self, scale=0.75, width=96, classes=80, convolutions=2):
        super().__init__()
        c = lambda n: max(16, int(n * scale + 8) // 16 * 16)
        block = lambda k, a, b, s, se=False: Separated(c(a), c(b), k, s, se)
        self.stem = nn.Sequential(unit(3, c(16), 3, 2), block(3, 16, 32, 1), block(3, 32, 64, 2), block(3, 64, 64, 1))
        self.stage4 = nn.Sequential(block(3, 64, 128, 2), block(3, 128, 128, 1))
        self.stage5 = nn.Sequential(block(3, 128, 256, 2), *(block(5, 256, 256, 1) for _ in range(5)))
        self.stage6 = nn.Sequential(block(5, 256, 512, 2, True), block(5, 512, 512, 1, True))
        bottleneck = lambda n: nn.Sequential(unit(n, n, 1), separable(n, n, 5))
        layer = lambda: Partial(2 * width, width, bottleneck, 1, nn.Hardswish)
        self.reduce = nn.ModuleList(unit(c(n), width, 1) for n in (128, 256, 512))
        self.down = nn.ModuleList(layer() for _ in range(2))
        self.up = nn.ModuleList(layer() for _ in range(2))
        self.step = nn.ModuleList(separable(width, width, 5, 2) for _ in range(4))
        self.feature = nn.ModuleList(
            nn.Sequential(*(separable(width, width, 5) for _ in range(convolutions))) for _ in range(4)
        )
        self.squeeze = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(4))
        self.excited = nn.ModuleList(unit(width, width, 1) for _ in range(4))
        self.classes = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in range(4))
        self.boxes = nn.ModuleList(nn.Conv2d(width, 32, 1) for _ in range(4))
        self.align = nn.ModuleList(
            nn.Sequential(unit(width, width, 5, 1, width), nn.Conv2d(width, 1, 1)) for _ in range(4)
        )

    def features(self, x):
        p3 = self.stage4(self.stem(x))
        p4 = self.stage5(p3)
        p3, p4, p5 = (r(p) for r, p in zip(self.reduce, (p3, p4, self.stage6(p4))))
        p6 = self.step[2](p5)
        twice = lambda t: F.interpolate(t, scale_factor=2.0, mode="nearest")
        p4 = self.down[0](torch.cat([twice(p5), p4], 1))
        p3 = self.down[1](torch.cat([twice(p4), p3], 1))
        p4 = self.up[0](torch.cat([self.step[0](p3), p4], 1))
        p5 = self.up[1](torch.cat([self.step[1](p4), p5], 1))
        return p3, p4, p5, p6 + self.step[3](p5)

    def forward(self, x):
        scores, boxes = [], []
        for i, p in enumerate(self.features(x)):
            f = self.feature[i](p)
            g = self.excited[i](f * torch.sigmoid(self.squeeze[i](F.adaptive_avg_pool2d(p, 1))))
            score = (self.classes[i](g).sigmoid() * self.align[i](f).sigmoid() + 1e-9).sqrt()
            scores.append(score.flatten(2).permute(0, 2, 1))
            boxes.append(self.boxes[i](g).flatten(2).permute(0, 2, 1))
        return torch.cat(scores, 1), torch.cat(boxes, 1)


class NextBlock(nn.Module):
    """CSPNeXt's: 3x3, then separable 5x5, and the sum with its input."""

    def __init__(self, c, add=True):
        super().__init__()
        self.parts, self.add = nn.Sequential(unit(c, c, 3, act=nn.SiLU), separable(c, c, 5, act=nn.SiLU)), add

    def forward(self, x):
        return x + self.parts(x) if self.add else self.parts(x)


class Pyramid(nn.Module):
    """The greatest of windows of 5, 9 and 13 beside the tensor itself."""

    def __init__(self, c):
        super().__init__()
        self.first, self.last = unit(c, c // 2, 1, act=nn.SiLU), unit(2 * c, c, 1, act=nn.SiLU)

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class RtmDet(nn.Module):
    """CSPNeXt, CSPNeXt-PAFPN and RTMDetSepBNHead; widths times `scale`. Ends with scores and boxes in pixels."""

    def __init__(self, scale=0.375, width=96, classes=80, depth=1, exponential=False):
        super().__init__()
        c = lambda n: max(16, int(n * scale + 8) // 16 * 16)
        conv = lambda a, b, k, s=1: unit(a, b, k, s, act=nn.SiLU)
        part = lambda a, b, n, add=True, attention=False: Partial(
            a, b, lambda m: NextBlock(m, add), n, nn.SiLU, attention
        )
        self.stem = nn.Sequential(conv(3, c(32), 3, 2), conv(c(32), c(32), 3), conv(c(32), c(64), 3))
        stage = lambda a, b, n, *more: nn.Sequential(conv(c(a), c(b), 3, 2), *more, part(c(b), c(b), n, not more, True))
        self.stage1, self.stage2, self.stage3 = (
            stage(64, 128, depth),
            stage(128, 256, 2 * depth),
            stage(256, 512, 2 * depth),
        )
        self.stage4 = stage(512, 1024, depth, Pyramid(c(1024)))
        self.reduce = nn.ModuleList([conv(c(1024), c(512), 1), conv(c(512), c(256), 1)])
        self.top = nn.ModuleList([part(2 * c(512), c(512), depth, False), part(2 * c(256), c(256), depth, False)])
        self.step = nn.ModuleList([conv(c(256), c(256), 3, 2), conv(c(512), c(512), 3, 2)])
        self.bottom = nn.ModuleList([part(2 * c(256), c(512), depth, False), part(2 * c(512), c(1024), depth, False)])
        self.out = nn.ModuleList(conv(c(n), width, 3) for n in (256, 512, 1024))
        self.shared = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(2)) for _ in range(2)
        )
        self.norm = nn.ModuleList(
            nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2)) for _ in range(2)) for _ in range(3)
        )
        self.classes = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in range(3))
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in range(3))
        self.exponential = exponential

    def features(self, x):
        p3 = self.stage2(self.stage1(self.stem(x)))
        p4 = self.stage3(p3)
        p5 = self.stage4(p4)
        twice = lambda t: F.interpolate(t, scale_factor=2.0, mode="nearest")
        p5 = self.reduce[0](p5)
        p4 = self.reduce[1](self.top[0](torch.cat([twice(p5), p4], 1)))
        p3 = self.top[1](torch.cat([twice(p4), p3], 1))
        p4 = self.bottom[0](torch.cat([self.step[0](p3), p4], 1))
        p5 = self.bottom[1](torch.cat([self.step[1](p4), p5], 1))
        return [o(p) for o, p in zip(self.out, (p3, p4, p5))]

    def forward(self, x):
        scores, boxes = [], []
        for i, p in enumerate(self.features(x)):
            branch = []
            for kind in range(2):
                y = p
                for j in range(2):
                    y = F.silu(self.norm[i][kind][j](self.shared[kind][j](y)))
                branch.append(y)
            stride = 8 << i
            distances = self.boxes[i](branch[1])
            distances = (distances.exp() if self.exponential else distances) * stride
            h, w = distances.shape[2:]
            y, x_ = torch.meshgrid(torch.arange(h) * stride, torch.arange(w) * stride, indexing="ij")
            d, g = distances.flatten(2).permute(0, 2, 1), torch.stack([x_, y], -1).reshape(1, -1, 2)
            boxes.append(torch.cat([g - d[..., :2], g + d[..., 2:]], -1))
            scores.append(self.classes[i](branch[0]).sigmoid().flatten(2).permute(0, 2, 1))
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class Mixed(nn.Module):
    """Small, with what the trained ones have: Focus, SiLU, leaky ReLU, a shuffle block, a pooling window, linear
    upsampling; YOLOX's head."""

    def __init__(self, width=16, classes=80):
        super().__init__()
        act = lambda: nn.LeakyReLU(0.1)
        self.stem, self.down = unit(12, width, 3, act=nn.SiLU), unit(width, 2 * width, 3, 2, act=act)
        self.branch = nn.Sequential(
            unit(width, width, 1, act=act), unit(width, width, 3, 1, width, None), unit(width, width, 1, act=act)
        )
        self.deep, self.side = (
            unit(2 * width, 2 * width, 3, 2, act=nn.SiLU),
            unit(2 * width, 2 * width, 5, 1, 2 * width, act),
        )
        self.towers = nn.ModuleList(
            nn.ModuleList([unit(2 * width, width, 1, act=nn.SiLU), unit(2 * width, width, 3, act=nn.SiLU)])
            for _ in range(2)
        )
        self.heads = nn.ModuleList(nn.ModuleList(nn.Conv2d(width, n, 1) for n in (classes, 4, 1)) for _ in range(2))

    def features(self, x):
        x = self.stem(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1))
        x = self.down(F.max_pool2d(x, 3, 2, 1))
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        y = self.deep(x)
        return x + F.interpolate(self.side(y), scale_factor=2.0, mode="bilinear"), y

    def forward(self, x):
        outputs = []
        for f, (what, where), (classes, boxes, objectness) in zip(self.features(x), self.towers, self.heads):
            g = where(f)
            outputs.append(torch.cat([boxes(g), objectness(g).sigmoid(), classes(what(f)).sigmoid()], 1).flatten(2))
        return torch.cat(outputs, 2).permute(0, 2, 1)


def settled(make, size, seed=0):
    """A network of random weights whose normalisation has the statistics of pictures of noise, so that values stay
    of one size."""
    torch.manual_seed(seed)
    net = make().train()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0.0, 0.3)
        elif isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
    with torch.no_grad():
        for _ in range(2):
            coarse = torch.randn(4, 3, size // 16, size // 16)
            net(F.interpolate(coarse, size=(size, size), mode="bilinear") + 0.2 * torch.randn(4, 3, size, size))
    return net.eval()


def export(net, size, path, opset=17):
    torch.onnx.export(
        net.eval(),
        torch.zeros(1, 3, size, size),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["images"],
        do_constant_folding=True,
    )
    return path


def main():
    p = options.parser(__doc__)
    p.add_argument("folder", type=Path)
    p.add_argument("--teachers", type=Path, help="folder of the ncnn files; without, only networks of random weights")
    a = options.parse(p)
    a.folder.mkdir(parents=True, exist_ok=True)
    made = [
        export(settled(PicoDet, 320), 320, a.folder / "picodet_s_320.onnx", 11),
        export(settled(RtmDet, 320), 320, a.folder / "rtmdet_tiny_320.onnx"),
    ]
    if a.teachers:
        made += [
            export(NanoDetPlus(a.teachers / "nanodet-plus-m_416"), 416, a.folder / "nanodet-plus-m_416.onnx", 11),
            export(Yolox(a.teachers / "yolox-nano"), 416, a.folder / "yolox_nano_416.onnx", 11),
        ]
    print("\n".join(map(str, made)))


if __name__ == "__main__":
    sys.exit(main())

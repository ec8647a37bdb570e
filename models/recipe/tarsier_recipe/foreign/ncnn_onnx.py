"""Reads an ncnn detector (.param and .bin, fp16 or fp32 weights) as an fp32 ONNX graph.

Covers what NanoDet-Plus and YOLOX need. A shuffle or a slice of channels becomes `Gather` over channels, which the
runtime lowers to nothing or a permutation. The heads' sigmoids, reshapes and concatenations are left out: the graph
ends at `heads`, raw.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tarsier_recipe.foreign.net import ImportRefused

FP16_TAG = 0x01306B47


def layers(param):
    """(kind, name, inputs, outputs, parameters) of every layer."""
    for line in open(param).read().strip().split("\n")[2:]:
        t = line.split()
        n_in, n_out = int(t[2]), int(t[3])
        at = 4 + n_in
        yield t[0], t[1], t[4:at], t[at : at + n_out], {int(k): v for k, v in (kv.split("=") for kv in t[at + n_out :])}


class Weights:
    """The .bin file, read in the order of the layers."""

    def __init__(self, path):
        self.path, self.bytes, self.at = path, open(path, "rb").read(), 0

    def take(self, kind, count):
        size = np.dtype(kind).itemsize * count
        values = np.frombuffer(self.bytes, kind, count, self.at)
        self.at += (size + 3) // 4 * 4
        return values.astype(np.float32)

    def tagged(self, count, layer):
        tag = np.frombuffer(self.bytes, np.uint32, 1, self.at)[0]
        self.at += 4
        if tag not in (0, FP16_TAG):
            raise ValueError(f"{self.path}: weights of {layer} have tag {tag:#x}, neither fp32 nor fp16")
        return self.take(np.float16 if tag else np.float32, count)


class Graph:
    """An ONNX graph being written. `shape` is [C, H, W] of every tensor."""

    def __init__(self, channels, size):
        self.nodes, self.constants, self.shape = [], [], {"image": (channels, size, size)}

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind, inputs, output, shape, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        self.shape[output] = shape
        return output

    def conv(self, x, output, weights, bias, stride=1, pad=0, group=1):
        _, h, w = self.shape[x]
        k = weights.shape[2]
        size = [(n + 2 * pad - k) // stride + 1 for n in (h, w)]
        inputs = [x, self.constant(f"{output}.weight", weights), self.constant(f"{output}.bias", bias)]
        return self.node(
            "Conv",
            inputs,
            output,
            (len(weights), *size),
            kernel_shape=[k, k],
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=group,
        )

    def gather(self, x, output, indices):
        i = self.constant(f"{output}.channels", np.array(indices, np.int64))
        return self.node("Gather", [x, i], output, (len(indices), *self.shape[x][1:]), axis=1)

    def model(self, outputs):
        info = lambda n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, *self.shape[n]])
        graph = helper.make_graph(self.nodes, "detector", [info("image")], [info(o) for o in outputs], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def activation(g, kind, x, parameter, output):
    """An ncnn activation code (0 none, 1 ReLU, 2 leaky, 4 sigmoid) behind a convolution."""
    if kind == 1:
        return g.node("Relu", [x], output, g.shape[x])
    if kind == 2:
        return g.node("LeakyRelu", [x], output, g.shape[x], alpha=parameter)
    raise ValueError(f"{output}: activation {kind} is not read")


def read(param, binary, size, heads, first=None):
    """The graph and the fp32 weights of its heads.

    `heads`: output name -> [(layer, first channel, last channel)], the rows of one or more convolutions that make
    it, zero-padded to whole sixteens. `first(weights, bias) -> weights, bias, stride, pad` rewrites the first
    convolution (normalisation, Focus).
    """
    g, w, alias = Graph(3, size), Weights(binary), {}
    rows = {layer: None for parts in heads.values() for layer, *_ in parts}
    for kind, name, ins, outs, p in layers(param):
        i = lambda k, default=0: int(p.get(k, default))
        x = [alias.get(t, t) for t in ins]
        y = outs[0] if outs else None
        if kind in ("Input", "YoloV5Focus"):
            alias[y] = "image"
        elif kind in ("Convolution", "ConvolutionDepthWise"):
            group = i(7, 1) if kind.endswith("DepthWise") else 1
            weights = w.tagged(i(6), name).reshape(i(0), -1, i(1), i(1))
            bias = w.take(np.float32, i(0)) if i(5) else np.zeros(i(0), np.float32)
            if name in rows:
                rows[name] = (x[0], weights, bias)
                continue
            stride, pad = i(3, 1), i(4)
            if x[0] == "image" and first:
                weights, bias, stride, pad = first(weights, bias)
            raw = y if i(9) == 0 else f"{y}.raw"
            g.conv(x[0], raw, weights, bias, stride, pad, group)
            if i(9):
                activation(g, i(9), raw, float(p[-23310].split(",")[1]) if -23310 in p else 0.0, y)
        elif kind == "Split":
            alias.update({o: x[0] for o in outs})
        elif x[0] not in g.shape:
            continue  # behind a head
        elif kind == "Concat":
            if i(0) != 0 or any(t not in g.shape for t in x):
                continue
            g.node("Concat", x, y, (sum(g.shape[t][0] for t in x), *g.shape[x[0]][1:]), axis=1)
        elif kind == "ShuffleChannel":
            c, groups = g.shape[x[0]][0], i(0)
            g.gather(x[0], y, np.arange(c).reshape(groups, -1).T.ravel())
        elif kind == "Crop":
            g.gather(x[0], y, range(int(p[-23309].split(",")[1]), min(int(p[-23310].split(",")[1]), g.shape[x[0]][0])))
        elif kind == "Pooling":
            c, h, wd = g.shape[x[0]]
            k, s, pad = i(1), i(2, 1), i(3)
            shape = (c, *((n + 2 * pad - k) // s + 1 for n in (h, wd)))
            g.node("MaxPool", x, y, shape, kernel_shape=[k, k], strides=[s, s], pads=[pad] * 4)
        elif kind == "Interp":
            c, h, wd = g.shape[x[0]]
            mode = {1: "nearest", 2: "linear"}[i(0)]
            g.node(
                "Resize",
                [x[0], "", g.constant(f"{y}.scales", np.array([1, 1, 2, 2], np.float32))],
                y,
                (c, 2 * h, 2 * wd),
                mode=mode,
                coordinate_transformation_mode="half_pixel" if mode == "linear" else "asymmetric",
                **({"nearest_mode": "floor"} if mode == "nearest" else {}),
            )
        elif kind == "BinaryOp":
            if i(0) != 0 or len(x) != 2:
                raise ValueError(f"{name}: binary operation {i(0)} of {len(x)} tensors is not read")
            g.node("Add", x, y, g.shape[x[0]])
        elif kind == "Swish":
            g.node("Sigmoid", x, f"{y}.sigmoid", g.shape[x[0]])
            g.node("Mul", [x[0], f"{y}.sigmoid"], y, g.shape[x[0]])
        elif kind not in ("Reshape", "Permute", "Slice", "Sigmoid"):
            raise ValueError(f"{name}: layer {kind} is not read")
    if w.at != len(w.bytes):
        raise ValueError(f"{binary}: {len(w.bytes) - w.at} bytes left over")
    for output, parts in heads.items():
        source = {rows[layer][0] for layer, *_ in parts}
        if len(source) != 1:
            raise ValueError(f"{output} is made from {source}")
        weights = np.concatenate([rows[layer][1][a:b] for layer, a, b in parts])
        bias = np.concatenate([rows[layer][2][a:b] for layer, a, b in parts])
        missing = -len(weights) % 16
        weights = np.concatenate([weights, np.zeros((missing, *weights.shape[1:]), np.float32)])
        bias = np.concatenate([bias, np.zeros(missing, np.float32)])
        g.conv(source.pop(), output, weights, bias)
    return g.model(list(heads))


def normalised(mean, std, zero, swap):
    """Rewrites a first convolution over (x - mean) / std to one over bytes minus `zero`; `swap` if it read BGR.
    Bytes are RGB."""
    mean, std = np.array(mean, np.float32), np.array(std, np.float32)

    def fold(weights, bias):
        scaled = weights / std[None, :, None, None]
        bias = bias + (scaled * (zero - mean)[None, :, None, None]).sum((1, 2, 3))
        return (scaled[:, ::-1] if swap else scaled).astype(np.float32), bias.astype(np.float32)

    return fold


def unfocus(weights):
    """k x k over the four interleaved quarters of YOLOX's Focus -> 2k x 2k with stride 2 over the picture itself.

    The quarters come as (even rows, even columns), (odd, even), (even, odd), (odd, odd), all channels of each together.
    """
    out, _, k, _ = weights.shape
    wide = np.zeros((out, 3, 2 * k, 2 * k), np.float32)
    for quarter, (dy, dx) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        wide[:, :, dy::2, dx::2] = weights[:, 3 * quarter : 3 * quarter + 3]
    return wide


def preset(family, model, size, facts):
    """(graph, strides, form) of the two that are known by their layers' names: NanoDet-Plus-m, and YOLOX-nano 0.1.0.

    NanoDet-Plus-m: one convolution per level makes 80 class logits and 4 x 8 logits of distances. YOLOX-nano:
    separate convolutions for classes, boxes and objectness; Focus in front.
    """
    if family == "nanodet-plus":
        layers = {8: "Conv_453", 16: "Conv_473", 32: "Conv_493", 64: "Conv_513"}
        parts = {s: ([(layer, 0, 80)], [(layer, 80, 112)]) for s, layer in layers.items()}
    elif family == "yolox-legacy":
        layers = {
            8: ("Conv_314", "Conv_327", "Conv_328"),
            16: ("Conv_347", "Conv_360", "Conv_361"),
            32: ("Conv_380", "Conv_393", "Conv_394"),
        }
        parts = {
            s: ([(classes, 0, 80)], [(boxes, 0, 4), (objectness, 0, 1)])
            for s, (classes, boxes, objectness) in layers.items()
        }
    else:
        raise ImportRefused(f"of ncnn's files nanodet-plus and yolox-legacy are read, not {family}: export it as ONNX")
    heads = {f"{kind}_{s}": part for s, both in parts.items() for kind, part in zip(("embedding", "geometry"), both)}
    fold = normalised(facts.mean, facts.std, facts.zero, facts.bgr)

    def first(weights, bias):
        if family == "nanodet-plus":
            return (*fold(weights, bias), 2, 1)
        return (*fold(unfocus(weights), bias), 2, 2)

    graph = read(f"{model}.param", f"{model}.bin", size, heads, first)
    return graph, tuple(parts), facts.form(family == "yolox-legacy")

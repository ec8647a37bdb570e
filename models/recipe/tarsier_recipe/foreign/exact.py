"""A QDQ graph computed exactly: integers, and one rounding for each QuantizeLinear, as the runtime does.

onnxruntime computes a convolution that it does not fuse in floats, and may then round a tie the other way.
`evaluate` gives the exact tensors, and for each of them how far onnxruntime is from it when given exact inputs.
"""

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper

from tarsier_recipe.foreign.net import attributes

MOVING = ("Concat", "Gather", "MaxPool", "Resize", "Identity", "DequantizeLinear")


class Graph:
    def __init__(self, model):
        self.model = model
        self.value = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.producer = {o: n for n in model.graph.node for o in n.output}
        for n in model.graph.node:
            if n.op_type == "Identity" and n.input[0] in self.value:
                self.value[n.output[0]] = self.value[n.input[0]]
        self.tensor = {}  # exact s8 tensors, by name

    def quant(self, node):
        zero = self.value[node.input[2]] if len(node.input) > 2 else 0
        return np.float32(self.value[node.input[1]]), int(zero)

    def steps(self, name):
        """A dequantised activation as integers from its zero, with its scale."""
        dq = self.producer[name]
        scale, zero = self.quant(dq)
        return self.tensor[dq.input[0]].astype(np.int64) - zero, scale

    def bytes(self, name):
        return self.tensor[self.producer[name].input[0]]

    def quantised(self, q):
        """The exact tensor of one QuantizeLinear."""
        scale, zero = self.quant(q)
        node = self.producer.get(q.input[0])
        if node is None:
            return np.clip(np.rint(self.tensor[q.input[0]] / scale) + zero, -128, 127).astype(np.int8)
        slope = None
        before = self.producer.get(node.input[0])
        if node.op_type in ("Relu", "LeakyRelu", "PRelu") and before is not None and before.op_type in ("Conv", "Add"):
            slope = {
                "Relu": lambda: 0.0,
                "LeakyRelu": lambda: attributes(node).get("alpha", 0.01),
                "PRelu": lambda: float(self.value[node.input[1]].item()),
            }[node.op_type]()
            node = before
        if node.op_type in ("Identity", "DequantizeLinear"):
            return self.tensor[node.input[0]] if node.op_type == "DequantizeLinear" else self.bytes(node.input[0])
        if node.op_type in MOVING:
            return self.moved(node, zero)
        if node.op_type == "Conv":
            y = self.conv(node, scale)
        elif node.op_type == "Add":
            (a, s_a), (b, s_b) = self.steps(node.input[0]), self.steps(node.input[1])
            y = a.astype(np.float32) * np.float32(s_a / scale) + b.astype(np.float32) * np.float32(s_b / scale)
        elif node.op_type == "GlobalAveragePool":
            x, s = self.steps(node.input[0])
            y = x.sum((2, 3), keepdims=True).astype(np.float32) * np.float32(
                s / (np.float32(x.shape[2] * x.shape[3]) * scale)
            )
        elif node.op_type == "Mul" and all(self.producer[i].op_type == "DequantizeLinear" for i in node.input):
            pair = sorted((self.steps(i) for i in node.input), key=lambda v: -v[0].size)
            (x, s_x), (g, s_g) = pair
            y = (x * g).astype(np.float32) * np.float32(np.float32(s_x * s_g) / scale)
        else:
            return np.clip(np.rint(self.function(q.input[0]) / np.float64(scale)) + zero, -128, 127).astype(np.int8)
        if slope is not None:
            y = np.where(y < 0, np.float32(slope) * y, y)
        return (np.rint(np.clip(y, -128 - zero, 127 - zero)) + zero).astype(np.int8)

    def conv(self, node, scale):
        x, s_x = self.steps(node.input[0])
        dq = self.producer[node.input[1]]
        w, s_w = self.value[dq.input[0]], self.value[dq.input[1]].astype(np.float32)
        given = attributes(node)
        pads = given.get("pads", [0] * 4)
        x = torch.nn.functional.pad(torch.from_numpy(x.astype(np.float64)), (pads[1], pads[3], pads[0], pads[2]))
        acc = (
            torch.nn.functional.conv2d(
                x,
                torch.from_numpy(w.astype(np.float64)),
                stride=given.get("strides", [1, 1]),
                groups=given.get("group", 1),
            )
            .numpy()
            .astype(np.int64)
        )
        if len(node.input) > 2:
            acc = acc + self.value[self.producer[node.input[2]].input[0]].astype(np.int64).reshape(1, -1, 1, 1)
        return acc.astype(np.float32) * (s_x * s_w / scale).astype(np.float32).reshape(1, -1, 1, 1)

    def function(self, name):
        """A function of one tensor, in 64 bits."""
        node = self.producer[name]
        if node.op_type == "DequantizeLinear":
            x, s = self.steps(name)
            return (x.astype(np.float32) * s).astype(np.float64)
        given, x = (
            attributes(node),
            [np.float64(self.value[i]) if i in self.value else self.function(i) for i in node.input],
        )
        return {
            "Sigmoid": lambda: 1 / (1 + np.exp(-x[0])),
            "Mul": lambda: x[0] * x[1],
            "HardSwish": lambda: x[0] * np.clip(x[0] / 6 + 0.5, 0, 1),
            "Tanh": lambda: np.tanh(x[0]),
            "HardSigmoid": lambda: np.clip(
                np.float64(np.float32(given.get("alpha", 0.2))) * x[0] + np.float64(np.float32(given.get("beta", 0.5))),
                0,
                1,
            ),
            "Relu": lambda: np.maximum(x[0], 0),
            "LeakyRelu": lambda: np.where(x[0] < 0, np.float64(np.float32(given.get("alpha", 0.01))) * x[0], x[0]),
        }[node.op_type]()

    def moved(self, node, zero):
        x, given = self.bytes(node.input[0]), attributes(node)
        if node.op_type == "Concat":
            return np.concatenate([self.bytes(i) for i in node.input], 1)
        if node.op_type == "Gather":
            return x[:, self.value[node.input[1]]]
        if node.op_type == "MaxPool":
            k, s, p = given["kernel_shape"], given.get("strides", [1, 1]), given.get("pads", [0] * 4)
            padded = np.pad(x, ((0, 0), (0, 0), (p[0], p[2]), (p[1], p[3])), constant_values=-128)
            windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(k), (2, 3))
            return windows[:, :, :: s[0], :: s[1]].max((4, 5))
        if given["mode"] == b"nearest":
            return x.repeat(2, 2).repeat(2, 3)
        # 9 : 3 : 3 : 1 of four; ties go to the even byte, which is what onnxruntime's floats leave open
        y = x.astype(np.float64) + 128
        for axis in (2, 3):
            n = y.shape[axis]
            near = np.repeat(np.arange(n), 2)
            far = np.clip(near + np.tile([-1, 1], n), 0, n - 1)
            y = 0.75 * y.take(near, axis) + 0.25 * y.take(far, axis)
        return (np.rint(y) - 128).astype(np.int8)


def evaluate(model, feeds, against=True):
    """(exact s8 tensors by the names of graph outputs, {QuantizeLinear output: (elements, how many onnxruntime has
    otherwise, by how much)}).

    Float inputs in `feeds`. Each node of onnxruntime's is given exact inputs, so that one difference is counted
    once.
    """
    graph, found = Graph(model), {}
    graph.tensor.update(feeds)
    for q in (n for n in model.graph.node if n.op_type == "QuantizeLinear"):
        graph.tensor[q.output[0]] = exact = graph.quantised(q)
        if against:
            theirs = single(graph, q)
            if theirs is not None:
                d = np.abs(theirs.astype(np.int32) - exact)
                found[q.output[0]] = exact.size, int(np.count_nonzero(d)), int(d.max())
    outputs = {}
    for o in model.graph.output:
        producer = graph.producer[o.name]
        outputs[o.name] = graph.tensor[producer.input[0] if producer.op_type == "DequantizeLinear" else o.name]
    return outputs, found


def single(graph, q):
    """onnxruntime's result of the operators between the exact tensors and one QuantizeLinear."""
    nodes, inputs, wanted, seen = [q], {}, list(q.input), set()
    while wanted:
        t = wanted.pop()
        n = graph.producer.get(t)
        if t in seen or n is None or t in graph.value:
            continue
        seen.add(t)
        if n.op_type == "QuantizeLinear" or t in graph.tensor:
            inputs[t] = graph.tensor[t]
        else:
            if n not in nodes:
                nodes.append(n)
            wanted.extend(n.input)
    if not inputs:
        return None
    order = {id(n): i for i, n in enumerate(graph.model.graph.node)}
    nodes = sorted(nodes, key=lambda n: order[id(n)])
    names = {i for n in nodes for i in n.input if i in graph.value}
    info = [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.INT8, v.shape) for k, v in inputs.items()]
    out = onnx.helper.make_tensor_value_info(q.output[0], onnx.TensorProto.INT8, None)
    g = onnx.helper.make_graph(nodes, "one", info, [out], [numpy_helper.from_array(graph.value[k], k) for k in names])
    model = onnx.helper.make_model(g, opset_imports=graph.model.opset_import, ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )[0]

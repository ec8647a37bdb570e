"""Cross-layer equalisation: channels of a tensor between two convolutions are scaled alike before it gets one int8
scale.

Behind a depthwise convolution channels differ in range by tens; with one scale for all, the small ones lose their
bits. Between two convolutions, with nothing or a (leaky) ReLU there, a channel can be scaled by any k > 0 if the
second one's weights are divided by it: the network computes the same (Nagel et al. 2019, arXiv:1906.04721). Here
with ranges of activations measured on photos. A depthwise second convolution has a weight scale per channel, so
channels become equal; a dense one meets half way.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper


def pairs(model):
    """(first convolution, tensors to scale, second convolution) along the graph."""
    readers = {}
    for n in model.graph.node:
        for i in n.input:
            readers.setdefault(i, []).append(n)
    outputs = {o.name for o in model.graph.output}
    for n in model.graph.node:
        if n.op_type != "Conv":
            continue
        tensor, next_ = n.output[0], readers.get(n.output[0], [])
        if len(next_) == 1 and next_[0].op_type in ("Relu", "LeakyRelu"):
            tensor = next_[0].output[0]
            next_ = readers.get(tensor, [])
        if len(next_) == 1 and next_[0].op_type == "Conv" and tensor not in outputs and next_[0].input[0] == tensor:
            yield n, tensor, next_[0]


def channel_ranges(model, name, rows, tensors):
    """Greatest absolute value per channel: the 0.9 quantile over pictures of each one's maximum."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    kept = {o.name for o in model.graph.output}
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(t) for t in tensors if t not in kept)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    found = {t: [] for t in tensors}
    for r in rows:
        for t, y in zip(tensors, session.run(list(tensors), {name: r[None]})):
            found[t].append(np.abs(y[0]).max((1, 2)))
    return {t: np.quantile(np.stack(v), 0.9, axis=0) for t, v in found.items()}


def equalise(model, name, rows):
    """Changes weights and biases in place; returns the number of tensors equalised."""
    found = list(pairs(model))
    ranges = channel_ranges(model, name, rows, [t for _, t, _ in found])
    constants = {t.name: t for t in model.graph.initializer}
    get = lambda key: numpy_helper.to_array(constants[key]).copy()
    put = lambda key, v: constants[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(v, np.float32), key))
    for first, tensor, second in found:
        w2 = get(second.input[1])
        depthwise = w2.shape[1] == 1 and w2.shape[0] == len(ranges[tensor])
        r = np.maximum(ranges[tensor], 1e-3 * ranges[tensor].max() + 1e-9)
        reach = np.abs(w2).max((1, 2, 3) if depthwise else (0, 2, 3))
        k = 1 / r if depthwise else np.sqrt(np.maximum(reach, 1e-3 * reach.max() + 1e-9) / r)
        k = np.clip(k / np.exp(np.log(k).mean()), 1 / 64, 64)
        put(first.input[1], get(first.input[1]) * k[:, None, None, None])
        put(first.input[2], get(first.input[2]) * k)
        put(second.input[1], w2 / (k[:, None, None, None] if depthwise else k[None, :, None, None]))
    return len(found)

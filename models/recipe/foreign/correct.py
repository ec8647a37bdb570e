"""Bias correction: what quantisation adds to a convolution's mean, channel by channel, is taken off its bias.

Rounded weights and clipped activations shift the mean of a channel, in depthwise networks by more than its spread; the shift is known from
photos (Nagel et al. 2019, arXiv:1906.04721, section 4.2). From front to back, some convolutions at a time: what lies behind sees the
corrected ones.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

GROUPS = 10


def means(model, rows, tensors):
    """Mean of each channel of `tensors` over the rows."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    kept = {o.name for o in model.graph.output}
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(t) for t in tensors if t not in kept)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sums = [0.0] * len(tensors)
    for r in rows:
        for i, y in enumerate(session.run(list(tensors), {session.get_inputs()[0].name: r[None]})):
            sums[i] = sums[i] + y[0].mean((1, 2), dtype=np.float64)
    return {t: s / len(rows) for t, s in zip(tensors, sums)}


def correct(exact, quantised, rows):
    """Changes the integer biases of `quantised` in place so that its convolutions have the means of those of `exact`."""
    made = {o: n for n in exact.graph.node for o in n.output}
    constants = {t.name: t for t in quantised.graph.initializer}
    producer = {o: n for n in quantised.graph.node for o in n.output}
    convolutions = [n for n in quantised.graph.node if n.op_type == "Conv" and n.output[0] in made and made[n.output[0]].op_type == "Conv" and len(n.input) > 2]
    wanted = means(exact, rows, [n.output[0] for n in convolutions])
    for part in np.array_split(np.arange(len(convolutions)), min(GROUPS, len(convolutions))):
        part = [convolutions[i] for i in part]
        found = means(quantised, rows, [n.output[0] for n in part])
        for n in part:
            dq = producer[n.input[2]]
            scale = numpy_helper.to_array(constants[dq.input[1]]).astype(np.float64)
            bias = numpy_helper.to_array(constants[dq.input[0]]).astype(np.int64)
            moved = bias + np.rint((wanted[n.output[0]] - found[n.output[0]]) / scale).astype(np.int64)
            constants[dq.input[0]].CopyFrom(numpy_helper.from_array(np.clip(moved, -(2**30), 2**30).astype(np.int32), dq.input[0]))
    return len(convolutions)

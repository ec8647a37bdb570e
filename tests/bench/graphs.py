"""The exported network as each peer likes it best. No function here changes what the network computes.

The recipe writes s8 activations. onnxruntime is fastest with u8 on x86, so `unsigned` relabels every activation: value and zero point
plus 128, type uint8. `integer_edges` starts at the quantised picture and ends at the quantised outputs, as our program does: no peer
is charged for turning a float picture into integers.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUTPUTS = tuple(f"{kind}_{stride}" for stride in (8, 16, 32, 64) for kind in ("embedding", "geometry"))


def integer_edges(model):
    """The part of a QDQ detector between its first and its last quantised tensors."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    first = next(n for n in whole.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == whole.graph.input[0].name)
    wanted = [f"{o}_QuantizeLinear_Output" for o in OUTPUTS]
    return onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model([first.output[0]], wanted)


def unsigned(model):
    """Activations as uint8: the same numbers, 128 higher, with zero points 128 higher."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    stored = {t.name: t for t in graph.initializer}
    made = {n.output[0]: n for n in graph.node}

    def is_activation(node):
        return node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] not in stored and
            (node.input[0] not in made or made[node.input[0]].op_type == "QuantizeLinear"))

    done = set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and is_activation(node):
            name = node.input[2]
            if name not in done:
                done.add(name)
                zero = numpy_helper.to_array(stored[name]).astype(np.int16) + 128
                stored[name].CopyFrom(numpy_helper.from_array(zero.astype(np.uint8), name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            value.type.tensor_type.elem_type = TensorProto.UINT8
    del graph.value_info[:]
    return out


def detector_only(model):
    """A detector without the features among its outputs."""
    return onnx.utils.Extractor(model).extract_model([i.name for i in model.graph.input], list(OUTPUTS))


def write(network, folder):
    """Writes every form of the detector in `network` to `folder`; returns their paths by name."""
    network, folder = Path(network), Path(folder)
    qdq = onnx.load(network / "detector_qdq.onnx")
    forms = {"s8": integer_edges(qdq), "fp32": detector_only(onnx.load(network / "detector_fp32.onnx")), "s8-float": detector_only(qdq)}
    forms["u8"] = unsigned(forms["s8"])
    forms["u8-float"] = unsigned(forms["s8-float"])
    paths = {}
    for name, model in forms.items():
        onnx.checker.check_model(model)
        paths[name] = folder / f"detector-{name}.onnx"
        onnx.save(model, paths[name])
    return paths

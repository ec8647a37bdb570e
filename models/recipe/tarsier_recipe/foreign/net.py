"""An ONNX graph that is being rewritten: nodes in order, constants as arrays, the shape of every tensor."""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper


class ImportRefused(Exception):
    """A network that cannot be taken; the message says which nodes and why."""


def attributes(node):
    """A node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def fixed(model, size):
    """The model with one picture of `size` x `size` in front, every shape inferred and whatever is constant folded.

    onnxruntime's basic optimisations do the folding: shape arithmetic, batch normalisation behind a convolution,
    dropout, identities. They leave standard operators only.
    """
    model = converted(model)
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    for i in inputs:
        dims = i.type.tensor_type.shape.dim
        if len(dims) == 4:
            for d, n in zip(dims, (1, 3, size, size)):
                if d.dim_value > 0 and d.dim_value != n:
                    raise ImportRefused(
                        f"input {i.name} is {[d.dim_value or d.dim_param for d in dims]}, not [1, 3, {size}, {size}]: "
                        f"--size says what it was exported at"
                    )
                d.dim_value = n
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = os.path.join(folder, "folded.onnx")
        options.log_severity_level = 4
        try:
            # a factor behind a convolution may be a head's stride, which must stay visible
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["ConvMulFusion"],
            )
        except Exception as e:
            raise ImportRefused(f"onnxruntime does not load it: {e}") from None
        model = onnx.load(options.optimized_model_filepath)
    return onnx.shape_inference.infer_shapes(model)


def converted(model):
    """At least opset 13, from which on axes, splits and paddings are inputs."""
    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if version >= 13:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    try:
        return onnx.version_converter.convert_version(model, 13)
    except Exception as e:
        raise ImportRefused(f"it is of opset {version} and cannot be converted to 13: {e}") from None


class Net:
    """Nodes, constants and shapes; `inputs` and `outputs` are names."""

    def __init__(self, model):
        graph = model.graph
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.nodes, self.constants, self.shape = [], {t.name: numpy_helper.to_array(t) for t in graph.initializer}, {}
        for n in graph.node:
            if n.op_type == "Constant" and attributes(n).keys() == {"value"}:
                self.constants[n.output[0]] = numpy_helper.to_array(attributes(n)["value"])
            else:
                self.nodes.append(n)
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        for v in (*graph.input, *graph.value_info, *graph.output):
            dims = v.type.tensor_type.shape.dim
            if v.type.tensor_type.HasField("shape") and all(d.dim_value > 0 for d in dims):
                self.shape[v.name] = tuple(d.dim_value for d in dims)
        self.shape.update({k: v.shape for k, v in self.constants.items()})
        self.count = 0
        for n in self.nodes:
            n.name = n.name or f"{n.op_type} {n.output[0]}"

    def producers(self):
        return {o: n for n in self.nodes for o in n.output if o}

    def readers(self):
        found = {}
        for n in self.nodes:
            for i in n.input:
                found.setdefault(i, []).append(n)
        return found

    def alone(self, tensor, readers):
        """The one node that reads a tensor, if there is exactly one and the tensor is no output."""
        return readers[tensor][0] if len(readers.get(tensor, ())) == 1 and tensor not in self.outputs else None

    def fresh(self, stem):
        self.count += 1
        return f"{stem}.{self.count}"

    def constant(self, stem, values):
        name = self.fresh(stem)
        self.constants[name] = np.ascontiguousarray(values)
        self.shape[name] = self.constants[name].shape
        return name

    def node(self, kind, inputs, output, like=None, **attrs):
        """A new node, not yet in the graph, that makes `output`."""
        n = helper.make_node(kind, inputs, [output], name=like.name if like is not None else self.fresh(kind), **attrs)
        return n

    def replace(self, old, *new):
        """Puts `new` where `old` is."""
        at = next(i for i, n in enumerate(self.nodes) if n is old)
        self.nodes[at : at + 1] = new

    def rename(self, old, new):
        """Whoever reads `old` reads `new`; an output keeps its name through an Identity."""
        for n in self.nodes:
            for i, name in enumerate(n.input):
                if name == old:
                    n.input[i] = new
        if old in self.outputs:
            self.nodes.append(self.node("Identity", [new], old))

    def prune(self):
        """Without what no output needs, in an order in which everything is made before it is read."""
        producers, done, ordered = self.producers(), set(), []
        stack = [(o, False) for o in reversed(self.outputs)]
        while stack:
            tensor, ready = stack.pop()
            n = producers.get(tensor)
            if n is None or id(n) in done:
                continue
            if ready:
                done.add(id(n))
                ordered.append(n)
            else:
                stack.append((tensor, True))
                stack.extend((i, False) for i in reversed(n.input) if i)
        self.nodes = ordered
        used = {i for n in ordered for i in n.input} | set(self.outputs)
        self.constants = {k: v for k, v in self.constants.items() if k in used}
        self.inputs = [i for i in self.inputs if i in used]
        return self

    def model(self):
        info = lambda n: helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, self.shape.get(n))
        constants = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(
            self.nodes, "detector", [info(i) for i in self.inputs], [info(o) for o in self.outputs], constants
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def infer(self):
        """Shapes anew, after nodes were replaced."""
        fresh = Net(onnx.shape_inference.infer_shapes(self.prune().model()))
        self.shape = fresh.shape
        return self

    def run(self, feeds, outputs=None):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(self.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(outputs or self.outputs, feeds)

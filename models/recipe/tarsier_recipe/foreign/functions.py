"""Activation functions, whatever operators write them.

Hard-swish is one node for one exporter, and Add, Clip, Mul and Div for another. Where operators between two tensors
compute each value from one other value, they are evaluated at some thousand points, and the curve says which
function it is.
"""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

UNARY = (
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Relu",
    "LeakyRelu",
    "Clip",
    "Tanh",
    "Exp",
    "Log",
    "Softplus",
    "Sqrt",
    "Neg",
    "Elu",
    "Swish",
    "Mish",
    "Erf",
    "Gelu",
    "Celu",
    "Softsign",
    "Reciprocal",
    "Abs",
)
BINARY = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Pow")
POINTS = np.concatenate([np.linspace(-40, 40, 4001), np.linspace(-1, 1, 2001)]).astype(np.float32)


def sources(net):
    """tensor -> the tensor that it is a function of, value by value; itself if there is none."""
    found = {}
    for n in net.nodes:
        of = {found.get(i, i) for i in n.input if i and i not in net.constants}
        scalars = all(net.constants[i].size == 1 for i in n.input if i in net.constants)
        one = (n.op_type in UNARY or n.op_type in BINARY) and len(of) == 1 and scalars
        if n.op_type == "PRelu":
            one = scalars
        for o in n.output:
            found[o] = of.pop() if one else o
    return found


def curve(net, nodes, source, tensor):
    """The function at POINTS."""
    names = {i for n in nodes for i in n.input if i in net.constants}
    given = helper.make_tensor_value_info(source, TensorProto.FLOAT, [1, 1, 1, len(POINTS)])
    out = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "function", [given], [out], [numpy_helper.from_array(net.constants[k], k) for k in names]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([tensor], {source: POINTS.reshape(1, 1, 1, -1)})[0].ravel()


def named(y):
    """(name, parameters) of a curve: affine, relu, leaky, clip, hardswish, hardsigmoid, sigmoid, silu, tanh; None if
    it is none of them."""
    x = POINTS.astype(np.float64)
    at = lambda v: float(np.interp(v, x[:4001], y[:4001]))
    sigmoid = 1 / (1 + np.exp(-x))
    low, high = at(-40), at(40)
    candidates = [
        ("relu", (), np.maximum(x, 0)),
        ("hardswish", (), x * np.clip(x / 6 + 0.5, 0, 1)),
        ("silu", (), x * sigmoid),
        ("sigmoid", (), sigmoid),
        ("tanh", (), np.tanh(x)),
        ("affine", (at(1) - at(0), at(0)), (at(1) - at(0)) * x + at(0)),
        ("leaky", (-at(-1),), np.where(x < 0, -at(-1) * x, x)),
        ("clip", (high,), np.clip(x, 0, high)),
        ("hardsigmoid", ((at(0.5) - at(-0.5)), at(0)), np.clip((at(0.5) - at(-0.5)) * x + at(0), 0, 1)),
    ]
    for name, parameters, expected in candidates:
        if np.isfinite(y).all() and np.abs(y - expected).max() < 2e-4:
            if name == "hardsigmoid" and (low > 1e-3 or high < 1 - 1e-3 or parameters[0] <= 0):
                continue
            return name, parameters
    return None


def rewrite(net):
    """One operator for each function that is known; returns how many were written anew. Affine ones are left to
    `affine`."""
    found, readers, count = sources(net), net.readers(), 0
    for tensor, source in list(found.items()):
        if tensor == source:
            continue
        inner = (
            readers.get(tensor, [])
            and all(found[n.output[0]] == source for n in readers[tensor])
            and tensor not in net.outputs
        )
        if inner:
            continue
        nodes = [n for n in net.nodes if found[n.output[0]] == source != n.output[0] and reaches(net, n, tensor)]
        canonical = len(nodes) == 1 and nodes[0].op_type in (
            "Relu",
            "LeakyRelu",
            "PRelu",
            "HardSwish",
            "HardSigmoid",
            "Sigmoid",
            "Tanh",
        )
        silu = sorted(n.op_type for n in nodes) == ["Mul", "Sigmoid"] and nodes[-1].input[:] in (
            [source, nodes[0].output[0]],
            [nodes[0].output[0], source],
        )
        if canonical or silu:
            continue
        what = named(curve(net, nodes, source, tensor))
        if what is None or what[0] == "affine" or (what[0] == "clip" and len(nodes) == 1):
            continue
        name, parameters = what
        new = {
            "relu": lambda: [("Relu", [source], {})],
            "leaky": lambda: [("LeakyRelu", [source], {"alpha": float(parameters[0])})],
            "hardswish": lambda: [("HardSwish", [source], {})],
            "hardsigmoid": lambda: [
                ("HardSigmoid", [source], {"alpha": float(parameters[0]), "beta": float(parameters[1])})
            ],
            "sigmoid": lambda: [("Sigmoid", [source], {})],
            "tanh": lambda: [("Tanh", [source], {})],
            "clip": lambda: [
                (
                    "Clip",
                    [source, net.constant("zero", np.float32(0)), net.constant("most", np.float32(parameters[0]))],
                    {},
                )
            ],
            "silu": lambda: [("Sigmoid", [source], {}), ("Mul", [source, None], {})],
        }[name]()
        last = nodes[-1]
        written, previous = [], None
        for i, (kind, inputs, attrs) in enumerate(new):
            output = tensor if i + 1 == len(new) else net.fresh(f"{tensor}.{kind}")
            net.shape[output] = net.shape.get(tensor, net.shape.get(source))
            written.append(
                net.node(
                    kind,
                    [previous if t is None else t for t in inputs],
                    output,
                    last if i + 1 == len(new) else None,
                    **attrs,
                )
            )
            previous = output
        net.opset = max(net.opset, 14)  # HardSwish
        net.replace(last, *written)
        count += 1
        readers = net.readers()
    net.prune()
    return count


def reaches(net, node, tensor):
    """Whether a node's result enters `tensor` within one function."""
    producers, wanted, seen = net.producers(), [tensor], set()
    while wanted:
        t = wanted.pop()
        n = producers.get(t)
        if n is node:
            return True
        if n is not None and id(n) not in seen and (n.op_type in UNARY or n.op_type in BINARY or n.op_type == "PRelu"):
            seen.add(id(n))
            wanted.extend(i for i in n.input if i not in net.constants)
    return False

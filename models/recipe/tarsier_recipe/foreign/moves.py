"""What only moves values: channel shuffles, slices, splits, and the interleaved quarters of a Focus, whatever operators
write them.

An exporter writes a shuffle as Reshape, Transpose, Reshape; a split as Split, Slice or Gather; Focus as eight strided
Slices and a Concat. None of that is recognised by its look here. Between one tensor and another are only operators that
move values, so an array of indices is sent through them, and where each index arrives says what they do together:

* every picture as it was, in another order or fewer of them: `Gather` over channels;
* every `step`-th row and column, then a convolution: a convolution with a wider window and stride over the tensor
  itself.
"""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

MOVES = (
    "Reshape",
    "Transpose",
    "Slice",
    "Split",
    "Gather",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Identity",
    "Dropout",
    "DepthToSpace",
    "SpaceToDepth",
)


def sources(net):
    """tensor -> the tensor all of whose values it holds, through operators that move values only; itself if there is
    none."""
    found = {}
    for n in net.nodes:
        moved = None
        if n.op_type in MOVES and n.input[0] not in net.constants:
            moved = found.get(n.input[0], n.input[0])
        elif n.op_type == "Concat":
            origins = {found.get(i, i) for i in n.input}
            moved = origins.pop() if len(origins) == 1 and not origins & set(net.constants) else None
        for o in n.output:
            found[o] = o if moved is None else moved
    return found


def between(net, source, tensor):
    """The nodes on the way from `source` to `tensor`, in order."""
    producers, wanted, chosen = net.producers(), [tensor], {}
    while wanted:
        t = wanted.pop()
        n = producers.get(t)
        if t != source and n is not None and id(n) not in chosen:
            chosen[id(n)] = n
            wanted.extend(i for i in n.input if i and i not in net.constants)
    return [n for n in net.nodes if id(n) in chosen]


def indices(net, source, tensor):
    """Where each value of `tensor` lies in `source`, counted through."""
    nodes = between(net, source, tensor)
    names = {i for n in nodes for i in n.input if i in net.constants}
    info = lambda t: helper.make_tensor_value_info(t, TensorProto.DOUBLE, None)
    given = helper.make_tensor_value_info(source, TensorProto.DOUBLE, net.shape[source])
    graph = helper.make_graph(
        nodes, "moves", [given], [info(tensor)], [numpy_helper.from_array(net.constants[k], k) for k in names]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = np.arange(np.prod(net.shape[source]), dtype=np.float64).reshape(
        net.shape[source]
    )  # of all types, the one that every such operator has
    return session.run([tensor], {source: given})[0].astype(np.int64)


def steps(where, shape):
    """([channel], [row], [column], step) of each channel of `where`, if it is every `step`-th value from there on;
    else None."""
    _, c, h, w = shape
    if where.ndim != 4 or where.shape[0] != 1 or h % where.shape[2] or h * where.shape[3] != w * where.shape[2]:
        return None
    step = h // where.shape[2]
    first = where[0, :, 0, 0]
    channel, row, column = first // (h * w), first // w % h, first % w
    rows, columns = np.arange(where.shape[2]) * step, np.arange(where.shape[3]) * step
    expected = (
        channel[:, None, None] * h * w + (row[:, None, None] + rows[:, None]) * w + column[:, None, None] + columns
    )
    return (
        (channel, row, column, step) if (where[0] == expected).all() and max(row.max(), column.max()) < step else None
    )


def gather(net):
    """Rewrites all of them; returns how many tensors were concerned."""
    found, readers, count = sources(net), net.readers(), 0
    moved = [
        t for t, s in found.items() if t != s and len(net.shape.get(t, ())) == 4 and len(net.shape.get(s, ())) == 4
    ]
    for tensor in moved:
        used = [n for n in readers.get(tensor, ()) if found[n.output[0]] != found[tensor]]
        if not used and tensor not in net.outputs:
            continue  # another one is made of it
        source = found[tensor]
        if (
            len(between(net, source, tensor)) == 1
            and net.producers()[tensor].op_type == "Gather"
            and len(net.shape[net.producers()[tensor].input[1]]) == 1
        ):
            continue
        at = steps(indices(net, source, tensor), net.shape[source])
        if at is None:
            continue
        channel, row, column, step = at
        if step == 1 and not row.any() and not column.any():
            if np.array_equal(channel, np.arange(net.shape[source][1])):
                net.rename(tensor, source)
            else:
                new = net.fresh(f"{tensor}.channels")
                net.nodes.append(
                    net.node(
                        "Gather", [source, net.constant(f"{tensor}.indices", channel.astype(np.int64))], new, axis=1
                    )
                )
                net.shape[new] = net.shape[tensor]
                net.rename(tensor, new)
            count += 1
        elif used and all(plain(net, n, tensor) for n in used) and tensor not in net.outputs:
            for n in used:
                widen(net, n, source, channel, row, column, step)
            count += 1
    net.prune()
    return count


def plain(net, node, tensor):
    """Whether a node is a dense convolution of this tensor with constant weights."""
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return node.op_type == "Conv" and node.input[0] == tensor and node.input[1] in net.constants and groups == 1


def widen(net, node, source, channel, row, column, step):
    """A convolution over every `step`-th value of shifted copies of `source` as one over `source`."""
    weights = net.constants[node.input[1]]
    out, _, kh, kw = weights.shape
    wide = np.zeros((out, net.shape[source][1], kh * step, kw * step), weights.dtype)
    for j, (c, y, x) in enumerate(zip(channel, row, column)):
        wide[:, c, y::step, x::step] += weights[:, j]
    node.input[0], node.input[1] = source, net.constant(node.input[1], wide)
    given = {a.name: list(a.ints) for a in node.attribute if a.ints}
    for name, default in (("pads", [0] * 4), ("strides", [1, 1])):
        set_ints(node, name, [step * v for v in given.get(name, default)])
    set_ints(node, "kernel_shape", [kh * step, kw * step])


def set_ints(node, name, values):
    for a in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(a)
    node.attribute.append(helper.make_attribute(name, list(values)))

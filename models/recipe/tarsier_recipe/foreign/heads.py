"""Where a detector ends: the last convolutions of each level, and what their channels mean.

Behind the last convolutions an exporter writes sigmoids, reshapes, concatenations, decoding, perhaps NMS; the
runtime does all of that itself. So the graph is cut there. The convolutions are found from the outputs backwards, or
by the names that the user gives; a level is a size of picture; how many channels a convolution has says what it is.
"""

import numpy as np

from tarsier_recipe.foreign.net import ImportRefused, attributes

PADDING = -30.0  # logit of a class that is none: channels come in sixteens


def ends(net):
    """The convolutions between which and the outputs there is no other, in the graph's order."""
    producers, wanted, seen, found = net.producers(), list(net.outputs), set(), []
    while wanted:
        n = producers.get(wanted.pop())
        if n is None or id(n) in seen:
            continue
        seen.add(id(n))
        if n.op_type == "Conv":
            found.append(n)
        else:
            wanted.extend(i for i in n.input if i)
    return [n for n in net.nodes if any(n is f for f in found)]


def named(net, names):
    """The convolutions that have these names or make tensors of these names."""
    found = []
    for name in names:
        nodes = [n for n in net.nodes if name in (n.name, *n.output)]
        nodes = [n for n in nodes if n.op_type == "Conv"]
        if not nodes:
            raise ImportRefused(
                f"no convolution is called {name} or makes it; the last ones before the outputs are "
                f"{', '.join(n.name for n in ends(net))}"
            )
        found += nodes
    return found


def levels(net, convolutions, size):
    """[(stride, [convolution])], finest first."""
    found = {}
    for n in convolutions:
        shape = net.shape.get(n.output[0], ())
        stride = 2 ** round(np.log2(size / shape[2])) if len(shape) == 4 else 0
        if not stride or shape[2:] != (-(-size // stride),) * 2:
            raise ImportRefused(f"{n.name} makes {shape}, which is no level of a picture of {size} x {size}")
        found.setdefault(stride, []).append(n)
    if not found:
        raise ImportRefused("no convolution leads to the outputs")
    if len({len(v) for v in found.values()}) != 1:
        counts = ", ".join(f"{len(v)} at stride {k} ({', '.join(n.name for n in v)})" for k, v in sorted(found.items()))
        raise ImportRefused(
            f"the levels have different numbers of last convolutions: {counts}; name those of the heads with --cut"
        )
    return sorted(found.items())


def behind(net, n):
    """The factor that the result is multiplied by next, and whether an exponential follows."""
    factor, tensor, readers = 1.0, n.output[0], net.readers()
    while True:
        reader = net.alone(tensor, readers)
        if reader is None:
            return factor, False
        if reader.op_type == "Exp":
            return factor, True
        constants = [net.constants[i] for i in reader.input if i in net.constants]
        scalar = len(constants) == 1 and constants[0].size == 1 and constants[0].dtype.kind == "f"
        if reader.op_type == "Mul" and scalar:
            factor *= float(constants[0].item())
        elif reader.op_type == "Div" and scalar and reader.input[1] in net.constants:
            factor /= float(constants[0].item())
        else:
            return factor, False
        tensor = reader.output[0]


def roles(net, stride, convolutions, classes, boxes, objectness):
    """{role: (convolution, first channel, last channel)} of one level, by numbers of channels."""
    channels = {n.name: net.shape[n.output[0]][1] for n in convolutions}
    width = {"distribution": 32}.get(boxes, 4)
    fail = (
        f"at stride {stride} the last convolutions have {', '.join(f'{v} ({k})' for k, v in channels.items())} "
        f"channels; {classes} names need {classes} and {width}"
    )
    fail += {"never": "", "always": " and 1", "maybe": ", perhaps 1"}[objectness]
    if len(convolutions) == 1 and list(channels.values()) == [classes + width] and objectness != "always":
        n = convolutions[0]
        return {"classes": (n, 0, classes), "boxes": (n, classes, classes + width)}
    rest = list(convolutions)

    def take(count, prefer=None):
        same = [n for n in rest if channels[n.name] == count]
        if len(same) > 1 and prefer is not None:
            same = [n for n in same if prefer(n)] or same
        if len(same) != 1:
            raise ImportRefused(fail)
        rest.remove(same[0])
        return same[0], 0, count

    found = {"boxes": take(width)}
    beside = lambda n: n.input[0] == found["boxes"][0].input[0]  # YOLOX: objectness reads what boxes read
    found["classes"] = take(classes, lambda n: not beside(n))
    if rest and objectness != "never":
        found["objectness"] = take(1)
    if rest or (objectness == "always" and "objectness" not in found):
        raise ImportRefused(fail)
    return found


def attach(net, found):
    """Puts `embedding_S` and `geometry_S` in place of the last convolutions; `found` is [(stride, {role: (input,
    weights, bias)})]."""
    outputs = []
    for stride, parts in found:
        x, w, b = parts["classes"]
        missing = -len(w) % 16
        w, b = padded(w, missing), np.concatenate([b, np.full(missing, PADDING, np.float32)])
        outputs.append(last(net, x, w, b, f"embedding_{stride}"))
        pieces = [parts["boxes"]] + ([parts["objectness"]] if "objectness" in parts else [])
        if len({x for x, _, _ in pieces}) == 1:
            pieces = [
                (pieces[0][0], np.concatenate([w for _, w, _ in pieces]), np.concatenate([b for _, _, b in pieces]))
            ]
        elif len(pieces[0][1]) % 16:
            raise ImportRefused(
                f"at stride {stride} boxes ({len(pieces[0][1])} channels) and objectness are made from different "
                f"tensors: only boxes of whole sixteens can be followed by another tensor's"
            )
        names = [f"geometry_{stride}"] if len(pieces) == 1 else [f"geometry_{stride}.{i}" for i in range(len(pieces))]
        for (x, w, b), name in zip(pieces, names):
            last(net, x, padded(w, -len(w) % 16), np.concatenate([b, np.zeros(-len(b) % 16, np.float32)]), name)
        if len(pieces) > 1:
            net.nodes.append(net.node("Concat", names, f"geometry_{stride}", axis=1))
        outputs.append(f"geometry_{stride}")
    net.outputs = outputs
    return net.infer()


def padded(weights, missing):
    return np.concatenate([weights, np.zeros((missing, *weights.shape[1:]), np.float32)])


def last(net, x, weights, bias, name):
    k = weights.shape[2:]
    inputs = [
        x,
        net.constant(f"{name}.weight", weights.astype(np.float32)),
        net.constant(f"{name}.bias", bias.astype(np.float32)),
    ]
    node = net.node("Conv", inputs, name, kernel_shape=list(k), pads=[n // 2 for n in k] * 2)
    node.name = name
    net.nodes.append(node)
    return name


def parts(net, n):
    """A last convolution's (input tensor, weights, bias); only plain ones can be put together."""
    given, w = attributes(n), net.constants[n.input[1]]
    plain = given.get("group", 1) == 1 and all(s == 1 for s in given.get("strides", (1, 1)))
    if not plain or list(given.get("pads", [0] * 4)) != [k // 2 for k in w.shape[2:]] * 2:
        raise ImportRefused(
            f"{n.name}, a last convolution, has {given}: stride 1, one group and padding of half its window are taken"
        )
    return n.input[0], w, net.constants[n.input[2]]

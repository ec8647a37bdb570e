"""What exporters write, rewritten into what the runtime lowers. No rewrite changes what the network computes.

| written by exporters | becomes | where |
|---|---|---|
| shape arithmetic, constants, Identity, Dropout, batch normalisation behind a convolution | nothing | `net.fixed`, by onnxruntime |
| channel shuffle, Split, Slice, Gather, Focus | `Gather` over channels, or a wider window | `moves` |
| hard-swish, hard-sigmoid, SiLU, ReLU6, leaky ReLU in pieces | one operator, SiLU two | `functions` |
| a factor or an addend per channel, BatchNormalization anywhere | into the convolution before or behind it, or one of 1x1 per channel | here |
| ReduceMean, AveragePool over the whole picture | GlobalAveragePool | here |
| Resize by two, in any of its forms | by `scales`, nearest or linear | here |
| Pad, auto_pad, ceil_mode | explicit padding | here |
| groups that are neither one nor one per channel | a dense convolution with zeros | here |
| an activation that is not alone behind a convolution or addition | one behind a convolution of 1x1 per channel with a weight of 1 | here |

`refusals` lists what is left that the runtime does not lower, with the reason.
"""  # noqa: E501

import numpy as np

from tarsier_recipe.foreign import functions, moves
from tarsier_recipe.foreign.moves import set_ints
from tarsier_recipe.foreign.net import ImportRefused, attributes

ACTIVATIONS = ("Relu", "LeakyRelu", "PRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Clip")


def simplify(net):
    """All rewrites until none finds anything; refuses what is left over, all of it at once."""
    for _ in range(20):
        net.infer()
        if not sum(
            rewrite(net)
            for rewrite in (moves.gather, synonyms, windows, pads, resizes, functions.rewrite, affine, groups)
        ):
            break
    net.infer()
    lonely(net)
    net.infer()
    wrong = refusals(net)
    if wrong:
        raise ImportRefused(
            "\n".join(
                [f"{len(wrong)} nodes cannot be taken:", *(f"  {n.name} ({n.op_type}): {why}" for n, why in wrong)]
            )
        )
    return net


def synonyms(net):
    """One operator for what has several."""
    count = 0
    for n in list(net.nodes):
        shape, given = net.shape.get(n.input[0]) if n.input else None, attributes(n)
        new = None
        if n.op_type == "Sum" and len(n.input) == 2:
            new = net.node("Add", list(n.input), n.output[0], n)
        elif n.op_type == "ReduceMean" and shape is not None and len(shape) == 4:
            axes = given.get("axes", net.constants.get(n.input[1]) if len(n.input) > 1 else None)
            if axes is not None and sorted(int(a) % 4 for a in axes) == [2, 3] and given.get("keepdims", 1):
                new = net.node("GlobalAveragePool", [n.input[0]], n.output[0], n)
        elif (
            n.op_type == "AveragePool"
            and shape is not None
            and tuple(given["kernel_shape"]) == shape[2:]
            and not any(given.get("pads", ()))
        ):
            new = net.node("GlobalAveragePool", [n.input[0]], n.output[0], n)
        elif n.op_type == "Concat" and shape is not None and given["axis"] < 0:
            new = net.node("Concat", list(n.input), n.output[0], n, axis=given["axis"] + len(shape))
        if new is not None:
            net.replace(n, new)
            count += 1
    return count


def pads_of(net, n, kernel):
    """A window's explicit padding, and whether it was written otherwise."""
    given = attributes(n)
    pads, auto = list(given.get("pads", [0] * 4)), given.get("auto_pad", b"NOTSET").decode()
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    size, out = net.shape[n.input[0]][2:], net.shape[n.output[0]][2:]
    if auto == "VALID":
        pads = [0] * 4
    elif auto.startswith("SAME"):
        for i in range(2):
            whole = max(0, (out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size[i])
            small, large = whole // 2, whole - whole // 2
            pads[i], pads[2 + i] = (small, large) if auto == "SAME_UPPER" else (large, small)
    if given.get("ceil_mode"):
        for i in range(2):
            pads[2 + i] = max(
                pads[2 + i], (out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size[i] - pads[i]
            )
    return pads, auto != "NOTSET" or bool(given.get("ceil_mode"))


def windows(net):
    """Explicit padding, kernel sizes and biases."""
    count = 0
    for n in net.nodes:
        if n.op_type not in ("Conv", "MaxPool") or n.output[0] not in net.shape:
            continue
        if n.op_type == "Conv" and n.input[1] not in net.constants:
            continue
        kernel = net.constants[n.input[1]].shape[2:] if n.op_type == "Conv" else attributes(n)["kernel_shape"]
        if len(kernel) != 2:
            continue
        pads, other = pads_of(net, n, kernel)
        if other:
            for a in [a for a in n.attribute if a.name in ("auto_pad", "ceil_mode")]:
                n.attribute.remove(a)
            set_ints(n, "pads", pads)
            count += 1
        if n.op_type == "Conv" and (len(n.input) < 3 or not n.input[2]):
            del n.input[2:]
            n.input.append(net.constant(f"{n.input[1]}.bias", np.zeros(len(net.constants[n.input[1]]), np.float32)))
            count += 1
    return count


def pads(net):
    """Zeros around a tensor that only convolutions read belong to their padding."""
    count, readers = 0, net.readers()
    for n in list(net.nodes):
        if n.op_type != "Pad" or n.input[1] not in net.constants:
            continue
        amounts = [int(v) for v in net.constants[n.input[1]]]
        if len(n.input) > 3 and n.input[3]:
            continue
        fill = net.constants.get(n.input[2], np.zeros(1)) if len(n.input) > 2 and n.input[2] else np.zeros(1)
        users = readers.get(n.output[0], [])
        plain = (
            attributes(n).get("mode", b"constant") == b"constant"
            and fill.size == 1
            and fill.item() == 0
            and min(amounts) >= 0
        )
        if not any(amounts):
            net.rename(n.output[0], n.input[0])
        elif (
            plain
            and len(amounts) == 8
            and not any(amounts[i] for i in (0, 1, 4, 5))
            and users
            and n.output[0] not in net.outputs
            and all(
                u.op_type == "Conv" and u.input[0] == n.output[0] and "auto_pad" not in attributes(u) for u in users
            )
        ):
            for u in users:
                set_ints(
                    u,
                    "pads",
                    [
                        a + b
                        for a, b in zip(
                            attributes(u).get("pads", [0] * 4), (amounts[2], amounts[3], amounts[6], amounts[7])
                        )
                    ],
                )
                u.input[0] = n.input[0]
        else:
            continue
        count += 1
    net.prune()
    return count


# (transformation of coordinates, rounding) of nearest neighbours that come to each pixel twice
TWICE = {
    ("asymmetric", "floor"),
    ("asymmetric", "round_prefer_floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
    ("half_pixel_symmetric", "round_prefer_floor"),
    ("half_pixel_symmetric", "round_prefer_ceil"),
}


def doubling(given):
    """Whether the attributes of a Resize by two come to each pixel twice; whether to linear between their centres."""
    mode, place = (
        given.get("mode", b"nearest").decode(),
        given.get("coordinate_transformation_mode", b"half_pixel").decode(),
    )
    rounding = given.get("nearest_mode", b"round_prefer_floor").decode()
    return mode == "nearest" and (place, rounding) in TWICE, mode == "linear" and place in (
        "half_pixel",
        "pytorch_half_pixel",
        "half_pixel_symmetric",
    )


def resizes(net):
    """Resize by two with constant scales."""
    count = 0
    for n in list(net.nodes):
        if n.op_type not in ("Resize", "Upsample") or n.input[0] not in net.shape or n.output[0] not in net.shape:
            continue
        (_, c, h, w), out, given = net.shape[n.input[0]], net.shape[n.output[0]], attributes(n)
        nearest, linear = doubling(given)
        if out == (1, c, h, w):
            net.rename(n.output[0], n.input[0])
            count += 1
        elif out == (1, c, 2 * h, 2 * w) and (nearest or linear):
            more = (
                {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                if nearest
                else {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            )
            written = {k: v.decode() for k, v in given.items() if isinstance(v, bytes)}
            if written == more and len(n.input) == 3:
                continue
            net.replace(
                n,
                net.node(
                    "Resize",
                    [n.input[0], "", net.constant("twice", np.array([1, 1, 2, 2], np.float32))],
                    n.output[0],
                    n,
                    **more,
                ),
            )
            count += 1
    net.prune()
    return count


def per_channel(net, n):
    """(tensor, factors, addends) of a node that computes factor x + addend with constants per channel or one for
    all; else None."""
    if n.op_type == "BatchNormalization" and all(i in net.constants for i in n.input[1:]):
        gamma, beta, mean, variance = (net.constants[i].astype(np.float64) for i in n.input[1:5])
        factor = gamma / np.sqrt(variance + attributes(n).get("epsilon", 1e-5))
        return n.input[0], factor, beta - mean * factor
    if n.op_type not in ("Add", "Sub", "Mul", "Div") or len(net.shape.get(n.output[0], ())) != 4:
        return None
    at = [i for i, name in enumerate(n.input) if name in net.constants]
    if len(at) != 1:
        return None
    x, values = n.input[1 - at[0]], net.constants[n.input[at[0]]].astype(np.float64)
    channels = net.shape[n.output[0]][1]
    if (
        net.shape.get(x) != net.shape[n.output[0]]
        or values.size not in (1, channels)
        or (values.size > 1 and values.reshape((1,) * (4 - values.ndim) + values.shape).shape[1] != channels)
    ):
        return None
    v, one, none = np.broadcast_to(values.ravel(), (channels,)), np.ones(channels), np.zeros(channels)
    if n.op_type == "Div" and at[0] == 0:
        return None
    return x, *{
        "Add": (one, v),
        "Sub": (one, -v) if at[0] == 1 else (-one, v),
        "Mul": (v, none),
        "Div": (1 / np.where(v == 0, 1, v), none),
    }[n.op_type]


def affine(net):
    """A factor and an addend per channel: into a convolution, or one of its own."""
    count = 0
    for n in list(net.nodes):
        found = per_channel(net, n)
        if found is None:
            continue
        x, factor, addend = found
        producers, readers = net.producers(), net.readers()
        before, behind = producers.get(x), readers.get(n.output[0], [])
        if (
            before is not None
            and before.op_type == "Conv"
            and before.input[1] in net.constants
            and net.alone(x, readers) is n
        ):
            w, b = net.constants[before.input[1]], net.constants[before.input[2]] if len(before.input) > 2 else 0.0
            inputs = [
                before.input[0],
                net.constant(before.input[1], (w * factor[:, None, None, None]).astype(np.float32)),
                net.constant(f"{before.input[1]}.bias", (b * factor + addend).astype(np.float32)),
            ]
            net.replace(before, net.node("Conv", inputs, n.output[0], before, **attributes(before)))
            net.nodes = [m for m in net.nodes if m is not n]
        elif behind and n.output[0] not in net.outputs and all(takes_in(net, m, n.output[0], addend) for m in behind):
            for m in behind:
                w, b = net.constants[m.input[1]].astype(np.float64), net.constants[m.input[2]]
                m.input[0], m.input[1] = (
                    x,
                    net.constant(m.input[1], (w * factor[None, :, None, None]).astype(np.float32)),
                )
                m.input[2] = net.constant(
                    m.input[2], (b + (w * addend[None, :, None, None]).sum((1, 2, 3))).astype(np.float32)
                )
            net.nodes = [m for m in net.nodes if m is not n]
        else:
            c = len(factor)
            inputs = [
                x,
                net.constant(f"{n.output[0]}.factor", factor.reshape(c, 1, 1, 1).astype(np.float32)),
                net.constant(f"{n.output[0]}.addend", addend.astype(np.float32)),
            ]
            net.replace(n, net.node("Conv", inputs, n.output[0], n, group=c, kernel_shape=[1, 1]))
        count += 1
    net.prune()
    return count


def takes_in(net, node, tensor, addend):
    """Whether a convolution can apply a factor and an addend to its input: not where padding would be moved too."""
    padded = any(attributes(node).get("pads", ())) and np.any(addend)
    return (
        moves.plain(net, node, tensor)
        and len(node.input) == 3
        and node.input[2] in net.constants
        and "auto_pad" not in attributes(node)
        and not padded
    )


def groups(net):
    """Groups of channels, as dense weights with zeros."""
    count = 0
    for n in net.nodes:
        if n.op_type != "Conv" or n.input[1] not in net.constants or n.input[0] not in net.shape:
            continue
        w, g, c = net.constants[n.input[1]], attributes(n).get("group", 1), net.shape[n.input[0]][1]
        if g == 1 or (g == c and len(w) == c):
            continue
        dense = np.zeros((len(w), c, *w.shape[2:]), w.dtype)
        of = len(w) // g
        for i in range(g):
            dense[i * of : (i + 1) * of, i * w.shape[1] : (i + 1) * w.shape[1]] = w[i * of : (i + 1) * of]
        n.input[1] = net.constant(n.input[1], dense)
        for a in [a for a in n.attribute if a.name == "group"]:
            n.attribute.remove(a)
        count += 1
    return count


def silu(n, producers):
    """The Sigmoid of a Mul that is SiLU, else None."""
    if n.op_type == "Mul" and len(n.input) == 2:
        for x, y in (tuple(n.input), tuple(n.input)[::-1]):
            s = producers.get(y)
            if s is not None and s.op_type == "Sigmoid" and s.input[0] == x:
                return s
    return None


def gate(net, n):
    """Whether a Mul is a tensor times one value per channel; the tensor is then its first input."""
    if n.op_type != "Mul" or any(i in net.constants for i in n.input):
        return False
    a, b = (net.shape.get(i, ()) for i in n.input)
    if len(a) != 4 or len(b) != 4 or a[1] != b[1]:
        return False
    if a[2:] == (1, 1) and b[2:] != (1, 1):
        n.input[0], n.input[1] = n.input[1], n.input[0]
        a, b = b, a
    return b[2:] == (1, 1)


def lonely(net):
    """Gives every activation a convolution or an addition of its own."""
    producers, readers = net.producers(), net.readers()
    for n in list(net.nodes):
        s = silu(n, producers)
        if n.op_type not in ACTIVATIONS and s is None:
            continue
        if n.op_type == "Sigmoid" and any(silu(m, producers) is n for m in readers.get(n.output[0], ())):
            continue
        x = s.input[0] if s is not None else n.input[0]
        mine = [n] + ([s] if s is not None else [])
        before = producers.get(x)
        alone = x not in net.outputs and all(any(r is m for m in mine) for r in readers[x])
        if (before is not None and before.op_type in ("Conv", "Add") and alone) or len(net.shape.get(x, ())) != 4:
            continue
        c = net.shape[x][1]
        y = net.fresh(f"{x}.same")
        same = net.node(
            "Conv",
            [
                x,
                net.constant("one", np.ones((c, 1, 1, 1), np.float32)),
                net.constant("nothing", np.zeros(c, np.float32)),
            ],
            y,
            group=c,
            kernel_shape=[1, 1],
        )
        net.nodes.append(same)
        for m in mine:
            for i, name in enumerate(m.input):
                if name == x:
                    m.input[i] = y
    net.prune()


def refusals(net):
    """[(node, why)] of what the runtime does not lower."""
    producers, wrong = net.producers(), []
    for n in net.nodes:
        given, shape = attributes(n), net.shape.get(n.input[0], ())
        why = None
        if n.op_type == "Conv":
            w = net.constants.get(n.input[1])
            if w is None:
                why = f"its weights, {n.input[1]}, are not constant"
            elif w.ndim != 4:
                why = f"its weights have {w.ndim} dimensions"
            elif any(d != 1 for d in given.get("dilations", ())):
                why = f"it is dilated by {given['dilations']}"
            elif max(w.shape[2:]) > 8:
                why = f"its window of {w.shape[2]} x {w.shape[3]} is larger than 8 x 8"
        elif n.op_type in ("LeakyRelu", "Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh"):
            pass
        elif n.op_type == "PRelu":
            if net.constants.get(n.input[1], np.zeros(2)).size != 1:
                why = "it has a slope for each channel"
        elif n.op_type == "Clip":
            bounds = [net.constants.get(i) for i in n.input[1:]]
            if len(bounds) != 2 or any(b is None for b in bounds) or bounds[0].item() != 0:
                why = "only a Clip from 0 to a constant is lowered"
        elif n.op_type == "Mul":
            if silu(n, producers) is None and not gate(net, n):
                why = (
                    f"it multiplies tensors of {[net.shape.get(i) for i in n.input]}: a tensor times one value per "
                    f"channel is lowered, and SiLU"
                )
        elif n.op_type == "Add":
            shapes = [net.shape.get(i) for i in n.input]
            if shapes[0] != shapes[1] or any(i in net.constants for i in n.input):
                why = f"it adds tensors of {shapes}: two of one shape are lowered"
        elif n.op_type == "Concat":
            if given["axis"] != 1 or len(shape) != 4:
                why = f"it concatenates axis {given['axis']} of {shape}: channels are lowered"
        elif n.op_type == "Gather":
            if given.get("axis", 0) != 1 or len(shape) != 4:
                why = f"it takes from axis {given.get('axis', 0)} of {shape}: channels are lowered"
        elif n.op_type == "Resize":
            if net.shape.get(n.output[0]) != (1, shape[1], 2 * shape[2], 2 * shape[3]):
                why = f"it makes {net.shape.get(n.output[0])} of {shape}: twice the size is lowered"
            elif not any(doubling(given)):
                why = (
                    f"its form ({', '.join(f'{k} {v.decode()}' for k, v in given.items() if isinstance(v, bytes))}) "
                    f"does not come to twice each pixel or to half-pixel linear"
                )
        elif n.op_type == "MaxPool":
            if max(given["kernel_shape"]) > 16 or any(d != 1 for d in given.get("dilations", ())):
                why = f"its window is {given['kernel_shape']}, dilated by {given.get('dilations', [1, 1])}"
        elif n.op_type != "GlobalAveragePool":
            function = functions.sources(net).get(n.output[0], n.output[0]) != n.output[0]
            why = (
                "the function that it is part of is not known"
                if function
                else f"the runtime has no such operator (of {[net.shape.get(i) for i in n.input if i]})"
            )
        if why:
            wrong.append((n, why))
    return wrong

"""An ONNX detector as a graph over bytes that the runtime lowers: `image` in, `embedding_S` and `geometry_S` of each
stride out."""

import numpy as np
import onnx

from tarsier_recipe.foreign import heads
from tarsier_recipe.foreign.moves import plain
from tarsier_recipe.foreign.ncnn_onnx import normalised
from tarsier_recipe.foreign.net import ImportRefused, Net, fixed
from tarsier_recipe.foreign.simplify import per_channel, simplify

TOLERANCE = 2e-3  # of a head's largest value: fp32 sums in another order


def read(path, size, family, classes, cut=None):
    """(model, strides, the head's form for the manifest). Says what was found; refuses by name what cannot be taken."""
    try:
        model = onnx.load(path)
    except Exception as e:
        raise ImportRefused(f"is no ONNX file: {e}") from None
    net = Net(fixed(model, size))
    convolutions = heads.named(net, cut) if cut else heads.ends(net)
    found, exponential = [], False
    for stride, nodes in heads.levels(net, convolutions, size):
        roles = heads.roles(net, stride, nodes, classes, family.boxes, family.objectness)
        print(
            f"stride {stride}: " + ", ".join(f"{role} {n.name}[{a}:{b}]" for role, (n, a, b) in roles.items()),
            flush=True,
        )
        factor, exponential = heads.behind(net, roles["boxes"][0])
        # a box in pixels is one in strides that was multiplied by the stride; another factor is learnt
        found.append(
            (
                stride,
                {role: (n.output[0], a, b) for role, (n, a, b) in roles.items()},
                1.0 if np.isclose(factor, stride) else factor,
            )
        )
    if exponential and family.boxes != "distances":
        raise ImportRefused("an exponential follows the boxes, which this family does not have")
    net.outputs = list(dict.fromkeys(t for _, roles, _ in found for t, _, _ in roles.values()))
    net.prune()
    if len(net.inputs) != 1 or net.shape.get(net.inputs[0]) != (1, 3, size, size):
        raise ImportRefused(
            f"its heads are made from {', '.join(f'{i} {net.shape.get(i)}' for i in net.inputs)}, not from one "
            f"picture [1, 3, {size}, {size}]"
        )
    original, where = Net(net.model()), [(stride, dict(roles), factor) for stride, roles, factor in found]
    inner = normalisation(net)
    if inner is not None:
        print(
            f"normalises inside, by mean {np.round(inner[0], 3).tolist()} and deviation "
            f"{np.round(inner[1], 3).tolist()}: the family's is not applied",
            flush=True,
        )
    simplify(net)
    producers, levels = net.producers(), []
    for stride, roles, factor in where:
        levels.append((stride, {}))
        for role, (tensor, a, b) in roles.items():
            node = producers[tensor]
            if node.op_type != "Conv":
                raise ImportRefused(
                    f"{tensor}, which a last convolution should make, is made by {node.op_type} after rewriting"
                )
            x, w, bias = heads.parts(net, node)
            f = factor if role == "boxes" else 1.0
            levels[-1][1][role] = (x, w[a:b] * f, bias[a:b] * f)
    heads.attach(net, levels)
    compare(original, net, where, inner, size)
    mean, std = inner if inner is not None else (family.mean, family.std)
    over_bytes(net, mean, std, family)
    form = family.form(any("objectness" in roles for _, roles in levels))
    if exponential:
        form["boxes"] = "log_distances"
    return net.model(), tuple(stride for stride, _ in levels), form


def normalisation(net):
    """Takes affine operators on the picture out; returns (mean, deviation) by which they normalise, or nothing if
    there are none."""
    factor, addend, image, found = np.ones(3), np.zeros(3), net.inputs[0], False
    while True:
        readers = net.readers().get(image, [])
        step = per_channel(net, readers[0]) if len(readers) == 1 else None
        if step is None or step[0] != image:
            return (-addend / factor, 1 / factor) if found else None
        factor, addend, found = factor * step[1], addend * step[1] + step[2], True
        net.nodes = [n for n in net.nodes if n is not readers[0]]
        for n in net.nodes:
            for i, name in enumerate(n.input):
                if name == readers[0].output[0]:
                    n.input[i] = image
        if not factor.all():
            raise ImportRefused(f"{readers[0].name} multiplies the picture by {factor.tolist()}")


def compare(original, net, where, inner, size):
    """Refuses a rewriting that computes something else: both on one picture of smooth noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (1, 3, 8, 8)).repeat(-(-size // 8), 2).repeat(-(-size // 8), 3)[
        :, :, :size, :size
    ] + rng.normal(0, 0.2, (1, 3, size, size))
    x = x.astype(np.float32)
    raw = x if inner is None else (x * inner[1][None, :, None, None] + inner[0][None, :, None, None]).astype(np.float32)
    old = dict(zip(original.outputs, original.run({original.inputs[0]: raw})))
    new = dict(zip(net.outputs, net.run({net.inputs[0]: x})))
    worst = 0.0
    for stride, roles, factor in where:
        take = lambda role, f=1.0: old[roles[role][0]][:, roles[role][1] : roles[role][2]] * f
        geometry = [take("boxes", factor)] + ([take("objectness")] if "objectness" in roles else [])
        for name, expected in (
            (f"embedding_{stride}", take("classes")),
            (f"geometry_{stride}", np.concatenate(geometry, 1)),
        ):
            found = new[name][:, : expected.shape[1]]
            worst = max(worst, float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max())))
    print(f"rewritten heads differ by {worst:.1e} of their largest value", flush=True)
    if not worst < TOLERANCE:
        raise ImportRefused(
            f"the rewritten network computes something else: heads differ by {worst:.3g} of their largest value"
        )


def over_bytes(net, mean, std, family):
    """Folds normalisation and the order of channels into the first convolutions: the picture is RGB bytes minus
    `family.zero`."""
    image, fold = net.inputs[0], normalised(mean, std, family.zero, family.bgr)
    for n in net.readers()[image]:
        if not plain(net, n, image):
            raise ImportRefused(f"{n.name} ({n.op_type}) reads the picture: a dense convolution must")
        weights, bias = fold(net.constants[n.input[1]], net.constants[n.input[2]])
        n.input[0], n.input[1], n.input[2] = "image", net.constant(n.input[1], weights), net.constant(n.input[2], bias)
    net.inputs = ["image"]
    net.shape["image"] = net.shape[image]
    net.infer()

"""Every rewrite on a small graph: afterwards it is what the runtime lowers, and onnxruntime gets the same values
from it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tarsier_recipe.foreign import networks, reader
from tarsier_recipe.foreign.families import FAMILIES
from tarsier_recipe.foreign.net import ImportRefused, Net, fixed
from tarsier_recipe.foreign.simplify import simplify

RNG = np.random.default_rng(0)


class Builder:
    """A graph over `x` [1, 16, 8, 8] (or another shape) that begins with a convolution; `node` returns the name of
    what it made."""

    def __init__(self, shape=(1, 16, 8, 8), opset=17):
        self.nodes, self.constants, self.shape, self.opset = [], [], shape, opset

    def constant(self, values, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, out=16, inputs=16, k=1, bias=True, **attributes):
        w = [self.constant(RNG.normal(0, 0.3, (out, inputs, k, k)))] + (
            [self.constant(RNG.normal(0, 1, out))] if bias else []
        )
        return self.node("Conv", x, *w, **attributes)

    def model(self, *outputs):
        info = lambda n, s: helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        graph = helper.make_graph(
            self.nodes, "small", [info("x", self.shape)], [info(o, None) for o in outputs], self.constants
        )
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        )


def kinds(net):
    return sorted(n.op_type for n in net.nodes)


def check(builder, *outputs, size=None, prepare=lambda model: model):
    """Rewrites, compares, and returns the rewritten net."""
    model = builder.model(*outputs)
    net = Net(prepare(model))
    x = RNG.normal(0, 2, builder.shape).astype(np.float32)
    expected = Net(model).run({"x": x})
    simplify(net)
    for a, b in zip(expected, net.run({"x": x})):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return net


@pytest.mark.parametrize("form", ["reshape", "split", "slice", "gather"])
def test_movements_of_channels_become_gathers(form):
    b = Builder()
    x = b.conv("x", bias=False)
    if form == "reshape":
        y = b.node("Reshape", x, b.constant([1, 2, 8, 8, 8], np.int64))
        y = b.node("Reshape", b.node("Transpose", y, perm=[0, 2, 1, 3, 4]), b.constant([1, 16, 8, 8], np.int64))
    elif form == "split":
        parts = b.node("Split", x, b.constant([4, 12], np.int64), outputs=2, axis=1)
        y = b.node("Concat", parts[1], parts[0], axis=-3)
    elif form == "slice":
        y = b.node(
            "Slice",
            x,
            b.constant([12], np.int64),
            b.constant([4], np.int64),
            b.constant([1], np.int64),
            b.constant([-2], np.int64),
        )
    else:
        y = b.node("Gather", x, b.constant([3, 3, 15], np.int64), axis=1)
    channels = {"slice": 4, "gather": 3}.get(form, 16)
    net = check(b, b.conv(y, inputs=channels))
    assert kinds(net) == ["Conv", "Conv", "Gather"]


def test_movements_that_undo_each_other_disappear():
    b = Builder()
    parts = b.node("Split", b.conv("x"), b.constant([4, 12], np.int64), outputs=2, axis=1)
    net = check(b, b.conv(b.node("Concat", *parts, axis=1)))
    assert kinds(net) == ["Conv", "Conv"]


def test_focus_becomes_a_wider_window():
    b = Builder((1, 3, 16, 16))
    rows = lambda x, at, axis: b.node("Slice", x, *(b.constant([v], np.int64) for v in (at, 2**31, axis, 2)))
    parts = [rows(rows("x", dy, 2), dx, 3) for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1))]
    net = check(b, b.conv(b.node("Concat", *parts, axis=1), inputs=12, k=3, pads=[1, 1, 1, 1]))
    assert kinds(net) == ["Conv"]
    assert net.constants[net.nodes[0].input[1]].shape == (16, 3, 6, 6)


def scalar_chain(b, x, form):
    c = b.constant
    if form == "hardswish in pieces":
        y = b.node("Clip", b.node("Add", x, c(3.0)), c(0.0), c(6.0))
        return b.node("Div", b.node("Mul", x, y), c(6.0))
    if form == "hardswish by hardsigmoid":
        return b.node("Mul", x, b.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    if form == "hardsigmoid in pieces":
        return b.node("Div", b.node("Clip", b.node("Add", x, c(3.0)), c(0.0), c(6.0)), c(6.0))
    if form == "silu":
        return b.node("Mul", b.node("Sigmoid", x), x)
    if form == "leaky by max":
        return b.node("Max", x, b.node("Mul", x, c(0.1)))
    return b.node("Clip", x, c(0.0), c(6.0))


@pytest.mark.parametrize(
    "form, expected",
    [
        ("hardswish in pieces", ["HardSwish"]),
        ("hardswish by hardsigmoid", ["HardSwish"]),
        ("hardsigmoid in pieces", ["HardSigmoid"]),
        ("silu", ["Mul", "Sigmoid"]),
        ("leaky by max", ["LeakyRelu"]),
        ("relu6", ["Clip"]),
    ],
)
def test_functions_are_known_by_their_curve(form, expected):
    b = Builder()
    net = check(b, scalar_chain(b, b.conv("x"), form))
    assert kinds(net) == sorted(["Conv", *expected])


def test_an_unknown_function_is_refused_by_name():
    b = Builder()
    y = b.node("Softplus", b.conv("x"))
    with pytest.raises(ImportRefused, match=r"Softplus_1_0 \(Softplus\): the function that it is part of is not known"):
        simplify(Net(b.model(y)))


@pytest.mark.parametrize("place", ["behind", "before", "between"])
def test_batch_normalisation_goes_into_a_convolution(place):
    b = Builder()
    norm = lambda x: b.node(
        "BatchNormalization",
        x,
        *(
            b.constant(v)
            for v in (RNG.uniform(0.5, 2, 16), RNG.normal(0, 1, 16), RNG.normal(0, 1, 16), RNG.uniform(0.5, 2, 16))
        ),
    )
    if place == "behind":
        net = check(b, b.node("Relu", norm(b.conv("x"))))
        assert kinds(net) == ["Conv", "Relu"]
    elif place == "before":
        net = check(b, b.conv(norm(b.node("MaxPool", b.conv("x"), kernel_shape=[2, 2], strides=[2, 2]))))
        assert kinds(net) == ["Conv", "Conv", "MaxPool"]
    else:  # neither of its neighbours can take it: zeros around it must stay zeros
        y = norm(b.node("MaxPool", b.conv("x"), kernel_shape=[2, 2], strides=[2, 2]))
        net = check(b, b.conv(y, k=3, pads=[1, 1, 1, 1]))
        assert kinds(net) == ["Conv", "Conv", "Conv", "MaxPool"]


def test_a_factor_and_an_addend_per_channel_go_into_the_convolution():
    b = Builder()
    y = b.node(
        "Sub",
        b.constant(RNG.normal(0, 1, (1, 16, 1, 1))),
        b.node("Mul", b.conv("x"), b.constant(RNG.normal(0, 1, (16, 1, 1)))),
    )
    assert kinds(check(b, b.node("Relu", b.node("Div", y, b.constant(2.0))))) == ["Conv", "Relu"]


@pytest.mark.parametrize(
    "mode, place, rounding",
    [
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_ceil"),
        ("linear", "half_pixel", None),
        ("linear", "pytorch_half_pixel", None),
    ],
)
def test_resizing_by_two_gets_one_form(mode, place, rounding):
    b = Builder()
    more = {} if rounding is None else {"nearest_mode": rounding}
    y = b.node(
        "Resize",
        b.conv("x"),
        "",
        "",
        b.constant([1, 16, 16, 16], np.int64),
        mode=mode,
        coordinate_transformation_mode=place,
        **more,
    )
    net = check(b, b.conv(y))
    resize = next(n for n in net.nodes if n.op_type == "Resize")
    assert net.constants[resize.input[2]].tolist() == [1, 1, 2, 2]


def test_other_resizing_is_refused_by_name():
    b = Builder()
    y = b.node("Resize", b.conv("x"), "", b.constant([1, 1, 3, 3]), mode="nearest")
    with pytest.raises(ImportRefused, match="twice the size is lowered"):
        simplify(Net(b.model(b.conv(y))))
    b = Builder()
    y = b.node(
        "Resize",
        b.conv("x"),
        "",
        b.constant([1, 1, 2, 2]),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    with pytest.raises(ImportRefused, match="align_corners"):
        simplify(Net(b.model(b.conv(y))))


def test_padding_goes_into_the_window():
    b = Builder()
    y = b.node("Pad", b.conv("x"), b.constant([0, 0, 1, 0, 0, 0, 2, 1], np.int64))
    net = check(b, b.conv(y, k=3))
    assert kinds(net) == ["Conv", "Conv"]


@pytest.mark.parametrize("form", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_becomes_explicit(form):
    b = Builder()
    check(b, b.conv("x", k=3, strides=[2, 2], auto_pad=form))


def test_a_pooling_that_rounds_up_becomes_one_that_pads():
    b = Builder((1, 16, 9, 9))
    net = check(b, b.conv(b.node("MaxPool", b.conv("x"), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)))
    assert not any(a.name == "ceil_mode" for n in net.nodes for a in n.attribute)


def test_groups_become_a_dense_convolution():
    b = Builder()
    net = check(b, b.conv("x", inputs=4, k=3, group=4, pads=[1, 1, 1, 1]))
    assert net.constants[net.nodes[0].input[1]].shape == (16, 16, 3, 3)


@pytest.mark.parametrize("form", ["ReduceMean", "AveragePool"])
def test_squeeze_and_excitation_is_a_gate(form):
    b = Builder()
    x = b.node("Relu", b.conv("x"))
    mean = (
        b.node("ReduceMean", x, axes=[-1, 2], keepdims=1)
        if form == "ReduceMean"
        else b.node("AveragePool", x, kernel_shape=[8, 8])
    )
    gate = b.node("HardSigmoid", b.conv(b.node("Relu", b.conv(mean, 4)), 16, 4))
    net = check(b, b.conv(b.node("Mul", gate, x)))
    assert kinds(net).count("GlobalAveragePool") == 1
    product = next(n for n in net.nodes if n.op_type == "Mul")
    assert net.shape[product.input[1]] == (1, 16, 1, 1), "the gate is the second"


def test_an_activation_that_is_not_alone_gets_a_convolution_of_its_own():
    b = Builder()
    x = b.conv("x")
    net = check(b, b.conv(b.node("Add", x, b.node("HardSwish", x))))
    before = {o: n for n in net.nodes for o in n.output}
    act = next(n for n in net.nodes if n.op_type == "HardSwish")
    assert before[act.input[0]].op_type == "Conv" and len([n for n in net.nodes if act.input[0] in n.input]) == 1


def test_what_cannot_be_taken_is_listed_with_its_reason():
    b = Builder()
    y = b.node("Softmax", b.conv("x"), axis=1)
    y = b.conv(y, k=3, dilations=[2, 2], pads=[2, 2, 2, 2])
    with pytest.raises(ImportRefused) as e:
        simplify(Net(b.model(b.node("MatMul", y, y))))
    message = str(e.value)
    assert message.startswith("3 nodes cannot be taken:")
    for part in (
        "Softmax_1_0 (Softmax): the runtime has no such operator",
        "Conv_2_0 (Conv): it is dilated by [2, 2]",
        "MatMul_3_0 (MatMul)",
    ):
        assert part in message


@pytest.mark.parametrize(
    "family, make, opset",
    [
        ("picodet", lambda: networks.PicoDet(0.0625, 16, 16, 1), 11),
        ("rtmdet", lambda: networks.RtmDet(0.0313, 16, 16, 1), 17),
        ("yolox", lambda: networks.Mixed(16, 16), 13),
    ],
)
def test_heads_are_found_and_equal_the_original(tmp_path, family, make, opset, capsys):
    path = networks.export(networks.settled(make, 64), 64, tmp_path / "net.onnx", opset)
    model, strides, form = reader.read(path, 64, FAMILIES[family], 16)  # compares by itself, and refuses what differs
    assert [o.name for o in model.graph.output] == [f"{k}_{s}" for s in strides for k in ("embedding", "geometry")]
    assert strides == {"picodet": (8, 16, 32, 64), "rtmdet": (8, 16, 32), "yolox": (8, 16)}[family]
    assert form["objectness"] == {"picodet": "multiplies", "rtmdet": "best_class", "yolox": "multiplies"}[family]


def test_another_number_of_names_or_another_family_is_refused(tmp_path):
    path = networks.export(networks.settled(lambda: networks.Mixed(16, 16), 64), 64, tmp_path / "net.onnx")
    with pytest.raises(ImportRefused, match=r"channels; 80 names need 80 and 4 and 1"):
        reader.read(path, 64, FAMILIES["yolox"], 80)
    with pytest.raises(ImportRefused, match="channels; 16 names need 16 and 32"):
        reader.read(path, 64, FAMILIES["nanodet-plus"], 16)
    with pytest.raises(ImportRefused, match="--size says what it was exported at"):
        reader.read(path, 96, FAMILIES["yolox"], 16)
    with pytest.raises(ImportRefused, match="no convolution is called nothing"):
        reader.read(path, 64, FAMILIES["yolox"], 16, ["nothing"])


def test_logarithms_of_distances_and_normalisation_inside_are_seen(tmp_path):
    import torch

    class Whole(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net((x - torch.tensor([103.53, 116.28, 123.675]).view(1, 3, 1, 1)) / 57.0)

    net = Whole(networks.settled(lambda: networks.RtmDet(0.0313, 16, 16, 1, exponential=True), 64))
    model, _, form = reader.read(networks.export(net, 64, tmp_path / "net.onnx"), 64, FAMILIES["rtmdet"], 16)
    assert form["boxes"] == "log_distances"


def test_folding_keeps_a_stride_behind_a_convolution_visible():
    b = Builder((1, 3, 8, 8))
    y = b.node("Mul", b.conv("x", inputs=3), b.constant(8.0))
    assert "Mul" in [n.op_type for n in fixed(b.model(y), 8).graph.node]

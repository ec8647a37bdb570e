"""Teachers' answers that move with the picture, and a trunk whose derivative is computed another way."""

import random

import cv2
import numpy as np
import onnx
import pytest
import torch

from tarsier_recipe.detector import pool
from tarsier_recipe.detector.lite import Depthwise, Inverted
from tarsier_recipe.detector.teacher import OFFSETS, SIZE, brought, points, sparse, strides_of, together
from tarsier_recipe.quantise import without_six

STRIDES_OF = strides_of(SIZE)
POINTS = [points(SIZE, o) for o in OFFSETS]


def answers(seed):
    """Scores [L,80] of which few are not 0, and boxes around the points."""
    rng = np.random.default_rng(seed)
    scores = torch.zeros(len(STRIDES_OF), 80)
    at = torch.from_numpy(rng.choice(len(STRIDES_OF), 200, replace=False))
    scores[at, torch.from_numpy(rng.integers(0, 80, 200))] = torch.from_numpy(rng.uniform(0.05, 1, 200)).float()
    half = torch.from_numpy(rng.uniform(4, 40, (len(STRIDES_OF), 2))).float()
    return scores, half


class Says:
    """A teacher that knows its answer beforehand."""

    def __init__(self, points, scores, boxes):
        self.own, self.answer = points, (scores[None], boxes[None])

    def points(self, size):
        return self.own

    def __call__(self, rgb):
        return self.answer


def test_sparse_answers_come_to_what_whole_ones_come_to():
    given = [answers(n) for n in range(2)]
    boxes = [torch.cat([p - half, p + half], 1) for p, (_, half) in zip(POINTS, given)]
    teachers = [Says(p, s, b) for p, (s, _), b in zip(POINTS, given, boxes)]
    whole = together(teachers, torch.zeros(1, 3, SIZE, SIZE), 320)
    scale, shift = torch.tensor([320 / SIZE] * 2), torch.zeros(2)
    kept = brought([sparse(s, b, 0.01) for (s, _), b in zip(given, boxes)], POINTS, 320, scale, shift)
    assert torch.allclose(whole[0][0], kept[0]) and kept[0].any()
    some = kept[0].amax(1) > 0
    assert torch.allclose(whole[1][0][some], kept[1][some], atol=1e-3)


@pytest.mark.parametrize("size", [192, 256, 320])
@pytest.mark.parametrize("stride", [8, 16, 32, 64])
def test_on_which_level_an_answer_is_depends_on_its_size_in_the_students_picture_alone(size, stride):
    """Whatever level of the teacher's it came from."""
    side, scale = 100.0, torch.tensor([size / SIZE] * 2)
    scores = torch.zeros(len(STRIDES_OF), 80)
    at = int(((POINTS[1] - 256).abs().sum(1) + (STRIDES_OF != stride) * 1e6).argmin())
    scores[at, 3] = 0.8
    box = torch.cat([POINTS[1] - side / 2, POINTS[1] + side / 2], 1)
    target, _ = brought([sparse(scores, box, 0.1)], POINTS[1:], size, scale, torch.zeros(2))
    of = sorted(set(strides_of(size)[target.amax(1) > 0].tolist()))
    seen = side * size / SIZE
    assert of and of == [s for s in (8, 16, 32, 64) if 3.5 * s <= seen < 9 * s or (s == 8 and seen < 28)]


def test_a_mirrored_window_moves_scores_boxes_labels_and_photos():
    """A thing that only one location answers to is where its picture is, whatever the window."""
    picture = np.full((SIZE, SIZE, 3), 30, np.uint8)
    x0, y0, x1, y1 = 200, 240, 264, 320
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (250, 250, 250), -1)
    scores, name = torch.zeros(len(STRIDES_OF), 80), 17
    at = int(((POINTS[1] - torch.tensor([232.0, 280.0])).abs().sum(1) + (STRIDES_OF != 16) * 1e6).argmin())
    scores[at, name] = 0.8
    said = sparse(scores, torch.tensor([[x0, y0, x1, y1]], dtype=torch.float32).repeat(len(STRIDES_OF), 1), 0.1)
    nothing = sparse(torch.zeros_like(scores), torch.zeros(len(STRIDES_OF), 4), 0.1)
    labels = np.array([[x0, y0, x1, y1, name, 1]], np.float32)
    photos, seam = np.array([0, 1, 2, 3]), np.array([100, 300])
    again, mirrored = pool.Again(POINTS), 0
    for seed in range(20):
        item = (picture, labels, photos, seam, 1.0, [nothing, said])
        rgb, target, boxes, moved, quadrants, s, _ = again(item, 320, random.Random(seed))
        bright = np.argwhere(rgb.mean(2) > rgb.mean(2).min() + 60)
        if not len(moved) or not target.any():
            continue
        seen = np.array([*bright.min(0)[::-1], *(bright.max(0)[::-1] + 1)])
        location, found = divmod(int(target.argmax()), 80)
        assert found == name and target.max() == pytest.approx(0.4)  # the mean with a teacher that sees nothing
        inside = seen.clip(0, 320)
        assert np.abs(boxes[location].numpy().clip(0, 320) - inside).max() < 2.5
        assert np.abs(moved[0, :4] - inside).max() < 2.5
        left = [1, 0, 3, 2] if s[0] > 320 * 0.5 and list(quadrants) != [0, 1, 2, 3] else [0, 1, 2, 3]
        mirrored += left == [1, 0, 3, 2]
        assert list(quadrants) == left
    assert 3 < mirrored < 17


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("side", [12, 13])
def test_the_derivative_of_a_depthwise_convolution_is_autograds(k, stride, side):
    layer = Depthwise(8, k, stride).double()
    x = torch.rand(2, 8, side, side, dtype=torch.double, requires_grad=True)
    y = layer(x)
    g = torch.rand_like(y)
    own = torch.autograd.grad(y, (x, layer.bias), g)
    theirs = torch.autograd.grad(
        torch.nn.functional.conv2d(x, layer.weight, layer.bias, stride, k // 2, 1, 8), (x, layer.bias), g
    )
    assert all(torch.allclose(a, b) for a, b in zip(own, theirs))


@pytest.mark.parametrize(("channels", "k", "stride"), [(16, 3, 1), (16, 5, 2), (24, 5, 1)])
def test_a_block_written_out_is_the_block_of_modules(channels, k, stride):
    block = Inverted(16, channels, k, stride, 6).double()
    x = (
        (4 * torch.randn(2, 16, 13, 12, dtype=torch.double))
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
    )
    learnt = [x, *(q for q in block.parameters() if q.requires_grad)]
    results = []
    for block.written_out in (False, True):
        y = block(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), learnt)])
    assert all(torch.allclose(a, b) for a, b in zip(*results))


def test_only_a_clip_from_0_to_6_loses_its_bound():
    constant = lambda name, v: onnx.helper.make_tensor(name, 1, [], [v])  # noqa: E731
    nodes = [onnx.helper.make_node("Clip", ["x", "zero", high], [f"y_{high}"]) for high in ("six", "five")]
    graph = onnx.helper.make_graph(
        nodes, "g", [], [], [constant("zero", 0.0), constant("six", 6.0), constant("five", 5.0)]
    )
    model = onnx.helper.make_model(graph)
    assert without_six(model) == ["y_six"]
    assert [(n.op_type, list(n.input)) for n in model.graph.node] == [("Relu", ["x"]), ("Clip", ["x", "zero", "five"])]

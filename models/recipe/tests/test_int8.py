"""What train_int8 trains on is what the int8 graph computes, and what it learns comes back as weights."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tarsier_recipe import quantise
from tarsier_recipe.detector import train_int8
from tarsier_recipe.detector.export import digest, export, load, objectness_as_logit, objectness_as_stored
from tarsier_recipe.detector.student import Student
from tarsier_recipe.folders import BuildFolder
from tarsier_recipe.shape import SHAPE

SIZE = 64


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """A student of random weights and measured normalisation, its QDQ graph's path, pictures [8,3,64,64] in 0..1."""
    torch.manual_seed(0)
    build, student = BuildFolder(tmp_path_factory.mktemp("build")), Student()
    build.detector.mkdir()
    for path, m in student.named_modules():
        if ".lite." in path and isinstance(
            m, torch.nn.Conv2d
        ):  # nothing normalises there: as large behind a block as before it
            torch.nn.init.kaiming_normal_(m.weight)
            torch.nn.init.normal_(m.bias, std=0.2)
    photos = torch.randint(0, 256, (8, 3, SIZE, SIZE), dtype=torch.uint8)
    torch.optim.swa_utils.update_bn([photos.float() / 255], student)
    for m in student.modules():
        if isinstance(m, torch.nn.BatchNorm2d):  # as different between channels as those of a trained network
            torch.nn.init.uniform_(m.weight, 0.5, 2)
            torch.nn.init.normal_(m.bias, std=0.5)
    student = objectness_as_stored(student.eval()).requires_grad_(False)
    export(student, dict.fromkeys(("masks", "presence", "stuff")), photos.numpy(), SIZE, build.detector_fp32)
    np.savez(build.calibration_photos, image=photos.numpy())
    quantise.detector(build, tail=2e-5, weight_bits=7)
    return student, build.detector_qdq, photos.float() / 255


def test_it_computes_as_the_graph_does(quantised):
    student, path, x = quantised
    options = ort.SessionOptions()
    options.graph_optimization_level = (
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    )  # onnxruntime's int8 kernels saturate on some CPUs
    session = ort.InferenceSession(str(path), options)
    names = ["feature_8", "feature_64", "embedding_8", "embedding_64", "geometry_16"]
    graph = onnx.load(path).graph
    with torch.no_grad():
        networks = {"int8": train_int8.as_int8(student, graph)[0], "floats": student}
        found = {k: (n.backbone(x), n.head(n.backbone(x))) for k, n in networks.items()}
    most = 0.1 if SHAPE.depths else 0.2  # a tie that is rounded to the other side goes on through fifty layers
    pick = {k: [f[0], f[3], h[0][0], h[3][0], h[1][1]] for k, (f, h) in found.items()}
    for i, name in enumerate(names):
        graphs = np.concatenate([session.run([name], {"image": x[n : n + 1].numpy()})[0] for n in range(len(x))])
        error = {k: np.square(v[i].numpy() - graphs).mean() for k, v in pick.items()}
        assert error["int8"] < most * error["floats"], (name, error)


def test_weights_come_back_as_they_were(quantised):
    student, path, x = quantised
    before = {k: v.clone() for k, v in student.state_dict().items()}
    _, own = train_int8.as_int8(student, onnx.load(path).graph)
    for where, _, conv, norm in train_int8.convolutions(student):
        own[where].give(conv, norm)
    objectness_as_stored(objectness_as_logit(student))
    for k, v in student.state_dict().items():
        torch.testing.assert_close(v, before[k], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight(quantised):
    student, path, x = quantised
    network, own = train_int8.as_int8(student, onnx.load(path).graph)
    sum(e.square().mean() + g.square().mean() for e, g in network(x)).backward()
    assert all(m.depthwise or (m.weight.grad is not None and m.weight.grad.any()) for m in own.values())


def test_tuned_weights_count_only_with_the_weights_that_they_were_made_of(tmp_path):
    torch.manual_seed(0)
    build, first, second = BuildFolder(tmp_path), Student(), Student()
    build.detector.mkdir()
    torch.save(first.half().state_dict(), build.weights)  # as they are kept
    assert load(build, tuned=True) is None
    torch.save({"key": digest(build.weights), "student": second.state_dict()}, build.int8_weights)
    stem = lambda student: (student.backbone.stem if SHAPE.depths else student.backbone.lite.stem)[0].weight  # noqa: E731
    assert torch.equal(stem(load(build)), stem(first).float()) and torch.equal(
        stem(load(build, tuned=True)), stem(second)
    )
    torch.save(second.state_dict(), build.weights)
    assert load(build, tuned=True) is None

"""A network with a wider neck computes at first what the narrower one does, and its new channels learn."""

import pytest

torch = pytest.importorskip("torch")

from tarsier_recipe.detector.student import Backbone, Head  # noqa: E402
from tarsier_recipe.detector.widen import widen  # noqa: E402


def network(neck):
    return torch.nn.Sequential(Backbone(depths=(1, 1, 1, 1), neck=neck), Head(neck))


@pytest.mark.parametrize("training", [False, True])
def test_a_wider_neck_computes_the_same_and_learns(training):
    torch.manual_seed(1)
    narrow, wide = network(16).double(), network(24).double()
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict(), 16, 24))
    narrow.train(training)
    wide.train(training)
    x = torch.rand(2, 3, 128, 128, dtype=torch.double)
    outputs = wide(x)
    for level, other in zip(narrow(x), outputs):
        for a, b in zip(level, other):
            assert torch.allclose(a, b)
    sum(o.square().sum() for level in outputs for o in level).backward()
    head = wide[1].what[1][0].weight
    assert head[:, 16:].eq(0).all() and head.grad[:, 16:].abs().amax((0, 2, 3)).gt(0).any()

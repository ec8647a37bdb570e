"""Features as targets, and a head whose levels have normalisations of their own."""

import torch

from tarsier_recipe.detector.hints import CHANNELS, Hints
from tarsier_recipe.detector.renormalise import renormalise
from tarsier_recipe.detector.student import STRIDES, Head, LevelNorm


def test_features_that_are_a_map_of_the_teachers_are_no_distance_away_and_others_are():
    torch.manual_seed(0)
    hints = Hints(CHANNELS)
    for adapt in hints.adapt:
        torch.nn.init.dirac_(adapt.weight)
    theirs = [torch.randn(4, CHANNELS, n, n) for n in (8, 4, 2, 2)]
    assert hints([3 * t - 1 for t in theirs], theirs) < 1e-3  # whatever the scale and the offset of each channel
    assert hints([-t for t in theirs], theirs) > 1.9
    assert 0.8 < hints([torch.randn_like(t) for t in theirs], theirs) < 1.2


def test_each_level_is_normalised_with_its_own_mean():
    torch.manual_seed(0)
    head = Head(16, level_norms=True).train()
    features = [torch.randn(2, 16, n, n) * (1 + i) + 10 * i for i, n in enumerate((8, 4, 4, 4))]
    for _ in range(300):
        head(features)
    own = [m for m in head.modules() if isinstance(m, LevelNorm)]
    assert len(own) == 3
    means = torch.stack([norm.running_mean for norm in own[0]])
    assert (means[1:] - means[:-1]).abs().mean() > 0.5
    trained = head(features)
    head.eval()
    for a, b in zip(trained, head(features)):
        assert torch.allclose(a[0], b[0], atol=0.05) and torch.allclose(a[1], b[1], atol=0.05)


def test_weights_of_a_head_whose_levels_shared_a_normalisation_are_read():
    torch.manual_seed(0)
    old, new = Head(16, level_norms=False).eval(), Head(16, level_norms=True).eval()
    for module in old.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.weight)
    new.load_state_dict(old.state_dict())
    again = Head(16, level_norms=True).eval()
    again.load_state_dict(new.state_dict())
    features = [torch.randn(1, 16, 4, 4) for _ in STRIDES]
    for a, b, c in zip(old(features), new(features), again(features)):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], c[1])


def test_statistics_are_the_plain_mean_over_the_pictures_given_and_weights_stay():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.BatchNorm2d(8, momentum=0.03)).eval()
    before = [q.clone() for q in network.parameters()]
    batches = [torch.rand(4, 3, 6, 6) + i for i in range(3)]
    renormalise(network, batches)
    seen = torch.stack([network[0](x).mean((0, 2, 3)) for x in batches]).mean(0)
    assert torch.allclose(network[1].running_mean, seen, atol=0.02)
    assert network[1].momentum == 0.03 and not network[1].training
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters()))

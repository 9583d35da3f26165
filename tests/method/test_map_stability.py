"""Consistency of maps under small changes, and what is left of them when parameters are randomized."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map
from camal_rl.metrics import METRICS_BY_NAME, Shift, UniformNoise, explanation_consistency, randomization_check

IMAGE = torch.arange(6.0).view(1, 1, 2, 3)


def brightness(images):
    return images.float().mean(dim=1)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (Shift(columns=1), [[0, 0, 1], [3, 3, 4]]),
        (Shift(columns=-1), [[1, 2, 2], [4, 5, 5]]),
        (Shift(rows=1, columns=0), [[0, 1, 2], [0, 1, 2]]),
    ],
)
def test_shift_by_hand(shift, expected):
    moved = shift.apply(IMAGE)
    assert moved[0, 0].tolist() == expected
    assert torch.equal(*shift.align(IMAGE[0], moved[0]))
    with pytest.raises(ValueError, match="smaller than the image"):
        Shift(columns=3).align(IMAGE[0], IMAGE[0])


def test_noise_stays_within_its_amplitude():
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    noisy = UniformNoise(torch.Generator().manual_seed(0)).apply(images)
    assert noisy.dtype == torch.uint8
    values = [noisy[0, channel].unique().tolist() for channel in range(3)]
    assert values == [[0, 1, 2], [126, 127, 128, 129, 130], [253, 254, 255]]
    real = torch.zeros(1, 1, 40, 40)
    change = UniformNoise(torch.Generator().manual_seed(0), 0.5).apply(real)
    assert -0.5 <= change.min() < -0.48
    assert 0.48 < change.max() <= 0.5


def test_a_map_that_moves_with_the_image_is_consistent_one_that_stays_is_not():
    images = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    moves = explanation_consistency(brightness, images, Shift(rows=-1, columns=1))
    torch.testing.assert_close(moves.consistency_spearman, torch.ones(8))
    torch.testing.assert_close(moves.consistency_cosine, torch.ones(8))
    stays = explanation_consistency(lambda _: brightness(images), images, Shift(columns=1))
    assert abs(stays.means()["consistency_spearman"]) < 0.15
    assert all(name in METRICS_BY_NAME for name in stays.means())


def test_similarities_by_hand():
    maps = iter([torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[2.0, 1.0], [3.0, 4.0]]])])
    images = torch.rand(1, 1, 2, 2)
    noise = UniformNoise(torch.Generator().manual_seed(0))
    found = explanation_consistency(lambda _: next(maps), images, noise)
    assert float(found.consistency_spearman) == pytest.approx(0.8)
    assert float(found.consistency_cosine) == pytest.approx(29 / 30)


def test_small_noise_costs_less_than_large_noise():
    images = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    figures = [
        explanation_consistency(brightness, images, UniformNoise(torch.Generator().manual_seed(1), amplitude)).means()
        for amplitude in (0.0, 0.05, 1.0)
    ]
    for name in ("consistency_spearman", "consistency_cosine"):
        assert figures[0][name] == pytest.approx(1)
        assert 1 > figures[1][name] > 0.95 > figures[2][name] + 0.05


def test_dead_maps_are_undefined_and_chunks_change_nothing():
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images[1], images[2, 0, 4, 4], images[3] = 0, torch.nan, 1
    copied = images.clone()
    found = explanation_consistency(brightness, images, Shift())
    assert found.consistency_cosine.isnan().tolist() == [False, True, True, False, False]
    assert found.consistency_spearman.isnan().tolist() == [False, True, True, True, False]  # a constant has no ranks
    assert found.undefined() == {"consistency_spearman": 3, "consistency_cosine": 2}
    chunked = explanation_consistency(brightness, images, Shift(), chunk_size=2)
    torch.testing.assert_close(vars(found), vars(chunked), equal_nan=True)
    torch.testing.assert_close(images, copied, equal_nan=True)


def test_bad_consistency_input():
    noise = UniformNoise(torch.Generator())
    with pytest.raises(ValueError, match="explain must return maps"):
        explanation_consistency(lambda images: images, torch.rand(1, 1, 2, 2), noise)
    with pytest.raises(ValueError, match="at least one image"):
        explanation_consistency(brightness, torch.rand(0, 1, 2, 2), noise)
    with pytest.raises(ValueError, match="chunk_size"):
        explanation_consistency(brightness, torch.rand(1, 1, 2, 2), noise, chunk_size=0)


class Network(nn.Module):
    """Two convolutions and a head, with a CAM layer between."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 3)

    def forward(self, images):
        self.features = self.second(self.norm(self.first(images)).relu()).relu()
        return self.head(self.features.flatten(1))


def cam(network, images):
    score = network(images)[:, 0]
    return class_activation_map(network.features, score, "hirescam", rectify="absolute")


def network_and_images():
    torch.manual_seed(0)
    network = Network()
    images = torch.rand(6, 3, 8, 8)
    network(images).sum().backward()
    network.kept = [SimpleNamespace(features=network.features)]  # copy.deepcopy alone refuses tensors with a graph
    return network, images


def test_cascade_goes_from_the_top_and_leaves_the_network_as_it_is():
    network, images = network_and_images()
    state = copy.deepcopy(network.state_dict())
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    global_state = torch.get_rng_state()
    result = randomization_check(network, cam, images, torch.Generator().manual_seed(0), chunk_size=4)
    assert result.layers == ("head", "second", "norm", "first")
    assert result.rank_correlation.shape == (4, 6)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(old, new.grad) for old, new in zip(gradients, network.parameters(), strict=True))
    assert torch.equal(global_state, torch.get_rng_state())
    assert network.training
    assert network.kept[0].features is network.features
    assert network.features.requires_grad
    assert abs(result.means()["randomized_spearman"]) < 0.3
    assert list(result.stages()) == list(result.layers)
    assert result.undefined() == {"randomized_spearman": 0}


def test_a_parameter_of_the_network_itself_is_no_layer():
    class Gaussian(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_std = nn.Parameter(torch.ones(2))
            self.body = nn.Conv2d(3, 2, 1)

    network, images = Gaussian(), torch.rand(2, 3, 4, 4)
    found = randomization_check(
        network, lambda net, batch: net.body(batch).abs().sum(dim=1), images, torch.Generator().manual_seed(0)
    )
    assert found.layers == ("body",)


def test_stages_are_cumulative_and_reproducible():
    network, images = network_and_images()
    network.eval()
    seen = []

    def explain(given, batch):
        assert given is not network
        seen.append({name: value.clone() for name, value in given.state_dict().items()})
        return cam(given, batch)

    arguments = (network, explain, images, torch.Generator().manual_seed(3), ["head", "second"])
    first = randomization_check(*arguments)
    changed = [{name.split(".")[0] for name in stage if not torch.equal(stage[name], seen[0][name])} for stage in seen]
    assert changed == [set(), {"head"}, {"head", "second"}]
    trained, drawn = seen[0]["second.weight"], seen[2]["second.weight"]
    assert float(drawn.square().mean()) == pytest.approx(float(trained.square().mean()), rel=0.3)
    assert torch.equal(seen[1]["head.weight"], seen[2]["head.weight"])
    again = randomization_check(network, cam, images, torch.Generator().manual_seed(3), ["head", "second"])
    torch.testing.assert_close(first.rank_correlation, again.rank_correlation)
    other = randomization_check(network, cam, images, torch.Generator().manual_seed(4), ["head", "second"])
    assert not torch.equal(first.rank_correlation, other.rank_correlation)


def test_a_map_of_the_image_alone_is_found_out():
    network, images = network_and_images()
    result = randomization_check(network, lambda _, batch: brightness(batch), images, torch.Generator())
    assert result.means()["randomized_spearman"] == pytest.approx(1)
    assert result.stages() == pytest.approx(dict.fromkeys(result.layers, 1.0))


def test_zero_maps_are_undefined():
    network, images = network_and_images()
    images[2] = 0
    result = randomization_check(network, lambda _, batch: brightness(batch), images, torch.Generator())
    assert result.rank_correlation[-1].isnan().tolist() == [False, False, True, False, False, False]
    assert result.undefined() == {"randomized_spearman": 1}
    dead = randomization_check(network, lambda _, batch: 0 * brightness(batch), images, torch.Generator())
    assert math.isnan(dead.means()["randomized_spearman"])


@pytest.mark.parametrize("layers", [[], ["third"], ["relu"]])
def test_bad_layers(layers):
    network, images = network_and_images()
    network.relu = nn.ReLU()
    with pytest.raises(ValueError, match=r"no layer to randomize|those with parameters: 'first', 'norm'"):
        randomization_check(network, cam, images, torch.Generator(), layers)

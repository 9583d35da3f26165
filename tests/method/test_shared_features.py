"""Shared features: values and gradients are those of a slice and a plain product, whoever reads."""

import itertools

import pytest
import torch

from camal_rl.attention import weighted_channel_sums
from camal_rl.shared_features import SharedFeatures
from tests.method.watched_operations import LargeTensors

READERS = ("above", "some", "maps")
READ = [names for size in (1, 2, 3) for names in itertools.combinations(READERS, size)]
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "other": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


class Plain:
    """What SharedFeatures stands for."""

    def __init__(self, features, count):
        self.for_layers, self.for_maps = features, features[:count]

    def channel_sums(self, weights):
        return weighted_channel_sums(self.for_maps, weights)


def inputs(layout="contiguous", dtype=torch.float64):
    torch.manual_seed(0)
    features = LAYOUTS[layout](torch.randn(6, 3, 4, 5)).to(dtype).requires_grad_()
    above = torch.randn(60, 7, dtype=dtype, requires_grad=True)
    weights = torch.randn(2, 2, 3, dtype=dtype, requires_grad=True)
    return features, above, weights


def loss_of(shared, above, weights, read):
    parts = {
        "above": lambda: (shared.for_layers.flatten(1) @ above).square().sum(),
        "some": lambda: shared.for_maps.pow(3).sum(),
        "maps": lambda: shared.channel_sums(weights).pow(2).sum(),
    }
    return sum(parts[name]() for name in read)


def gradients_of(make, layout, read, second):
    tensors = inputs(layout)
    total = loss_of(make(tensors[0] * 1.0, 2), *tensors[1:], read)
    first = torch.autograd.grad(total, tensors, create_graph=second, allow_unused=True)
    if not second:
        return first
    size = sum(gradient.square().sum() for gradient in first if gradient is not None)
    return first + torch.autograd.grad(size, tensors, allow_unused=True)


@pytest.mark.parametrize("read", READ, ids="+".join)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("second", [False, True])
def test_gradients_are_those_of_a_slice_and_a_product(read, layout, second):
    found = gradients_of(SharedFeatures, layout, read, second)
    expected = gradients_of(Plain, layout, read, second)
    assert found[0] is not None
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_values_are_those_of_a_slice_and_a_product():
    features, _, weights = inputs()
    shared, plain = SharedFeatures(features, 2), Plain(features, 2)
    assert torch.equal(shared.for_layers, plain.for_layers)
    assert torch.equal(shared.for_maps, plain.for_maps)
    assert torch.equal(shared.channel_sums(weights), plain.channel_sums(weights))


@pytest.mark.parametrize("maps", [0, 1, 2, 3, 4])
def test_sums_taken_twice_or_of_more_maps_than_announced_have_the_same_gradient(maps):
    def gradients(shared, features, weights):
        total = shared.channel_sums(weights).pow(2).sum() + shared.channel_sums(weights * 2).pow(3).sum()
        return torch.autograd.grad(total, (features, weights))

    features, _, weights = inputs()
    found = gradients(SharedFeatures(features, 2, maps), features, weights)
    torch.testing.assert_close(found, gradients(Plain(features, 2), features, weights))


def test_a_backward_pass_that_ends_before_the_features_leaves_nothing_for_the_next():
    features, above, weights = inputs()
    shared = SharedFeatures(features, 2)
    of_maps, of_above = shared.channel_sums(weights).pow(2).sum(), (shared.for_layers.flatten(1) @ above).square().sum()
    torch.autograd.grad(of_maps, weights, retain_graph=True)
    (found,) = torch.autograd.grad(of_above, features, retain_graph=True)
    (expected,) = torch.autograd.grad((features.flatten(1) @ above).square().sum(), features)
    torch.testing.assert_close(found, expected)
    (again,) = torch.autograd.grad(of_above + of_maps, features)
    (of_both,) = torch.autograd.grad(loss_of(Plain(features, 2), above, weights, ("above", "maps")), features)
    torch.testing.assert_close(again, of_both)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_maps_add_no_gradient_of_the_features_size(layout):
    def made_by(make, read):
        features, above, weights = inputs(layout, torch.bfloat16)
        total = loss_of(make(features, 6), above, torch.cat([weights] * 3).detach().requires_grad_(), read)
        with LargeTensors(features.numel()) as large:
            total.backward()
        return len(large.made_by)

    with_maps, without = made_by(SharedFeatures, ("above", "maps")), made_by(SharedFeatures, ("above",))
    assert with_maps == without < made_by(Plain, ("above", "maps"))


def offset_gradients(make, flat):
    """Return the gradients of features and of an offset that is added to them, which share one gradient."""
    features, above, weights = inputs()
    shared = make(features * 1.0, 2)
    offset = torch.zeros(6, 60, dtype=torch.float64) if flat else torch.zeros_like(features)
    offset.requires_grad_()
    read = shared.for_layers.flatten(1) + offset if flat else (shared.for_layers + offset).flatten(1)
    total = (read @ above).square().sum() + shared.channel_sums(weights).square().sum()
    return torch.autograd.grad(total, [offset, features])


@pytest.mark.parametrize("flat", [False, True])
def test_a_gradient_that_another_reader_holds_is_left_as_it_is(flat):
    ours, plain = offset_gradients(SharedFeatures, flat), offset_gradients(Plain, flat)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)

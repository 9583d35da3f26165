"""Changes of Gaussian decisions against torch.distributions and values worked out by hand."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from camal_rl.metrics import (
    decision_change,
    deletion_effect,
    gaussian_action_drop,
    gaussian_decision_change,
    gaussian_divergence,
    gaussian_flip,
)
from camal_rl.metrics.changes import confidence

REFERENCE = torch.tensor([[0.0, 1.0, 1.0, 0.5], [0.5, -0.5, 0.2, 2.0]])


def moved(mean=0.0, factor=1.0):
    """Return the reference with other means and deviations, ``(1, 2, 4)``."""
    return torch.cat([REFERENCE[:, :2] + mean, REFERENCE[:, 2:] * factor], dim=1)[None]


def normal(outputs):
    mean, std = outputs.chunk(2, dim=-1)
    return Normal(mean, std)


def test_nothing_changes_where_nothing_changes():
    for change in (gaussian_action_drop, gaussian_divergence, gaussian_flip):
        torch.testing.assert_close(change(REFERENCE, REFERENCE[None]), torch.zeros(1, 2))


def test_the_drop_is_that_of_the_density_at_the_mean():
    one = torch.tensor([[0.0, 1.0]])
    # exp(-1/2) = .6065 of the density is left a standard deviation away; half of it where the deviation doubles.
    torch.testing.assert_close(gaussian_action_drop(one, torch.tensor([[[1.0, 1.0]]])), torch.tensor([[0.393469]]))
    torch.testing.assert_close(gaussian_action_drop(one, torch.tensor([[[0.0, 2.0]]])), torch.tensor([[0.5]]))
    torch.testing.assert_close(gaussian_action_drop(one, torch.tensor([[[0.0, 0.5]]])), torch.tensor([[-1.0]]))
    mean, after = REFERENCE[:, :2], moved(0.3, 1.5)
    ratio = (normal(after).log_prob(mean) - normal(REFERENCE).log_prob(mean)).sum(dim=-1).exp()
    torch.testing.assert_close(gaussian_action_drop(REFERENCE, after), 1 - ratio)


def test_the_divergence_is_that_of_the_two_gaussians():
    after = torch.cat([moved(0.3, 1.5), moved(-1.0, 0.7)])
    expected = kl_divergence(normal(REFERENCE), normal(after)).sum(dim=-1)
    torch.testing.assert_close(gaussian_divergence(REFERENCE, after), expected)
    by_hand = math.log(2) + (1 + 1) / 8 - 0.5
    found = gaussian_divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[[1.0, 2.0]]]))
    assert float(found) == pytest.approx(by_hand)


def test_an_action_is_another_one_beyond_a_standard_deviation_of_any_number():
    # The deviations are 1 and .5 in the first frame, .2 and 2 in the second.
    assert gaussian_flip(REFERENCE, moved(0.1)).tolist() == [[0, 0]]
    assert gaussian_flip(REFERENCE, moved(0.3)).tolist() == [[0, 1]]
    assert gaussian_flip(REFERENCE, moved(0.6)).tolist() == [[1, 1]]


def test_decisions_hold_all_four_and_nothing_where_nothing_applies():
    applies = torch.tensor([[True, True], [True, False]])
    values, after = torch.tensor([0.0, 2.0]), torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    policies = torch.cat([moved(0.3), moved(0.6, 2.0)])
    found = gaussian_decision_change(values, after, REFERENCE, policies, applies)
    torch.testing.assert_close(found.value[0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found.drop[0], gaussian_action_drop(REFERENCE, policies)[0])
    torch.testing.assert_close(found.divergence[1, :1], gaussian_divergence(REFERENCE, policies)[1, :1])
    assert found.flip[0].tolist() == [0, 1]
    for each in vars(found).values():
        assert each.isnan().tolist() == (~applies).tolist()
    with pytest.raises(ValueError, match=r"must be \(I, N"):
        gaussian_decision_change(values, after, REFERENCE, policies[:1], applies)
    probabilities = torch.full((2, 2), 0.5)
    discrete = decision_change(values, after, probabilities, probabilities.expand(2, 2, 2), applies)
    torch.testing.assert_close(discrete.value, found.value, equal_nan=True)


def test_gaussians_are_no_probabilities_that_confidence_could_follow():
    for change in (gaussian_action_drop, gaussian_divergence):
        assert confidence(REFERENCE, REFERENCE, change).isnan().all()


def test_outputs_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="means and deviations"):
        gaussian_divergence(torch.ones(2, 3), torch.ones(1, 2, 3))


def test_deletion_finds_the_pixel_that_the_mean_follows():
    images = torch.rand(2, 1, 4, 4)
    saliency = torch.zeros(2, 4, 4)
    saliency[:, 1, 2] = 1
    effect = {
        name: deletion_effect(images, each, answer, gaussian_action_drop, (0.0, 0.0625, 0.5)).deletion_effect.mean()
        for name, each in {"right": saliency, "wrong": saliency.flip(2)}.items()
    }
    assert effect["right"] > effect["wrong"]


def answer(images):
    """Return a Gaussian whose mean is one pixel."""
    mean = 5 * images[:, 0, 1, 2, None].float()
    return torch.cat([mean, torch.ones_like(mean)], dim=1)

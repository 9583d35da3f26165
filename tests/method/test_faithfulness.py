"""Changes of outputs and deletion figures, and that they tell maps that matter from maps that do not."""

import math

import pytest
import torch

from camal_rl.metrics import (
    FILLS,
    METRICS_BY_NAME,
    ClassScoreDrop,
    area_under_curve,
    deletion_effect,
    perturbation_curve,
    policy_divergence,
    preferred_action_drop,
    random_saliency,
    sarfa,
    value_change,
)

BEFORE = torch.tensor([[0.2, 0.5, 0.3]])
AFTER = torch.tensor([[[0.2, 0.5, 0.3]], [[0.6, 0.1, 0.3]], [[0.1, 0.8, 0.1]]])


def test_preferred_action_drop_by_hand():
    torch.testing.assert_close(preferred_action_drop(BEFORE, AFTER), torch.tensor([[0.0], [0.4], [-0.3]]))


def test_policy_divergence_by_hand():
    expected = [
        0.0,
        0.2 * math.log(0.2 / 0.6) + 0.5 * math.log(0.5 / 0.1),
        0.2 * math.log(2) + 0.5 * math.log(0.5 / 0.8) + 0.3 * math.log(3),
    ]
    torch.testing.assert_close(policy_divergence(BEFORE, AFTER), torch.tensor(expected).unsqueeze(1))
    certain = torch.tensor([[0.0, 1.0]])
    assert policy_divergence(certain, certain.unsqueeze(0)).item() == 0


def test_sarfa_by_hand():
    divergence = 2 / 3 * math.log((2 / 3) / 0.4) + 1 / 3 * math.log((1 / 3) / 0.6)
    specific = 1 / (1 + divergence)
    expected = [[0.0], [2 * 0.4 * specific / (0.4 + specific)], [0.0]]
    torch.testing.assert_close(sarfa(BEFORE, AFTER), torch.tensor(expected))


def test_value_change_by_hand():
    before = torch.tensor([[1.0], [3.0]])  # standard deviation 1
    after = torch.tensor([[[2.5], [3.0]], [[-1.0], [4.0]]])
    torch.testing.assert_close(value_change(before, after), torch.tensor([[1.5, 0.0], [2.0, 1.0]]))
    torch.testing.assert_close(value_change(10 * before, 10 * after), value_change(before, after))
    assert value_change(torch.ones(2, 1), torch.rand(3, 2, 1)).isnan().all()


def test_rounding_is_no_unit_of_changes():
    after = torch.tensor([[[2.5], [3.0]]])
    assert value_change(torch.tensor([[2.0], [2.003]]), after).isnan().all()  # deviation .0015, of 2.003
    found = value_change(torch.tensor([[2.0], [2.006]]), after)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.994]]) / 0.003, rtol=1e-3, atol=0)


def test_class_score_drop_by_hand():
    drop = ClassScoreDrop(torch.tensor([0]))
    torch.testing.assert_close(drop(BEFORE, AFTER), torch.tensor([[0.0], [-0.4], [0.1]]))
    before = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    after = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]])
    torch.testing.assert_close(ClassScoreDrop(torch.tensor([0, 1]))(before, after), torch.tensor([[0.4, -0.1]]))


@pytest.mark.parametrize(
    ("targets", "error", "match"),
    [
        (torch.tensor([0.0]), TypeError, "int64"),
        (torch.tensor([-1]), ValueError, "at least 0"),
        (torch.tensor([3]), ValueError, "below 3"),
        (torch.tensor([0, 0]), ValueError, "each of 1 frames, got 2"),
    ],
)
def test_bad_targets(targets, error, match):
    with pytest.raises(error, match=match):
        ClassScoreDrop(targets)(BEFORE, AFTER)


def test_area_under_curve():
    curve = torch.tensor([[0.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    torch.testing.assert_close(area_under_curve((0, 0.5, 1), curve), torch.tensor([0.75, 2.0]))
    torch.testing.assert_close(area_under_curve((0, 0.1, 0.4), curve), torch.tensor([0.35 / 0.4, 2.0]))
    with pytest.raises(ValueError, match="must increase"):
        area_under_curve((0, 0.5, 0.5), curve)
    with pytest.raises(ValueError, match="two or more points"):
        area_under_curve((0, 1), curve)


def reads_left_half(images):
    """A value: the mean of the left half."""
    return images[..., : images.shape[-1] // 2].mean(dim=(1, 2, 3)).unsqueeze(1)


def test_deletion_effect_by_hand():
    # Two images, left halves 1 and 3 (standard deviation of the value 1), fill 0, map = the left half.
    images = torch.zeros(2, 1, 4, 4)
    images[0, ..., :2], images[1, ..., :2] = 1, 3
    saliency = torch.zeros(2, 4, 4)
    saliency[..., :2] = 1
    arguments = {"fractions": (0, 0.25, 0.5, 1), "fill": "zero"}
    right = deletion_effect(images, saliency, reads_left_half, value_change, **arguments)
    torch.testing.assert_close(right.deletion_effect, torch.tensor([0.75, 2.25]))
    torch.testing.assert_close(right.deletion_change_auc, torch.tensor([0.75, 2.25]))
    torch.testing.assert_close(right.insertion_change_auc, torch.tensor([0.25, 0.75]))
    wrong = deletion_effect(images, 1 - saliency, reads_left_half, value_change, **arguments)
    torch.testing.assert_close(wrong.deletion_effect, torch.zeros(2))
    torch.testing.assert_close(wrong.insertion_change_auc, torch.tensor([0.75, 2.25]))
    assert right.means()["deletion_effect"] == pytest.approx(1.5)
    assert all(name in METRICS_BY_NAME for name in right.means())


@pytest.mark.parametrize("fill", FILLS)
def test_true_map_beats_random_map_beats_inverted_map(fill):
    torch.manual_seed(0)
    images = torch.rand(64, 3, 16, 16) * torch.rand(64, 1, 1, 1)
    images[..., :8, :8] += torch.rand(64, 3, 8, 8) > 0.5
    truth = torch.zeros(64, 16, 16)
    truth[:, :8, :8] = 1

    def policy(batch):
        logit = (batch[..., :8, :8].std(dim=(1, 2, 3)) - 0.3) * 10
        return torch.stack([logit, -logit], dim=1).softmax(dim=1)

    chance = random_saliency((64, 4, 4), (16, 16), torch.Generator().manual_seed(1))
    figures = [
        deletion_effect(images, saliency, policy, preferred_action_drop, fill=fill).means()["deletion_effect"]
        for saliency in (truth, chance, 1 - truth)
    ]
    assert figures[0] > figures[1] + 0.05
    assert figures[1] > figures[2] + 0.02


def test_dead_maps_are_left_out_and_counted():
    torch.manual_seed(0)
    images, saliency = torch.rand(4, 1, 4, 4), torch.rand(4, 4, 4)
    saliency[1] = 0
    saliency[2, 0, 0] = torch.nan
    effect = deletion_effect(images, saliency, reads_left_half, value_change)
    assert effect.deletion_effect.isnan().tolist() == [False, True, True, False]
    assert effect.insertion_change_auc.isnan().tolist() == [False, True, True, False]
    assert effect.undefined() == 2
    assert math.isfinite(effect.means()["deletion_change_auc"])


def test_random_saliency_is_coarse_and_reproducible():
    maps = random_saliency((3, 4, 4), (16, 16), torch.Generator().manual_seed(0))
    assert maps.shape == (3, 16, 16)
    assert 0 <= maps.min() <= maps.max() <= 1
    assert torch.equal(maps, random_saliency((3, 4, 4), (16, 16), torch.Generator().manual_seed(0)))
    assert not torch.equal(maps[0], maps[1])
    steps = maps.diff(dim=2).abs().mean()
    assert steps < torch.rand(3, 16, 16).diff(dim=2).abs().mean() / 2


def test_bad_input():
    with pytest.raises(ValueError, match="reference must be"):
        preferred_action_drop(BEFORE, BEFORE)
    with pytest.raises(ValueError, match=r"values must be \(N, 1\)"):
        value_change(BEFORE, AFTER)
    with pytest.raises(ValueError, match=r"in \(0, 0.5\]"):
        deletion_effect(torch.rand(1, 1, 2, 2), torch.rand(1, 2, 2), reads_left_half, value_change, (0, 0.8))


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_rise_s_area_is_the_probability_minus_ours(mode):
    generator = torch.Generator().manual_seed(0)
    images, saliency = torch.rand(3, 1, 4, 4, generator=generator), torch.rand(3, 4, 4, generator=generator)
    weights, labels, fractions = torch.rand(16, 3, generator=generator), torch.tensor([0, 2, 1]), (0, 0.25, 0.5, 1)

    def probabilities(batch):
        return (batch.flatten(1) @ weights).softmax(dim=1)

    ours = deletion_effect(images, saliency, probabilities, ClassScoreDrop(labels), fractions, "zero")
    outputs = perturbation_curve(images, saliency, probabilities, mode, fractions, "zero")
    rise = area_under_curve(fractions, outputs[:, range(3), labels])
    torch.testing.assert_close(getattr(ours, f"{mode}_change_auc"), probabilities(images)[range(3), labels] - rise)

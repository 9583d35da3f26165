"""All figures of one map and one fill: a linear model by hand, perfect, inverted, uniform and dead maps."""

import math

import pytest
import torch

from camal_rl.metrics import (
    FAITHFULNESS_METRICS,
    FILLS,
    ClassScoreDrop,
    deletion_effect,
    faithfulness,
    policy_divergence,
    preferred_action_drop,
    random_saliency,
    sarfa,
    value_change,
)

IMAGE = torch.tensor([[[[4.0, 3.0], [2.0, 1.0]]]])
FRACTIONS = (0, 0.25, 0.5, 1)
BY_HAND = {"fill": "zero", "fractions": FRACTIONS, "top": 0.25, "grid": (2, 2)}


def linear(images):
    """Two classes; the second has .09 times the sum of the pixels: .9 for IMAGE."""
    score = 0.09 * images.sum(dim=(1, 2, 3))
    return torch.stack([1 - score, score], dim=1)


def test_perfect_map_by_hand():
    result = faithfulness(IMAGE, IMAGE[:, 0], linear, preferred_action_drop, **BY_HAND)
    expected = {
        "deletion_effect": (0.36 + 0.63) / 2,
        "deletion_change_auc": 0.25 * 0.18 + 0.25 * 0.495 + 0.5 * 0.765,
        "insertion_change_auc": 0.25 * 0.72 + 0.25 * 0.405 + 0.5 * 0.135,
        "deletion_effect_lerf": (0.09 + 0.27) / 2,
        "order_gap": 0.495 - 0.18,
        "comprehensiveness": 0.36,
        "sufficiency": 0.54,
        "average_drop": 0.25,  # 4 * 1 + 3 * .75 + 2 * .5 + 1 * .25 = 7.5 of 10
        "increase_in_confidence": 0,
        "faithfulness_correlation": 1,
    }
    assert result.means() == pytest.approx(expected, abs=1e-6)
    assert list(result.means()) == [metric.name for metric in FAITHFULNESS_METRICS]
    assert set(result.undefined().values()) == {0}
    curves = result.curves()
    assert curves.pop("fractions") == list(FRACTIONS)
    assert set(curves) == {"deletion", "insertion", "deletion_lerf"}
    assert curves["deletion"] == pytest.approx([0, 0.36, 0.63, 0.9])
    assert curves["insertion"] == pytest.approx([0.9, 0.54, 0.27, 0], abs=1e-6)
    assert curves["deletion_lerf"] == pytest.approx([0, 0.09, 0.27, 0.9])


def test_inverted_map_by_hand():
    figures = faithfulness(IMAGE, 5 - IMAGE[:, 0], linear, ClassScoreDrop(torch.tensor([1])), **BY_HAND).means()
    assert figures["deletion_effect"] == pytest.approx(0.18)
    assert figures["order_gap"] == pytest.approx(0.18 - 0.495)
    assert figures["comprehensiveness"] == pytest.approx(0.09)
    assert figures["sufficiency"] == pytest.approx(0.81)
    assert figures["average_drop"] == pytest.approx(0.5)  # 4 * .25 + 3 * .5 + 2 * .75 + 1 = 5 of 10
    assert figures["faithfulness_correlation"] == pytest.approx(-1)


def test_other_class_by_hand():
    # The first class: .1 before, 1 - .09 * 7.5 = .325 for the image times its map.
    result = faithfulness(IMAGE, IMAGE[:, 0], linear, ClassScoreDrop(torch.tensor([0])), **BY_HAND)
    assert result.means()["average_drop"] == 0
    assert result.means()["increase_in_confidence"] == 1
    assert result.means()["comprehensiveness"] == pytest.approx(-0.36)


def test_uniform_map_has_no_correlation_and_no_drop():
    images = IMAGE.repeat(200, 1, 1, 1)
    result = faithfulness(images, torch.ones(200, 2, 2), linear, preferred_action_drop, **BY_HAND)
    assert result.undefined()["faithfulness_correlation"] == 200
    assert math.isnan(result.means()["faithfulness_correlation"])
    assert result.means()["average_drop"] == 0
    assert result.means()["increase_in_confidence"] == 0
    assert result.means()["order_gap"] == pytest.approx(0, abs=0.06)  # standard error .014


def test_values_have_no_confidence():
    torch.manual_seed(0)
    images, saliency = torch.rand(5, 1, 8, 8), torch.rand(5, 8, 8)
    result = faithfulness(images, saliency, lambda batch: 1 + batch.mean(dim=(2, 3)), value_change)
    assert result.undefined()["average_drop"] == result.undefined()["increase_in_confidence"] == 5
    assert result.undefined()["deletion_change_auc"] == result.undefined()["faithfulness_correlation"] == 0


def softmax_policy(images):
    flat = images.float().flatten(1)
    third = flat.shape[1] // 3
    return torch.stack([part.mean(dim=1) for part in flat.split(third, dim=1)], dim=1).mul(5).softmax(dim=1)


@pytest.mark.parametrize("change", [preferred_action_drop, policy_divergence, sarfa])
def test_equals_deletion_effect(change):
    torch.manual_seed(0)
    images, saliency = torch.rand(6, 3, 9, 9), torch.rand(6, 9, 9)
    whole = faithfulness(images, saliency, softmax_policy, change, "blur")
    part = deletion_effect(images, saliency, softmax_policy, change, fill="blur")
    for name, values in vars(part).items():
        torch.testing.assert_close(whole.metrics()[name], values)


def test_dead_maps_are_undefined_everywhere():
    torch.manual_seed(0)
    images, saliency = torch.rand(4, 3, 8, 8), torch.rand(4, 8, 8)
    saliency[1] = 0
    saliency[2, 0, 0] = torch.nan
    result = faithfulness(images, saliency, softmax_policy, preferred_action_drop)
    for values in result.metrics().values():
        assert values.isnan().tolist() == [False, True, True, False]
    assert result.undefined() == dict.fromkeys(result.means(), 2)
    alone = faithfulness(images[[0]], saliency[[0]], softmax_policy, preferred_action_drop)
    assert float(result.deletion_change_auc[0]) == pytest.approx(float(alone.deletion_change_auc[0]))
    assert not any(math.isnan(point) for curve in result.curves().values() for point in curve)
    none = faithfulness(images, 0 * saliency.nan_to_num(), softmax_policy, preferred_action_drop)
    assert all(math.isnan(mean) for mean in none.means().values())


def test_a_blind_model_earns_nothing():
    torch.manual_seed(0)
    blind = lambda images: torch.tensor([[0.3, 0.7]]).expand(len(images), -1)  # noqa: E731
    result = faithfulness(torch.rand(3, 1, 8, 8), torch.rand(3, 8, 8), blind, preferred_action_drop)
    means = result.means()
    assert means["deletion_effect"] == means["order_gap"] == means["comprehensiveness"] == 0
    assert result.undefined()["faithfulness_correlation"] == 3


@pytest.mark.parametrize("fill", FILLS)
def test_chunked_equals_unchunked_and_inputs_stay(fill):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    saliency = torch.randint(0, 4, (5, 8, 8)).float()
    copies = images.clone(), saliency.clone()

    def evaluate(batch):
        assert batch.dtype == torch.uint8
        assert len(batch) <= 5
        return softmax_policy(batch.float() / 255)

    arguments = {"evaluate": evaluate, "change": preferred_action_drop, "fill": fill, "subsets": 6}
    whole = faithfulness(images, saliency, **arguments, generator=torch.Generator().manual_seed(7))
    chunked = faithfulness(images, saliency, **arguments, generator=torch.Generator().manual_seed(7), chunk_size=2)
    for name, values in whole.metrics().items():
        torch.testing.assert_close(values, chunked.metrics()[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((images, saliency), copies)


def test_no_image_is_evaluated_twice():
    torch.manual_seed(0)
    seen = []

    def evaluate(batch):
        seen.extend(each.numpy().tobytes() for each in batch)
        return softmax_policy(batch)

    faithfulness(torch.rand(3, 3, 16, 16), torch.rand(3, 16, 16), evaluate, preferred_action_drop, subsets=5)
    assert len(seen) == len(set(seen)) == 3 * (23 + 5)


def test_true_map_beats_random_map_beats_inverted_map_in_every_figure():
    torch.manual_seed(0)
    images = torch.rand(64, 1, 16, 16) * 0.2
    images[..., :8, :8] += 0.7
    truth = torch.full((64, 16, 16), 0.01)
    truth[:, :8, :8] = 1

    def policy(batch):
        logit = (batch[..., :8, :8].mean(dim=(1, 2, 3)) - 0.5) * 6
        return torch.stack([logit, -logit], dim=1).softmax(dim=1)

    chance = random_saliency((64, 4, 4), (16, 16), torch.Generator().manual_seed(1))
    right, random, wrong = (
        faithfulness(images, each, policy, preferred_action_drop, top=0.25, grid=(4, 4)).means()
        for each in (truth, chance, 1.01 - truth)
    )
    for metric in FAITHFULNESS_METRICS:
        if metric.name == "increase_in_confidence":  # darkening never helps this policy
            continue
        sign = 1 if metric.higher_is_better else -1
        assert sign * right[metric.name] > sign * random[metric.name] > sign * wrong[metric.name], metric.name
    assert random["order_gap"] == pytest.approx(0, abs=0.1)
    assert random["faithfulness_correlation"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"images": IMAGE[:0], "saliency": IMAGE[:0, 0]}, ValueError, "at least one image"),
        ({"images": IMAGE.long()}, TypeError, "uint8 or floating"),
        ({"saliency": torch.ones(1, 1, 1)}, ValueError, "upsample_cam"),
        ({"fractions": (0, 0.8, 1)}, ValueError, r"in \(0, 0.5\]"),
        ({"fractions": (0.5, 0.2)}, ValueError, "must increase"),
        ({"fractions": (0.5,)}, ValueError, "two or more"),
        ({"top": 1}, ValueError, "top must be"),
        ({"fill": "noise"}, ValueError, "mean, blur, zero, road"),
        ({"grid": (3, 2)}, ValueError, "grid must have"),
        ({"subsets": 2}, ValueError, "at least 3"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
    ],
)
def test_bad_input(change, error, match):
    good = {"images": IMAGE, "saliency": IMAGE[:, 0], "evaluate": linear, "change": preferred_action_drop, **BY_HAND}
    with pytest.raises(error, match=match):
        faithfulness(**{**good, **change})


@pytest.mark.gpu
@pytest.mark.parametrize("fill", FILLS)
def test_the_same_on_cuda(fill):
    torch.manual_seed(0)
    images, saliency = torch.rand(4, 3, 8, 8), torch.rand(4, 8, 8)
    cpu = faithfulness(images, saliency, softmax_policy, preferred_action_drop, fill)
    cuda = faithfulness(images.cuda(), saliency.cuda(), softmax_policy, preferred_action_drop, fill)
    for name, values in cpu.metrics().items():
        torch.testing.assert_close(cuda.metrics()[name].cpu(), values, rtol=1e-4, atol=1e-4)

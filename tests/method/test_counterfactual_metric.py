"""Counterfactual faithfulness against figures worked out by hand and against SciPy."""

import json
import math

import pytest
import torch
from scipy.stats import spearmanr

from camal_rl.metrics.counterfactual import (
    attention_mass,
    changed_area,
    rank_correlation,
    summarize_counterfactuals,
)
from camal_rl.metrics.decision_change import DecisionChange, decision_change

NAN = math.nan


def regions(*columns):
    """One frame of 4 x 4; intervention i changes the first ``columns[i]`` columns."""
    changed = torch.zeros(len(columns), 1, 4, 4, dtype=torch.bool)
    for row, width in enumerate(columns):
        changed[row, 0, :, :width] = True
    return changed


def test_area_and_mass_by_hand():
    cam = torch.zeros(1, 4, 4)
    cam[0, :, 0], cam[0, :, 1] = 3.0, 1.0  # three quarters of the map in column 0, one quarter in column 1
    changed = regions(1, 2, 4, 0)
    torch.testing.assert_close(changed_area(changed), torch.tensor([[0.25], [0.5], [1.0], [NAN]]), equal_nan=True)
    expected = torch.tensor([[0.75], [1.0], [1.0], [NAN]])
    torch.testing.assert_close(attention_mass(cam, changed), expected, equal_nan=True)
    torch.testing.assert_close(attention_mass(8 * cam, changed), expected, equal_nan=True)


def test_coarse_maps_are_enlarged():
    cam = torch.tensor([[[1.0, 0.0]]])  # bilinear, pixel centers aligned: columns 1, .75, .25, 0
    torch.testing.assert_close(attention_mass(cam, regions(1, 2)), torch.tensor([[0.5], [0.875]]))


def test_mass_of_a_uniform_map_is_the_area():
    changed = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3
    torch.testing.assert_close(attention_mass(torch.full((3, 2, 2), 0.7), changed), changed_area(changed))


def test_maps_that_say_nothing_give_no_mass():
    cam = torch.ones(3, 4, 4)
    cam[0], cam[1, 0, 0] = 0.0, NAN
    mass = attention_mass(cam, regions(1, 2).expand(-1, 3, -1, -1))
    assert mass.isnan().tolist() == [[True, True, False]] * 2


def test_mass_in_parts_equals_mass_at_once_and_inputs_stay():
    generator = torch.Generator().manual_seed(1)
    cam = torch.rand(6, 3, 3, generator=generator)
    changed = torch.rand(4, 6, 9, 9, generator=generator) < 0.2
    before = cam.clone(), changed.clone()
    whole = attention_mass(cam, changed)
    parts = [attention_mass(cam[i : i + 2], changed[:, i : i + 2]) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert torch.equal(cam, before[0])
    assert torch.equal(changed, before[1])


def test_decision_change_by_hand():
    change = decision_change(
        values=torch.tensor([1.0, 3.0]),  # standard deviation 1
        values_after=torch.tensor([[1.5, 3.0], [-1.0, 9.0]]),
        probabilities=torch.tensor([[0.8, 0.2], [0.5, 0.5]]),
        probabilities_after=torch.tensor([[[0.4, 0.6], [0.5, 0.5]], [[0.8, 0.2], [0.1, 0.9]]]),
        applies=torch.tensor([[True, True], [True, False]]),
    )
    expected = {
        "value": [[0.5, 0.0], [2.0, NAN]],
        "drop": [[0.4, 0.0], [0.0, NAN]],
        "divergence": [[0.8 * math.log(2) + 0.2 * math.log(1 / 3), 0.0], [0.0, NAN]],
        "flip": [[1.0, 0.0], [0.0, NAN]],
    }
    for name, rows in expected.items():
        torch.testing.assert_close(getattr(change, name), torch.tensor(rows), equal_nan=True, atol=1e-6, rtol=1e-5)
    assert change.means()["value"].tolist() == [0.25, 2.0]


def test_rank_correlation_by_hand():
    rising = torch.tensor([[1.0], [2.0], [4.0]])
    assert rank_correlation(rising, rising**3).item() == pytest.approx(1)
    assert rank_correlation(rising, -rising).item() == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    tied = rank_correlation(torch.tensor([[0.0], [5.0], [5.0], [9.0]]), torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    assert tied.item() == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_rank_correlation_without_three_different_rows_is_undefined():
    x = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 1.0], [3.0, NAN, 1.0]])
    y = torch.tensor([[1.0, 1.0, 1.0], [3.0, 2.0, 2.0], [2.0, 3.0, 3.0]])
    assert rank_correlation(x, y).isnan().tolist() == [False, True, True]


def test_rank_correlation_agrees_with_scipy_on_ties_and_gaps():
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(0, 5, (9, 40), generator=generator).double()
    y = torch.randint(0, 5, (9, 40), generator=generator).double()
    x[torch.rand(9, 40, generator=generator) < 0.3] = NAN
    ours = rank_correlation(x, y)
    for column in range(40):
        kept = ~x[:, column].isnan()
        if kept.sum() >= 3 and len(x[kept, column].unique()) > 1 and len(y[kept, column].unique()) > 1:
            assert ours[column].item() == pytest.approx(spearmanr(x[kept, column], y[kept, column]).statistic)
        else:
            assert ours[column].isnan()


def agent(images, weight):
    """A linear agent: value the weighted sum of the pixels, policy a softmax of (value, 0)."""
    value = (images * weight).sum(dim=(-1, -2))
    return value, torch.stack([value, torch.zeros_like(value)], dim=-1).softmax(dim=-1)


def evidence(seed=0, frames=12):
    """Frames of 8 x 8, interventions that each blank one of four quadrants, and the agent that weighs them 8:4:2:1."""
    images = 0.5 + torch.rand(frames, 8, 8, generator=torch.Generator().manual_seed(seed))
    weight = torch.tensor([[0.08, 0.04], [0.02, 0.01]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    changed = torch.zeros(4, frames, 8, 8, dtype=torch.bool)
    for row in range(4):
        changed[row, :, 4 * (row // 2) :, 4 * (row % 2) :][:, :4, :4] = True
    value, policy = agent(images, weight)
    value_after, policy_after = agent(torch.where(changed, 0.0, images), weight)
    change = decision_change(value, value_after, policy, policy_after, changed.any(dim=3).any(dim=2))
    return weight, changed, change


def found(summary, **key):
    (one,) = [item for item in summary.agreements if all(getattr(item, name) == key[name] for name in key)]
    return one


def test_a_faithful_map_wins_and_an_inverted_or_random_one_does_not():
    weight, changed, change = evidence()
    frames = changed.shape[1]
    good = weight.expand(frames, -1, -1)
    noise = torch.rand(frames, 2, 2, generator=torch.Generator().manual_seed(3))
    mass = {"value": good, "policy": good, "inverted": 0.1 - good, "random": noise}
    names, kinds = ["a", "b", "c", "d"], ["remove"] * 3 + ["background"]
    area = changed_area(changed)
    masses = {name: attention_mass(cam, changed) for name, cam in mass.items()}
    summary = summarize_counterfactuals(names, kinds, change, area, masses)
    for attention in ("mass", "density"):
        best = found(summary, map="value", attention=attention, decision="value", group="all")
        assert best.per_frame > 0.95
        assert best.overall == pytest.approx(1)
        assert (best.frames, best.undefined, best.interventions) == (frames, 0, 4)
    worst = found(summary, map="inverted", attention="mass", decision="value", group="all")
    assert worst.per_frame < -0.95
    assert abs(found(summary, map="random", attention="mass", decision="value", group="all").per_frame) < 0.5
    even = found(summary, map="uniform", attention="mass", decision="value", group="all")
    assert math.isnan(even.per_frame)
    assert even.undefined == frames
    assert {item.group for item in summary.agreements} == {"all", "remove"}


def test_density_ranks_by_mass_over_area():
    area = torch.tensor([[0.1], [0.5], [0.9]])
    mass = {"value": torch.tensor([[0.1], [0.2], [0.7]])}  # densities 1, .4 and .78
    column = torch.tensor([[3.0], [1.0], [2.0]])
    summary = summarize_counterfactuals(list("abc"), ["remove"] * 3, DecisionChange(*[column] * 4), area, mass)
    agreement = {(item.map, item.attention): item.per_frame for item in summary.agreements if item.decision == "value"}
    assert agreement["value", "density"] == pytest.approx(1)
    assert agreement["value", "mass"] == pytest.approx(-0.5)  # ranks 1, 2, 3 against 3, 1, 2
    assert agreement["uniform", "mass"] == pytest.approx(-0.5)


def test_effects_count_and_average_where_the_intervention_applies():
    _, changed, change = evidence()
    changed = changed.clone()
    changed[2, :5] = False
    maps = torch.ones(12, 4, 4)
    maps[11] = 0
    area, mass = changed_area(changed), {"value": attention_mass(maps, changed)}
    summary = summarize_counterfactuals(list("abcd"), ["remove"] * 4, change, area, mass)
    effect = summary.effects[2]
    assert (effect.name, effect.kind, effect.frames) == ("c", "remove", 7)
    assert effect.area == pytest.approx(0.25)
    assert effect.density["value"] == pytest.approx(1)
    assert summary.undefined_maps == {"value": 1, "uniform": 0}
    assert found(summary, map="value", attention="mass", decision="value", group="all").undefined == 12
    written = json.loads(json.dumps(summary.to_dict()))
    assert written["effects"][0]["value"] == pytest.approx(change.value[0].mean().item())


def test_wrong_input_is_refused():
    changed = regions(1, 2)
    with pytest.raises(TypeError, match="must be bool"):
        changed_area(changed.float())
    with pytest.raises(ValueError, match="one map per frame"):
        attention_mass(torch.ones(2, 4, 4), changed)
    with pytest.raises(ValueError, match="non-negative"):
        attention_mass(-torch.ones(1, 4, 4), changed)
    with pytest.raises(ValueError, match="values must be"):
        decision_change(*[torch.ones(1, 1)] * 4, torch.ones(1, 1, dtype=torch.bool))
    _, changed, change = evidence()
    area = changed_area(changed)
    with pytest.raises(ValueError, match="added automatically"):
        summarize_counterfactuals(list("abcd"), ["remove"] * 4, change, area, {"uniform": area})

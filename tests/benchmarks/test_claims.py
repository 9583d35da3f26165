"""Tests of benchmarks/claims.py on small comparisons whose verdicts are known."""

import json

import numpy as np
import pytest


@pytest.fixture
def claims(load, monkeypatch, tmp_path):
    module = load("claims")
    monkeypatch.setattr(module, "FILES", tmp_path)
    return module


@pytest.fixture
def setting(claims):
    return claims.Setting("a game", "game", "ppo", "held_out", ("value",), "return/held_out", {})


def keep(folder, figures):
    """Write a kept comparison with the values of each figure and method, in the order of the seeds."""
    written = {
        figure: {
            name: {"seeds": {str(seed): value for seed, value in enumerate(each)}} for name, each in methods.items()
        }
        for figure, methods in figures.items()
    }
    (folder / "game.json").write_text(json.dumps({"figures": written}))


LOW, HIGH = (0.1, 0.2, 0.3, 0.4, 0.5), (0.6, 0.7, 0.8, 0.9, 1.0)


@pytest.mark.parametrize(
    ("camal", "ppo", "higher", "verdict"),
    [
        (HIGH, LOW, True, "yes"),
        (HIGH, LOW, False, "no: the contrary"),
        (LOW, HIGH, True, "no: the contrary"),
        (LOW, HIGH, False, "yes"),
        ((0.1, 0.7, 0.3, 0.9, 0.5), (0.2, 0.6, 0.4, 0.8, 1.0), True, "not shown"),
        (HIGH[:3], LOW[:3], True, "too few seeds"),
        (HIGH[:1], LOW, True, "too few seeds"),
    ],
)
def test_a_difference_is_shown_in_the_direction_that_it_has(claims, setting, tmp_path, camal, ppo, higher, verdict):
    keep(tmp_path, {"epg/value/held_out": {"camal": camal, "ppo": ppo}})
    (row,) = claims.tested([claims.comparison_row(setting, "epg/value/held_out")], higher)
    assert row["verdict"] == verdict


def test_p_is_corrected_over_the_rows_that_can_be_tested(claims, setting, tmp_path):
    keep(tmp_path, {"a": {"camal": HIGH, "ppo": LOW}, "b": {"camal": HIGH[:2], "ppo": LOW[:2]}})
    rows = claims.tested([claims.comparison_row(setting, name) for name in "aaab"], higher=True)
    # The smallest p of 5 against 5 runs is 2 / 252; three rows can be tested.
    assert [row["p"] for row in rows] == [f"{3 * 2 / 252:.4f}"] * 3 + ["none"]


@pytest.mark.parametrize(
    ("camal", "ppo", "verdict"),
    [(HIGH, LOW, "above"), (LOW, HIGH, "below"), (LOW, LOW, "neither is shown"), (HIGH[:2], LOW[:2], "too few seeds")],
)
def test_a_result_is_above_or_below_only_with_its_whole_interval(claims, setting, tmp_path, camal, ppo, verdict):
    keep(tmp_path, {"return/held_out": {"camal": camal, "ppo": ppo}})
    (row,) = claims.improvement(iter([(setting, "return/held_out", "held-out")]))
    assert row["verdict"] == verdict


def test_the_ratio_of_two_constants_has_no_width(claims):
    ratio = claims.ratio_interval([3.0, 3.0], [2.0, 2.0, 2.0], np.random.default_rng(0))
    assert ratio == {"estimate": 1.5, "low": 1.5, "high": 1.5}


def test_the_interval_of_a_ratio_is_that_of_its_resampled_means(claims):
    # Half of the resamples of two runs have the mean 2, a quarter each 1 and 3.
    ratio = claims.ratio_interval([1.0, 3.0], [2.0, 2.0], np.random.default_rng(0))
    assert ratio == {"estimate": 1.0, "low": 0.5, "high": 1.5}


@pytest.mark.parametrize(("camal", "verdict"), [(3.0, "yes"), (2.8, "yes"), (2.6, "no"), (-3.0, "no")])
def test_the_best_guided_peer_is_the_one_to_beat(claims, setting, tmp_path, camal, verdict):
    figure = "deletion_effect_net/value/held_out"
    methods = {"camal": [camal] * 3, "energy": [1.0] * 3, "l1": [2.0] * 3, "background_mix": [9.0] * 3}
    keep(tmp_path, {figure: methods})
    row = claims._faithfulness_row(setting, "value", "deletion", figure)
    assert (row["best_peer"], row["verdict"]) == ("l1", verdict)


def test_there_is_no_ratio_to_an_effect_below_0(claims, setting, tmp_path):
    figure = "deletion_effect_net/value/held_out"
    keep(tmp_path, {figure: {"camal": [1.0, 1.0], "energy": [2.0, -1.0]}})
    row = claims._faithfulness_row(setting, "value", "deletion", figure)
    assert (row["ratio"], row["verdict"][:8]) == ("none", "no ratio")


def test_the_summary_counts_every_row_once(claims):
    verdicts = ["yes", "above", "no", "below", "no: the contrary", "not shown", "no ratio: too small", "too few seeds"]
    (row,) = claims.summary({"alignment": [{"verdict": each} for each in verdicts]})
    assert row == {"claim": "alignment", "shown": 2, "contrary": 3, "neither": 2, "few": 1}


def test_without_the_figure_or_a_peer_there_is_no_row(claims, setting, tmp_path):
    keep(tmp_path, {"return/held_out": {"camal": HIGH, "ppo": LOW}})
    assert claims.comparison_row(setting, "epg/value/held_out") is None
    assert claims._faithfulness_row(setting, "value", "deletion", "return/held_out") is None


def test_an_undefined_value_leaves_the_row_out(claims, setting, tmp_path):
    keep(tmp_path, {"return/held_out": {"camal": (*LOW, None), "ppo": LOW}})
    assert claims.comparison_row(setting, "return/held_out") is None

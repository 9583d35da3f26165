"""Statistics over tasks and runs, against hand values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from camal_rl.aggregates import (
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

RAGGED = {"maze": [0.0, 1.0], "heist": [0.25, 0.5, 0.5, 0.75]}
EQUAL = np.array([[0.0, 0.3], [0.4, 0.9], [0.8, 1.6]])

values = st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def tasks(draw, least=1):
    count = draw(st.integers(1, 4))
    return {f"task {place}": draw(st.lists(values, min_size=least, max_size=6)) for place in range(count)}


def generator():
    return np.random.default_rng(0)


def test_optimality_gap_by_hand():
    assert optimality_gap([0.5, 0.75, 2.0]) == pytest.approx(1 - (0.5 + 0.75 + 1) / 3)
    assert optimality_gap(EQUAL) == pytest.approx(1 - (0 + 0.3 + 0.4 + 0.9 + 0.8 + 1) / 6)
    assert optimality_gap(EQUAL, target=0.5) == pytest.approx(0.5 - (0 + 0.3 + 0.4 + 0.5 + 0.5 + 0.5) / 6)
    assert optimality_gap([1.0, 7.0]) == 0


def test_every_task_weighs_the_same_however_many_runs_it_has():
    # Means of the tasks: .5 and .5; above the target nothing is cut.
    assert optimality_gap(RAGGED) == 0.5
    assert optimality_gap({"a": [0.0], "b": [1.0] * 9}) == 0.5
    # 5 of 6 pairs of the first task and 1 of 2 of the second.
    first, second = {"a": [3, 2], "b": [1]}, {"b": [0, 2], "a": [1, 2.5, 0]}
    assert probability_of_improvement(first, second) == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_interquartile_mean_of_tasks_with_different_numbers_of_runs_by_hand():
    # Weights 2 for maze, 1 for heist, in order: 0 (2), .25, .5, .5, .75, 1 (2): a quarter of 8 is cut at each end.
    assert interquartile_mean(RAGGED) == pytest.approx((0.25 + 0.5 + 0.5 + 0.75) / 4)
    # One run of a task weighs as much as four of the other: only whole scores are cut, and nothing of 4 in 8 is.
    assert interquartile_mean({"a": [10.0], "b": [0.0, 1.0, 2.0, 3.0]}) == pytest.approx((2 + 3 + 4 * 10) / 6)


def test_scores_by_name_are_the_same_as_columns():
    named = {"first": EQUAL[:, 0], "second": EQUAL[:, 1]}
    for statistic in (interquartile_mean, optimality_gap):
        assert statistic(named) == statistic(EQUAL)
        assert bootstrap_interval(named, generator(), statistic) == bootstrap_interval(EQUAL, generator(), statistic)


def test_a_statistic_of_the_users_own_gets_the_scores_in_their_form():
    def gap(scores):
        columns = scores.values() if isinstance(scores, dict) else scores.T
        return 1 - float(np.mean([np.minimum(each, 1).mean() for each in columns]))

    for scores in (EQUAL, RAGGED):
        own, shipped = (
            bootstrap_interval(scores, generator(), gap),
            bootstrap_interval(scores, generator(), optimality_gap),
        )
        assert [own.estimate, own.low, own.high] == pytest.approx([shipped.estimate, shipped.low, shipped.high])


def test_the_profile_is_the_share_of_runs_above_each_threshold():
    found = performance_profile(RAGGED, [-1, 0, 0.4, 0.5, 2], generator())
    # maze: 1, 1/2, 1/2, 1/2, 0; heist: 1, 1, 3/4, 1/4, 0.
    assert found.shares == pytest.approx([1, 0.75, 0.625, 0.375, 0])
    assert found.thresholds.tolist() == [-1, 0, 0.4, 0.5, 2]
    assert (found.low <= found.shares).all()
    assert (found.shares <= found.high).all()
    assert [found.low[0], found.high[0], found.low[-1], found.high[-1]] == [1, 1, 0, 0]


def test_the_interval_of_two_runs_of_one_task_by_hand():
    # Both runs the same in half of the resamples: the ends are the runs themselves.
    found = bootstrap_interval([0.0, 1.0], generator(), optimality_gap)
    assert (found.estimate, found.low, found.high) == (0.5, 0, 1)
    # Each pair is won: no resample can say otherwise.
    sure = improvement_interval([2, 3], [0, 1], generator())
    assert (sure.estimate, sure.low, sure.high) == (1, 1, 1)
    unsure = improvement_interval([0, 3], [1, 2], generator())
    assert (unsure.estimate, unsure.low, unsure.high) == (0.5, 0, 1)


def test_runs_of_both_methods_are_drawn_anew():
    # Only the second method's runs differ: their draws alone make the interval.
    found = improvement_interval([1, 1, 1], [0, 0, 2], generator())
    assert found.estimate == pytest.approx(2 / 3)
    assert (found.low, found.high) == (0, 1)


def test_the_spread_of_the_bootstrap_is_that_of_theory():
    scores = np.random.default_rng(1).normal(size=(200, 3))
    found = bootstrap_interval(scores, generator(), optimality_gap, resamples=4000)
    capped = np.minimum(scores, 1)
    half = 1.96 * np.sqrt((capped.var(axis=0) / 200).sum()) / 3
    assert [found.low, found.high] == pytest.approx([found.estimate - half, found.estimate + half], abs=0.1 * half)


@settings(max_examples=60, deadline=None)
@given(tasks(), tasks())
def test_bounds_hold_for_any_scores(first, second):
    flat = [value for runs in first.values() for value in runs]
    slack = 1e-9
    assert min(flat) - slack <= interquartile_mean(first) <= max(flat) + slack
    assert optimality_gap(first, target=max(flat)) + slack >= 0
    interval = bootstrap_interval(first, generator(), resamples=50)
    assert min(flat) - slack <= interval.low <= interval.high <= max(flat) + slack
    if set(first) == set(second):
        won, lost = probability_of_improvement(first, second), probability_of_improvement(second, first)
        assert won + lost == pytest.approx(1)
        assert probability_of_improvement(first, first) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(tasks())
def test_the_order_of_tasks_and_runs_does_not_matter(scores):
    turned = {name: runs[::-1] for name, runs in reversed(scores.items())}
    for statistic in (interquartile_mean, optimality_gap):
        assert statistic(turned) == pytest.approx(statistic(scores))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 1000))
def test_with_equal_numbers_of_runs_the_interquartile_mean_is_the_trimmed_mean(runs, count, seed):
    scores = np.random.default_rng(seed).normal(size=(runs, count)).round(1)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None))


def test_scores_are_not_changed():
    given_scores = {"a": np.array([3.0, 1.0]), "b": np.array([2.0, 0.0, 5.0])}
    before = {name: runs.copy() for name, runs in given_scores.items()}
    bootstrap_interval(given_scores, generator())
    improvement_interval(given_scores, given_scores, generator())
    performance_profile(given_scores, [0.5], generator())
    assert all((given_scores[name] == before[name]).all() for name in before)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: interquartile_mean({}), "at least one task"),
        (lambda: interquartile_mean({"maze": []}), r"scores of 'maze' must be \(runs,\) with at least one run"),
        (lambda: interquartile_mean({"maze": [1, np.nan]}), "scores of 'maze' must be finite"),
        (lambda: interquartile_mean([[1, 2], [3]]), "give a mapping from task names to runs"),
        (lambda: optimality_gap(["much"]), "scores must be numbers"),
        (lambda: optimality_gap([1.0], target=np.inf), "target must be a finite score"),
        (lambda: probability_of_improvement({"a": [1]}, {"b": [1]}), "same tasks, got a and b"),
        (lambda: probability_of_improvement({"a": [1]}, [1]), "in the same form"),
        (lambda: improvement_interval([1], [2], generator(), confidence=1), "between 0 and 1"),
        (lambda: performance_profile([1], [], generator()), "thresholds must be"),
        (lambda: performance_profile([1], [0.5], generator(), resamples=0), "resamples must be at least 1"),
    ],
)
def test_bad_input_is_one_clear_line(call, match):
    with pytest.raises(ValueError, match=match):
        call()

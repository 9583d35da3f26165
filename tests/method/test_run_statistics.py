"""Statistics over runs, against hand values, enumeration and SciPy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from camal_rl.statistics import (
    bootstrap_interval,
    holm,
    interquartile_mean,
    mann_whitney_p,
    probability_of_improvement,
    spread,
)


def test_spread():
    found = spread([1, 2, 3, 6])
    assert (found.mean, found.count) == (3, 4)
    assert found.std == pytest.approx(math.sqrt(14 / 3))
    assert math.isnan(spread([5.0]).std)


def test_interquartile_mean():
    assert interquartile_mean(range(1, 9)) == 4.5
    assert interquartile_mean([1, 2, 3, 1000]) == 2.5
    assert interquartile_mean(np.arange(1, 9).reshape(4, 2)) == 4.5
    assert interquartile_mean([7]) == 7
    for size in range(1, 20):
        scores = np.random.default_rng(size).normal(size=size)
        assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25))


def test_bootstrap_is_reproducible_and_contains_the_estimate():
    scores = np.random.default_rng(0).normal(size=(8, 3))
    first = bootstrap_interval(scores, np.random.default_rng(1))
    assert first == bootstrap_interval(scores, np.random.default_rng(1))
    assert first != bootstrap_interval(scores, np.random.default_rng(2))
    assert first.low < first.estimate < first.high
    assert first.estimate == interquartile_mean(scores)
    wide = bootstrap_interval(scores, np.random.default_rng(1), confidence=0.99)
    assert wide.low < first.low
    assert wide.high > first.high


def test_bootstrap_of_the_mean_is_close_to_theory():
    scores = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval(scores, np.random.default_rng(0), statistic=lambda values: float(values.mean()))
    half = 1.96 * scores.std() / 20
    assert found.low == pytest.approx(scores.mean() - half, abs=0.01)
    assert found.high == pytest.approx(scores.mean() + half, abs=0.01)


def test_bootstrap_is_stratified_by_task():
    # Runs agree within each task, tasks differ: only mixing tasks could widen the interval.
    scores = np.tile([0.0, 10.0, 50.0], (5, 1))
    found = bootstrap_interval(scores, np.random.default_rng(0), lambda values: float(values.mean()))
    assert (found.low, found.estimate, found.high) == (20, 20, 20)


def test_bootstrap_draws_runs_independently_per_task():
    # Two tasks whose runs cancel: drawing whole rows would always give 0.
    scores = np.array([[1.0, -1.0], [-1.0, 1.0], [3.0, -3.0]])
    found = bootstrap_interval(scores, np.random.default_rng(0), lambda values: float(values.mean()))
    assert found.low < -0.5
    assert found.high > 0.5


def test_probability_of_improvement():
    assert probability_of_improvement([1, 2, 3], [1, 2]) == pytest.approx((0.5 + 1 + 0.5 + 1 + 1) / 6)
    first, second = np.array([[1, 0], [2, 0]]), np.array([[0, 1], [0, 1]])
    assert probability_of_improvement(first, second) == 0.5
    assert probability_of_improvement(second + 5, first) == 1


@pytest.mark.parametrize(("runs", "smallest"), [(3, 0.1), (4, 2 / 70), (5, 2 / 252), (6, 2 / 924)])
def test_smallest_possible_p(runs, smallest):
    assert mann_whitney_p(range(runs), range(10, 10 + runs)) == pytest.approx(smallest)


def test_p_without_ties_equals_scipy_and_is_symmetric():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=7), rng.normal(0.8, size=5)
    expected = stats.mannwhitneyu(first, second, method="exact").pvalue
    assert mann_whitney_p(first, second) == pytest.approx(expected)
    assert mann_whitney_p(second, first) == pytest.approx(expected)


def test_p_with_ties_equals_enumeration():
    first, second = [1.0, 2.0, 2.0, 5.0], [2.0, 3.0, 5.0, 6.0, 6.0]
    ranks = stats.rankdata(first + second)
    sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(9), 4)])
    observed = ranks[:4].sum()
    expected = min(1, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))
    assert mann_whitney_p(first, second) == pytest.approx(expected)
    assert mann_whitney_p([1, 1, 1], [1, 1, 1]) == 1


def test_p_with_ties_and_many_runs_uses_the_corrected_approximation():
    first, second = np.arange(30) % 7, np.arange(30) % 7 + 2
    expected = stats.mannwhitneyu(first, second, method="asymptotic").pvalue
    assert mann_whitney_p(first, second) == pytest.approx(expected)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: spread([]), "at least one run"),
        (lambda: spread([[1, 2]]), r"\(runs,\)"),
        (lambda: interquartile_mean(np.zeros((2, 2, 2))), r"\(runs, tasks\)"),
        (lambda: interquartile_mean([1, math.nan]), "finite"),
        (lambda: probability_of_improvement(np.zeros((2, 3)), np.zeros((2, 2))), "3 and 2 tasks"),
        (lambda: mann_whitney_p([1, 2], [math.inf]), "second must be finite"),
        (lambda: holm([0.5, 1.2]), r"\[0, 1\]"),
        (lambda: bootstrap_interval([1, 2], np.random.default_rng(0), confidence=95), "between 0 and 1"),
        (lambda: bootstrap_interval([1, 2], np.random.default_rng(0), resamples=0), "resamples"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()

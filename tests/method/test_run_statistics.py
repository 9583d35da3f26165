"""Statistics over runs, against hand values, enumeration and SciPy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from camal_rl.statistics import (
    bootstrap_interval,
    hedges_g,
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


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_is_that_of_statsmodels(count):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    # Rounded, so that there are ties.
    values = np.random.default_rng(count).uniform(0, 0.2, count).round(2)
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])


def test_hedges_g_by_hand():
    # Variances 1 and 4: pooled 2.5. Of 4 degrees of freedom J is gamma(2) / (sqrt(2) gamma(1.5)) = sqrt(2 / pi).
    found = hedges_g([1, 2, 3], [2, 4, 6])
    assert found.estimate == pytest.approx(-2 / math.sqrt(2.5) * math.sqrt(2 / math.pi))
    turned = hedges_g([2, 4, 6], [1, 2, 3])
    assert [turned.estimate, turned.low, turned.high] == pytest.approx([-found.estimate, -found.high, -found.low])
    # The usual approximation of J, 1 - 3 / (4 n - 1), for more runs.
    first, second = np.arange(8.0), np.arange(8.0) ** 1.5
    cohen = (first.mean() - second.mean()) / math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert hedges_g(first, second).estimate == pytest.approx(cohen * (1 - 3 / (4 * 14 - 1)), rel=1e-3)


@pytest.mark.parametrize(("shift", "runs"), [(0, (2, 2)), (0.3, (5, 5)), (-2, (5, 3)), (9, (8, 8))])
def test_the_interval_of_hedges_g_is_where_the_noncentral_t_has_its_quantiles(shift, runs):
    rng = np.random.default_rng(0)
    first, second = rng.normal(shift, size=runs[0]), rng.normal(size=runs[1])
    found, wider = hedges_g(first, second), hedges_g(first, second, confidence=0.99)
    t, unit, free = stats.ttest_ind(first, second).statistic, math.sqrt(sum(1 / each for each in runs)), sum(runs) - 2
    correction = found.estimate / (t * unit)
    below, above = (stats.nct.cdf(t, free, end / (correction * unit)) for end in (found.low, found.high))
    assert (below, above) == pytest.approx((0.975, 0.025), abs=1e-5)
    assert wider.low < found.low < found.estimate < found.high < wider.high


def test_the_interval_of_hedges_g_is_the_same_on_both_sides_of_its_approximation():
    spread_of_one = np.array([-1.0, 0.0, 1.0])
    exact, approximate = (hedges_g(spread_of_one + gap, spread_of_one) for gap in (815.0, 818.0))
    assert [exact.low / 815, exact.high / 815] == pytest.approx(
        [approximate.low / 818, approximate.high / 818], rel=1e-3
    )
    lower = hedges_g(spread_of_one - 818, spread_of_one)
    assert (lower.low, lower.high) == pytest.approx((-approximate.high, -approximate.low))
    assert all(math.isfinite(end) for end in vars(hedges_g(spread_of_one + 1e9, spread_of_one)).values())


def test_without_spread_there_is_no_effect_size():
    assert hedges_g([1.0], [2.0, 3.0]) is None
    assert hedges_g([1.0, 1.0], [2.0, 2.0]) is None
    # .1 + .2 and .3 differ by their rounding alone.
    assert hedges_g([0.1 + 0.2, 0.3], [0.3, 0.3]) is None
    assert hedges_g([0.0, 0.0], [0.0, 0.0]) is None


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
        (lambda: hedges_g([1, 2], [math.nan, 1]), "second must be finite"),
        (lambda: hedges_g([1, 2], [3, 4], confidence=0), "between 0 and 1"),
        (lambda: bootstrap_interval([1, 2], np.random.default_rng(0), confidence=95), "between 0 and 1"),
        (lambda: bootstrap_interval([1, 2], np.random.default_rng(0), resamples=0), "resamples"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()

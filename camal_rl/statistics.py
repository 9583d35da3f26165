"""Statistics over training runs of one task: spread, intervals, and comparisons of two methods.

Scores are ``(runs,)``: one number for each seed. Statistics over several tasks, and all bootstrap intervals, are in
:mod:`camal_rl.aggregates`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from camal_rl.aggregates import (
    CONFIDENCE,
    Interval,
    bootstrap_interval,
    interquartile_mean,
    mean_score,
    probability_of_improvement,
    run_scores,
)

__all__ = [
    "EXACT_ARRANGEMENTS",
    "Interval",
    "Spread",
    "bootstrap_interval",
    "hedges_g",
    "holm",
    "interquartile_mean",
    "mann_whitney_p",
    "mean_interval",
    "probability_of_improvement",
    "smallest_p",
    "spread",
]

EXACT_ARRANGEMENTS = 200_000
"""Up to this number of ways to split the runs, tied samples are compared exactly (10 against 10 runs: 184,756)."""

# Runs whose values differ only by rounding count as equal.
_ROUNDING = 1e-12
# Above this t, the error of the mean is negligible beside that of the standard deviation: less than 1e-3 of the bounds.
_LARGE_T = 1000.0


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one method's runs; ``std`` divides by n - 1 and is NaN for a single run."""

    mean: float
    std: float
    count: int


def spread(scores: npt.ArrayLike) -> Spread:
    """Return mean, sample standard deviation and number of ``scores (runs,)``."""
    values = run_scores(scores, "scores")
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Spread(float(values.mean()), std, len(values))


def mean_interval(scores: npt.ArrayLike) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean of ``(runs,)`` with a fixed seed; None for fewer than two runs."""
    if np.size(scores) < 2:
        return None
    return bootstrap_interval(scores, np.random.default_rng(0), statistic=mean_score)


def hedges_g(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """Return Hedges' g and its interval: the mean of ``first`` minus that of ``second``, in standard deviations.

    Hedges' g (Hedges 1981, doi:10.3102/10769986006002107): ``J (mean1 - mean2) / s`` with the pooled standard deviation
    ``s`` and the factor that corrects the bias of few runs, ``J = gamma(n / 2) / (sqrt(n / 2) gamma((n - 1) / 2))`` for
    ``n = runs1 + runs2 - 2``. The interval is from the noncentral t distribution, which is exact for normally
    distributed runs with equal variance.

    Args:
        first: ``(runs,)``.
        second: ``(runs,)``; the numbers of runs may differ.
        confidence: in (0, 1).

    Returns:
        ``None`` with fewer than two runs of either method, or if all runs of each method have the same value.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    left, right = run_scores(first, "first"), run_scores(second, "second")
    if min(len(left), len(right)) < 2:
        return None
    free = len(left) + len(right) - 2
    pooled = math.sqrt((left.var() * len(left) + right.var() * len(right)) / free)
    if pooled <= _ROUNDING * max(np.abs(left).max(), np.abs(right).max()):
        return None
    unit = math.sqrt(1 / len(left) + 1 / len(right))
    t = float((left.mean() - right.mean()) / (pooled * unit))
    correction = math.exp(special.gammaln(free / 2) - special.gammaln((free - 1) / 2)) / math.sqrt(free / 2)
    low, high = (_noncentrality(free, level, t) for level in ((1 + confidence) / 2, (1 - confidence) / 2))
    return Interval(correction * unit * t, correction * unit * low, correction * unit * high)


def _noncentrality(free: int, level: float, t: float) -> float:
    """Return the noncentrality for which ``t`` is the quantile ``level`` of the noncentral t distribution."""
    if abs(t) <= _LARGE_T:
        return float(special.nctdtrinc(free, level, t))
    of_variance = 1 - level if t > 0 else level
    return t * math.sqrt(stats.chi2.ppf(of_variance, free) / free)


def mann_whitney_p(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test between two methods' runs.

    Exact without ties (3 against 3 runs cannot go below .10, 5 against 5 below .008). With ties, exact over
    all splits of the pooled runs up to :data:`EXACT_ARRANGEMENTS` of them, beyond that the normal
    approximation with tie correction.
    """
    left, right = run_scores(first, "first"), run_scores(second, "second")
    pooled = np.concatenate([left, right])
    if len(np.unique(pooled)) == len(pooled):
        return float(stats.mannwhitneyu(left, right, alternative="two-sided", method="exact").pvalue)
    if math.comb(len(pooled), len(left)) > EXACT_ARRANGEMENTS:
        return float(stats.mannwhitneyu(left, right, alternative="two-sided", method="asymptotic").pvalue)
    ranks = stats.rankdata(pooled)
    result = stats.permutation_test(
        (ranks[: len(left)], ranks[len(left) :]),
        lambda sample, _, axis: np.sum(sample, axis=axis),
        vectorized=True,
        n_resamples=np.inf,
        alternative="two-sided",
    )
    return float(result.pvalue)


def smallest_p(first: int, second: int) -> float:
    """Return the smallest possible two-sided p of an exact Mann-Whitney test with these numbers of runs."""
    return min(1.0, 2 / math.comb(first + second, first))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for testing all of them (Holm 1979), in the given order.

    In ascending order the i-th of n is multiplied by ``n - i`` (i from 0), kept monotone and at most 1.
    """
    values = run_scores(p_values, "p_values")
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"p-values must be in [0, 1], got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(value) for value in adjusted]

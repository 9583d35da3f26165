"""Statistics over training runs: robust averages, intervals and comparisons of two methods.

Scores are ``(runs,)`` or ``(runs, tasks)`` as in rliable (Agarwal et al. 2021, arXiv 2108.13264): one
number per seed and game. Randomness comes from an explicit generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Scores = npt.NDArray[np.float64]

EXACT_ARRANGEMENTS = 200_000
"""Up to this many ways to split the runs, tied samples are compared exactly (10 against 10 runs: 184,756)."""


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one method's runs; ``std`` divides by n - 1 and is NaN for a single run."""

    mean: float
    std: float
    count: int


@dataclass(frozen=True)
class Interval:
    """A statistic of the scores and its bootstrap interval."""

    estimate: float
    low: float
    high: float


def spread(scores: npt.ArrayLike) -> Spread:
    """Return mean, sample standard deviation and number of ``scores (runs,)``."""
    values = _runs(scores, "scores")
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Spread(float(values.mean()), std, len(values))


def interquartile_mean(scores: npt.ArrayLike) -> float:
    """Return the mean of the middle half of all scores, ``(runs,)`` or ``(runs, tasks)``.

    Less swayed by one outstanding run than the mean, less wasteful than the median (arXiv 2108.13264). The
    number of scores cut at each end is a quarter, rounded down.
    """
    ordered = np.sort(_runs_by_task(scores, "scores"), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(
    scores: npt.ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[[Scores], float] = interquartile_mean,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Return a percentile bootstrap interval, stratified: runs are drawn anew within each task.

    Args:
        scores: ``(runs,)`` or ``(runs, tasks)``. With fewer than about 5 runs such intervals are too narrow.
        rng: source of randomness.
        statistic: takes scores ``(runs, tasks)`` (one column for one task).
        confidence: in (0, 1).
        resamples: number of bootstrap samples.
    """
    values = _runs_by_task(scores, "scores")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    runs, tasks = values.shape
    draws = [statistic(values[rng.integers(runs, size=(runs, tasks)), np.arange(tasks)]) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(values)), float(low), float(high))


def mean_interval(scores: npt.ArrayLike) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean of ``(runs,)``, always the same; None for fewer than two runs."""
    if np.size(scores) < 2:
        return None
    return bootstrap_interval(scores, np.random.default_rng(0), statistic=lambda sample: float(sample.mean()))


def probability_of_improvement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return how likely a run of ``first`` beats one of ``second`` on a random task; ties count half.

    Both ``(runs,)`` or ``(runs, tasks)`` with the same tasks; the numbers of runs may differ.
    """
    left, right = _runs_by_task(first, "first"), _runs_by_task(second, "second")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"both methods need the same tasks, got {left.shape[1]} and {right.shape[1]} tasks")
    difference = left[:, None, :] - right[None, :, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def mann_whitney_p(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test between two methods' runs.

    Exact without ties (3 against 3 runs cannot go below .10, 5 against 5 below .008). With ties, exact over
    all splits of the pooled runs up to :data:`EXACT_ARRANGEMENTS` of them, beyond that the normal
    approximation with tie correction.
    """
    left, right = _runs(first, "first"), _runs(second, "second")
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
    """Return the smallest two-sided p that an exact Mann-Whitney test of so many runs can give."""
    return min(1.0, 2 / math.comb(first + second, first))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for testing all of them (Holm 1979), in the given order.

    In ascending order the i-th of n is multiplied by ``n - i`` (i from 0), kept monotone and at most 1.
    """
    values = _runs(p_values, "p_values")
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"p-values must be in [0, 1], got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(value) for value in adjusted]


def _runs(scores: npt.ArrayLike, name: str) -> Scores:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} must be (runs,) with at least one run, got shape {values.shape}")
    return _finite(values, name)


def _runs_by_task(scores: npt.ArrayLike, name: str) -> Scores:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"{name} must be (runs,) or (runs, tasks), not empty, got shape {values.shape}")
    return _finite(values.reshape(len(values), -1), name)


def _finite(values: Scores, name: str) -> Scores:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity; leave out or repeat the runs that failed")
    return values

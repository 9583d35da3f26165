"""Aggregate statistics over tasks (such as games) and runs: one number per method, with an interval.

They follow rliable (Agarwal et al. 2021, arXiv 2108.13264), and also accept tasks with different numbers of runs.
Scores are ``(runs,)`` for one task, ``(runs, tasks)``, or a mapping from task names to ``(runs,)``: one number for each
run, on a scale that is comparable between tasks. Every task has the same weight, whatever its number of runs.
Randomness comes from an explicit generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
TaskScores = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""Scores of a method: ``(runs,)``, ``(runs, tasks)``, or a mapping from task names to ``(runs,)``."""
RESAMPLES = 2000
CONFIDENCE = 0.95

_Strata = Sequence[Scores]
"""One array ``(..., runs)`` for each task; statistics are over the last axis and over the tasks."""


@dataclass(frozen=True)
class Interval:
    """A statistic of the scores and its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of the runs above each threshold, with its interval.

    Attributes:
        thresholds: scores ``(n,)``.
        shares: in [0, 1], ``(n,)``.
        low: lower end of the interval, ``(n,)``.
        high: upper end of the interval, ``(n,)``.
    """

    thresholds: Scores
    shares: Scores
    low: Scores
    high: Scores


def mean_score(scores: TaskScores) -> float:
    """Return the mean over the tasks of the mean of their runs."""
    return float(_mean_score(_strata(scores, "scores")))


def interquartile_mean(scores: TaskScores) -> float:
    """Return the mean of the middle half of all scores.

    It is less affected by outliers than the mean and more efficient than the median (arXiv 2108.13264). A quarter of
    the scores, rounded down, is cut at each end, as in rliable. If tasks have different numbers of runs, a score has
    the weight ``1 / runs of its task``, and whole scores of up to a quarter of the weight are cut at each end.
    """
    return float(_interquartile_mean(_strata(scores, "scores")))


def optimality_gap(scores: TaskScores, target: float = 1.0) -> float:
    """Return the mean shortfall of the scores from a target: ``target - mean(min(score, target))``.

    0 is best: every run reaches the target. Scores beyond the target earn no bonus (arXiv 2108.13264).
    """
    if not math.isfinite(target):
        raise ValueError(f"target must be a finite score, got {target}")
    return float(_optimality_gap(_strata(scores, "scores"), target))


def probability_of_improvement(first: TaskScores, second: TaskScores) -> float:
    """Return the probability that a run of ``first`` beats a run of ``second`` on a random task; ties count half.

    Both need the same tasks; the numbers of runs may differ. For one task, this is Mann-Whitney's U divided by the
    number of pairs, also called common-language effect size.
    """
    return float(_probability_of_improvement(*_paired_strata(first, second)))


def improvement_interval(
    first: TaskScores,
    second: TaskScores,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return :func:`probability_of_improvement` and its interval; runs of both methods are resampled in each task.

    See :func:`bootstrap_interval` for the other arguments.
    """
    _check_bootstrap(confidence, resamples)
    left, right = _paired_strata(first, second)
    drawn = _resampled(left, rng, resamples), _resampled(right, rng, resamples)
    low, high = _bounds(_probability_of_improvement(*drawn), confidence)
    return Interval(float(_probability_of_improvement(left, right)), float(low), float(high))


def performance_profile(
    scores: TaskScores,
    thresholds: npt.ArrayLike,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Profile:
    """Return the share of the runs above each threshold, averaged over the tasks (arXiv 2108.13264).

    Args:
        scores: see the module.
        thresholds: scores ``(n,)``.
        rng: source of randomness.
        confidence: see :func:`bootstrap_interval`; the interval is pointwise, for each threshold separately.
        resamples: number of bootstrap samples.
    """
    _check_bootstrap(confidence, resamples)
    tasks, places = _strata(scores, "scores"), run_scores(thresholds, "thresholds")
    low, high = _bounds(_shares_above(_resampled(tasks, rng, resamples), places), confidence)
    return Profile(places, _shares_above(tasks, places), low, high)


def bootstrap_interval(
    scores: TaskScores,
    rng: np.random.Generator,
    statistic: Callable[[Any], float] = interquartile_mean,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return a stratified percentile bootstrap interval: runs are resampled within each task.

    Args:
        scores: see the module. With n runs per task the interval is too narrow by a factor of about ``sqrt((n - 1) /
            n)``: .71 for 2, .82 for 3, .89 for 5.
        rng: source of randomness.
        statistic: takes scores ``(runs, tasks)`` (one column for one task), or a mapping if ``scores`` is one.
        confidence: in (0, 1).
        resamples: number of bootstrap samples.
    """
    _check_bootstrap(confidence, resamples)
    tasks = _strata(scores, "scores")
    drawn = _resampled(tasks, rng, resamples)
    batched = _BATCHED.get(statistic)
    if batched is not None:
        draws = batched(drawn)
    else:
        draws = np.array([statistic(_like(scores, [task[sample] for task in drawn])) for sample in range(resamples)])
    low, high = _bounds(draws, confidence)
    return Interval(float(statistic(_like(scores, tasks))), float(low), float(high))


def run_scores(scores: npt.ArrayLike, name: str) -> Scores:
    """Return scores ``(runs,)`` as an array; raise a ValueError if they are invalid."""
    values = _numbers(scores, name)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} must be (runs,) with at least one run, got shape {values.shape}")
    return _finite(values, name)


def _mean_score(tasks: _Strata) -> Scores:
    return np.mean([task.mean(axis=-1) for task in tasks], axis=0)


def _interquartile_mean(tasks: _Strata) -> Scores:
    # Sorted like this, ties are cut in the same way for every order of the tasks.
    tasks = sorted(tasks, key=lambda task: task.shape[-1])
    runs = [task.shape[-1] for task in tasks]
    # Integer weights make a quarter of the weight exact.
    each = np.concatenate([np.full(count, math.lcm(*runs) // count) for count in runs])
    scores = np.concatenate(tasks, axis=-1)
    order = np.argsort(scores, axis=-1, kind="stable")
    weights = each[order]
    from_below = np.cumsum(weights, axis=-1)
    from_above = each.sum() - from_below + weights
    weights = weights * ((4 * from_below > each.sum()) & (4 * from_above > each.sum()))
    return (np.take_along_axis(scores, order, axis=-1) * weights).sum(axis=-1) / weights.sum(axis=-1)


def _optimality_gap(tasks: _Strata, target: float = 1.0) -> Scores:
    return target - np.mean([np.minimum(task, target).mean(axis=-1) for task in tasks], axis=0)


def _probability_of_improvement(first: _Strata, second: _Strata) -> Scores:
    found = []
    for left, right in zip(first, second, strict=True):
        pairs = left[..., :, None] - right[..., None, :]
        found.append(((pairs > 0) + 0.5 * (pairs == 0)).mean(axis=(-2, -1)))
    return np.mean(found, axis=0)


def _shares_above(tasks: _Strata, thresholds: Scores) -> Scores:
    return np.mean([(task[..., None] > thresholds).mean(axis=-2) for task in tasks], axis=0)


_BATCHED: Mapping[Callable[..., float], Callable[[_Strata], Scores]] = {
    mean_score: _mean_score,
    interquartile_mean: _interquartile_mean,
    optimality_gap: _optimality_gap,
}
"""Functions that compute a statistic of all resamples at once."""


def _resampled(tasks: _Strata, rng: np.random.Generator, resamples: int) -> list[Scores]:
    """Return each task's runs resampled with replacement: ``(resamples, runs)``."""
    return [task[rng.integers(len(task), size=(resamples, len(task)))] for task in tasks]


def _bounds(draws: Scores, confidence: float) -> Scores:
    """Return the ends of the percentile interval of ``draws (resamples, ...)``."""
    return np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)


def _like(scores: TaskScores, tasks: _Strata) -> Any:
    """Return tasks in the form of ``scores``: by name, or ``(runs, tasks)``."""
    return dict(zip(scores, tasks, strict=True)) if isinstance(scores, Mapping) else np.stack(tasks, axis=-1)


def _strata(scores: TaskScores, name: str) -> list[Scores]:
    """Return the checked runs of each task."""
    if isinstance(scores, Mapping):
        if not scores:
            raise ValueError(f"{name} must hold at least one task, got none")
        return [run_scores(runs, f"{name} of {task!r}") for task, runs in scores.items()]
    values = _numbers(scores, name)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"{name} must be (runs,) or (runs, tasks), not empty, got shape {values.shape}")
    return list(_finite(values.reshape(len(values), -1), name).T)


def _paired_strata(first: TaskScores, second: TaskScores) -> tuple[list[Scores], list[Scores]]:
    """Return two methods' runs of each task; the tasks must be the same."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if set(first) != set(second):
            raise ValueError(f"both methods need the same tasks, got {', '.join(first)} and {', '.join(second)}")
        second = {task: second[task] for task in first}
    elif isinstance(first, Mapping) or isinstance(second, Mapping):
        raise ValueError("both methods need scores in the same form: both as mappings from task names, or neither")
    left, right = _strata(first, "first"), _strata(second, "second")
    if len(left) != len(right):
        raise ValueError(f"both methods need the same tasks, got {len(left)} and {len(right)} tasks")
    return left, right


def _numbers(scores: npt.ArrayLike, name: str) -> Scores:
    try:
        return np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers (runs,) or (runs, tasks); if tasks have different numbers of runs, give a "
            f"mapping from task names to runs: {error}"
        ) from error


def _finite(values: Scores, name: str) -> Scores:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity; leave out or repeat the runs that failed")
    return values


def _check_bootstrap(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")

"""Statistics over tasks (such as games) and runs: one number for a method on all of them, with an interval.

They are those of rliable (Agarwal et al. 2021, arXiv 2108.13264), and also take tasks with different numbers of runs.
Scores are ``(runs,)`` of one task, ``(runs, tasks)``, or by the name of the task ``(runs,)``: one number for each run,
on a scale on which tasks compare. Every task weighs the same, however many runs it has. Randomness comes from an
explicit generator.
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
"""Scores of a method: ``(runs,)``, ``(runs, tasks)``, or ``(runs,)`` by the name of the task."""
RESAMPLES = 2000
CONFIDENCE = 0.95

_Strata = Sequence[Scores]
"""For each task an array ``(..., runs)``; statistics are over the last axis, and over the tasks."""


@dataclass(frozen=True)
class Interval:
    """A statistic of the scores and its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Profile:
    """A performance profile: which share of the runs scores above each threshold, with its interval at each.

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

    Less swayed by one outstanding run than the mean, less wasteful than the median (arXiv 2108.13264). The number of
    scores cut at each end is a quarter, rounded down, as in rliable. Where tasks have different numbers of runs, a
    score weighs ``1 / runs of its task``, and a quarter of the weight is cut at each end, whole scores only.
    """
    return float(_interquartile_mean(_strata(scores, "scores")))


def optimality_gap(scores: TaskScores, target: float = 1.0) -> float:
    """Return by how much scores fall short of a target on average: ``target - mean(min(score, target))``.

    0 is best: every run reaches the target. What goes beyond the target counts nothing (arXiv 2108.13264).
    """
    if not math.isfinite(target):
        raise ValueError(f"target must be a finite score, got {target}")
    return float(_optimality_gap(_strata(scores, "scores"), target))


def probability_of_improvement(first: TaskScores, second: TaskScores) -> float:
    """Return how likely a run of ``first`` beats one of ``second`` on a random task; ties count half.

    Both with the same tasks; the numbers of runs may differ. Of one task, this is Mann-Whitney's U over the number of
    pairs, also called common-language effect size.
    """
    return float(_probability_of_improvement(*_paired_strata(first, second)))


def improvement_interval(
    first: TaskScores,
    second: TaskScores,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return :func:`probability_of_improvement` and its interval: runs of both methods are drawn anew in each task.

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
    """Return which share of the runs, averaged over the tasks, scores above each threshold (arXiv 2108.13264).

    Args:
        scores: see the module.
        thresholds: scores ``(n,)``.
        rng: source of randomness.
        confidence: see :func:`bootstrap_interval`; the interval holds at each threshold by itself.
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
    """Return a percentile bootstrap interval, stratified: runs are drawn anew within each task.

    Args:
        scores: see the module. With n runs of each task such an interval is too narrow by about the factor
            ``sqrt((n - 1) / n)``: .71 for 2, .82 for 3, .89 for 5.
        rng: source of randomness.
        statistic: takes scores ``(runs, tasks)`` (one column for one task), or by the name of the task where
            ``scores`` are.
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
    """Return scores ``(runs,)`` as an array; a ValueError says what is wrong with them."""
    values = _numbers(scores, name)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} must be (runs,) with at least one run, got shape {values.shape}")
    return _finite(values, name)


def _mean_score(tasks: _Strata) -> Scores:
    return np.mean([task.mean(axis=-1) for task in tasks], axis=0)


def _interquartile_mean(tasks: _Strata) -> Scores:
    # In this order ties, too, are cut the same way whatever the order of the tasks.
    tasks = sorted(tasks, key=lambda task: task.shape[-1])
    runs = [task.shape[-1] for task in tasks]
    # Whole numbers as weights make a quarter exact.
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
"""What computes a statistic of all resamples at once."""


def _resampled(tasks: _Strata, rng: np.random.Generator, resamples: int) -> list[Scores]:
    """Return each task's runs drawn anew, with replacement: ``(resamples, runs)``."""
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
        raise ValueError("both methods need their scores in the same form: both by the name of the task, or neither")
    left, right = _strata(first, "first"), _strata(second, "second")
    if len(left) != len(right):
        raise ValueError(f"both methods need the same tasks, got {len(left)} and {len(right)} tasks")
    return left, right


def _numbers(scores: npt.ArrayLike, name: str) -> Scores:
    try:
        return np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers (runs,) or (runs, tasks); where tasks have different numbers of runs, give the "
            f"runs by the name of the task: {error}"
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

"""Statistics over the seeds of a method, used by every table, plot and sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from camal_rl.comparison.groups import Group
from camal_rl.runs.results import ResultKey
from camal_rl.statistics import (
    Interval,
    hedges_g,
    mann_whitney_p,
    mean_interval,
    probability_of_improvement,
    spread,
)


@dataclass(frozen=True)
class Estimate:
    """One figure of one method.

    Attributes:
        seeds: seed to value, for each seed that has one.
        measuring_error: standard error of the mean that is due to the finite number of episodes or images alone;
            ``None`` if unknown. It does not include the spread over seeds.
    """

    seeds: Mapping[str, float]
    measuring_error: float | None = None

    @property
    def count(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN without any."""
        return spread(list(self.seeds.values())).mean if self.seeds else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation over the seeds; NaN for fewer than two."""
        return spread(list(self.seeds.values())).std if self.seeds else math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean: over the seeds, or of the measurement if that is larger."""
        over_seeds = self.std / math.sqrt(self.count) if self.count > 1 else 0.0
        return max(over_seeds, self.measuring_error or 0.0)

    def interval(self) -> Interval | None:
        """Return the 95 % bootstrap interval of the mean; None for fewer than two seeds."""
        return mean_interval(list(self.seeds.values()))

    def p_against(self, other: Estimate) -> float | None:
        """Return the two-sided Mann-Whitney p against another method; None if either has fewer than two seeds.

        With n seeds each the smallest possible p is .10 for 3 seeds and .008 for 5, so few seeds cannot show
        significance.
        """
        if min(self.count, other.count) < 2:
            return None
        return _p(tuple(self.seeds.values()), tuple(other.seeds.values()))

    def effect_against(self, other: Estimate) -> Interval | None:
        """Return Hedges' g against another method; None where seeds are too few or do not differ."""
        if min(self.count, other.count) < 2:
            return None
        return hedges_g(list(self.seeds.values()), list(other.seeds.values()))

    def chance_above(self, other: Estimate) -> float | None:
        """Return the probability that a seed of this method is higher than a seed of another; ties count half.

        None if either has fewer than two seeds.
        """
        if min(self.count, other.count) < 2:
            return None
        return probability_of_improvement(list(self.seeds.values()), list(other.seeds.values()))


@lru_cache(maxsize=4096)
def _p(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    # Cached: tables, files and sentences need the same p, and an exact p with ties is slow.
    return mann_whitney_p(first, second)


def estimates(group: Group, key: ResultKey) -> dict[str, Estimate]:
    """Return every method's values of a figure."""
    found = {}
    for method in group.methods:
        results = {str(run.seed): run.results.find(key) for run in group.of(method)}
        known = {seed: each for seed, each in results.items() if each is not None and each.value is not None}
        errors = [each.error for each in known.values() if each.error is not None]
        complete = bool(errors) and len(errors) == len(known)
        values = {seed: each.value for seed, each in known.items() if each.value is not None}
        found[method] = Estimate(values, math.hypot(*errors) / len(errors) if complete else None)
    return found


def keys(group: Group, **wanted: str | None) -> list[ResultKey]:
    """Return the keys of all figures that at least one run has, in order; see ``Results.select``."""
    results = (each for run in group.runs for each in run.results.select(**wanted))
    return list(dict.fromkeys(each.key for each in results if each.value is not None))


def names(group: Group, field: str, **wanted: str | None) -> list[str]:
    """Return the distinct values of a field in the results of all runs, without ``None``."""
    return list(dict.fromkeys(name for run in group.runs for name in run.results.names(field, **wanted)))

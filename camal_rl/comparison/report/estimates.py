"""Figures of runs, looked up in ``metrics.json``, and what their seeds say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from camal_rl.comparison.report.runs import Group
from camal_rl.statistics import Interval, mann_whitney_p, mean_interval, spread


@dataclass(frozen=True)
class Estimate:
    """One figure of one method: a value for each seed that has one."""

    seeds: Mapping[str, float]

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

    def interval(self) -> Interval | None:
        """Return the 95 % bootstrap interval of the mean; None for fewer than two seeds."""
        return mean_interval(list(self.seeds.values()))

    def p_against(self, other: Estimate) -> float | None:
        """Return the two-sided Mann-Whitney p against another method; None if either has fewer than two seeds."""
        if min(self.count, other.count) < 2:
            return None
        return mann_whitney_p(list(self.seeds.values()), list(other.seeds.values()))


def estimates(group: Group, *path: str) -> dict[str, Estimate]:
    """Return every method's values of the figure at ``path`` in ``metrics.json``."""
    found: dict[str, Estimate] = {}
    for method in group.methods:
        values = {str(run.seed): as_number(look_up(run.metrics, path)) for run in group.of(method)}
        found[method] = Estimate({seed: value for seed, value in values.items() if value is not None})
    return found


def keys(group: Group, *path: str) -> list[str]:
    """Return the keys below ``path`` that any run has, in their order."""
    nodes = (named(look_up(run.metrics, path)) for run in group.runs)
    return list(dict.fromkeys(key for node in nodes if isinstance(node, Mapping) for key in node))


def look_up(node: Any, path: Iterable[str]) -> Any:
    """Return what lies at ``path`` in nested data; None if there is nothing."""
    for key in path:
        node = named(node)
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


def as_number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def named(node: Any) -> Any:
    """Return a list of things with names as a mapping, anything else as it is.

    What a thing's name leaves open (its ``class_name``, its ``kind``) is added to it.
    """
    if not isinstance(node, list) or not all(isinstance(item, Mapping) and "name" in item for item in node):
        return node
    return {_full_name(item): item for item in node}


def _full_name(item: Mapping[str, Any]) -> str:
    name = str(item["name"])
    for key in ("kind", "class_name"):
        part = item.get(key)
        if part and str(part).casefold() not in name.casefold():
            name = f"{name}, {part}"
    return name

"""The figures of ``comparison.json``: per-seed values and statistics of each figure and method."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from camal_rl.comparison.effects import Effect, effects_of
from camal_rl.comparison.estimates import Estimate
from camal_rl.statistics import Interval

_DIGITS = 6
"""Significant digits of statistics; values of seeds and their mean keep all."""


def figure_statistics(
    found: Mapping[str, Mapping[str, Estimate]], methods: Sequence[str], judged: Collection[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the statistics of each figure and method as plain data, see ``comparison_json``.

    Args:
        found: the values, by name of the figure and method.
        methods: the methods; the others are compared with the first.
        judged: names of the judged figures, over which ``p_holm`` is corrected.
    """
    of_judged = {name: each for name, each in found.items() if name in judged}
    corrected = {(each.key, each.method): each.corrected_p for each in effects_of(of_judged, methods)}
    beside = {(each.key, each.method): each for each in effects_of(found, methods)}
    return {
        name: {
            method: {
                **_statistics(estimate),
                **_against_first(beside.get((name, method)), corrected.get((name, method))),
            }
            for method, estimate in of_figure.items()
        }
        for name, of_figure in found.items()
    }


def _statistics(estimate: Estimate) -> dict[str, Any]:
    return {
        "seeds": dict(estimate.seeds),
        "mean": None if math.isnan(estimate.mean) else estimate.mean,
        "std": None if math.isnan(estimate.std) else _short(estimate.std),
        "interval": _ends(estimate.interval()),
        "measuring_error": _short(estimate.measuring_error),
    }


def _against_first(effect: Effect[str] | None, corrected_p: float | None) -> dict[str, Any]:
    size = None if effect is None else effect.size
    return {
        "p_against_first": None if effect is None else _short(effect.p),
        "p_holm": _short(corrected_p),
        "hedges_g": None if size is None else _short(size.estimate),
        "hedges_g_interval": _ends(size),
        "probability_above_first": None if effect is None else _short(effect.chance),
    }


def _ends(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_short(interval.low), _short(interval.high)]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")

"""Normalized returns on several games: one table, and its findings in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from camal_rl.aggregates import RESAMPLES, Interval
from camal_rl.comparison.figures import TRAIN
from camal_rl.comparison.games import Aggregate, Summary, few_seeds
from camal_rl.comparison.method_tables import estimate_cell
from camal_rl.comparison.number_words import counted, listed, number, spanned
from camal_rl.comparison.table import Cell, Table, table_of

_CHANCE = 0.5
_CAPTION = (
    "Sampled actions, mean ± standard deviation over seeds. Below the games of a level set are the aggregates over "
    "them, in which every game has the same weight: interquartile mean (IQM), optimality gap, and how often a seed "
    f"of a method beats a seed of {{}} on a random game, with 95 % intervals (stratified bootstrap, {RESAMPLES:,} "
    "resamples)."
)
_ROWS: Sequence[tuple[str, Callable[[Summary], Interval | None]]] = (
    ("IQM \N{UPWARDS ARROW}", lambda summary: summary.interquartile_mean),
    ("optimality gap \N{DOWNWARDS ARROW}", lambda summary: summary.optimality_gap),
    ("P(improvement) \N{UPWARDS ARROW}", lambda summary: summary.improvement),
)


def games_table(found: Sequence[Aggregate]) -> Table:
    """Return normalized returns on every game, and below each level set the aggregates over its games."""
    methods = list(dict.fromkeys(method for each in found for method in each.methods))
    methods.sort(key=lambda method: method != found[0].baseline)
    rows: list[list[str | Cell]] = []
    for each in found:
        for game, estimates in each.games.items():
            seeds = spanned(estimate.count for estimate in estimates.values() if estimate.count)
            rows.append([each.level_set, game, seeds, *(estimate_cell(estimates[method]) for method in methods)])
        games = counted(len(each.games), "game")
        for title, read in _ROWS:
            shown = {method: interval for method, one in each.summaries.items() if (interval := read(one)) is not None}
            if shown:
                cells = [_cell(shown.get(method)) for method in methods]
                rows.append([each.level_set, f"{games}: {title}", "", *cells])
    caption = _CAPTION.format(found[0].baseline or "the first method")
    return table_of("Normalized return", ("levels", "game", "seeds"), methods, rows, caption)


def games_findings(found: Sequence[Aggregate]) -> list[str]:
    """Return a paragraph for each level set, training levels last: aggregates and improvements.

    The last paragraph names level sets with too few seeds.
    """
    told = []
    for each in sorted(found, key=lambda each: each.level_set == TRAIN):
        reached = [f"{method} {_with_span(summary.interquartile_mean)}" for method, summary in each.summaries.items()]
        if reached:
            games = counted(len(each.games), "game")
            means = f"Interquartile mean of the normalized return over {games} on {each.level_set}: {listed(reached)}."
            told.append(f"{means} {_verdict(each)}".strip())
    return [*told, *filter(None, [few_seeds(found)])]


def span_text(interval: Interval) -> str:
    """Return the ends of an interval; empty where it has none."""
    return "" if math.isnan(interval.low) else f"{number(interval.low)} to {number(interval.high)}"


def _verdict(aggregate: Aggregate) -> str:
    """State the probability that each method improves on the first, grouped by what the intervals show."""
    judged: dict[str, list[str]] = {}
    for method, summary in aggregate.summaries.items():
        if summary.improvement is not None:
            told = f"{method} {_with_span(summary.improvement)}"
            judged.setdefault(_judged(summary.improvement), []).append(told)
    if not judged:
        return ""
    groups = [f"{listed(methods)}, {words}" for words, methods in judged.items()]
    return f"Probability that a seed beats one of {aggregate.baseline}: {'; '.join(groups)}."


def _judged(improvement: Interval) -> str:
    if math.isnan(improvement.low):
        return "without an interval, which a single seed cannot have"
    if improvement.low <= _CHANCE <= improvement.high:
        return f"which may be chance, since the interval contains {_CHANCE}"
    return "above chance" if improvement.low > _CHANCE else "below chance"


def _with_span(interval: Interval) -> str:
    span = "" if math.isnan(interval.low) else f" ({number(interval.low, 2)} to {number(interval.high, 2)})"
    return f"{number(interval.estimate, 2)}{span}"


def _cell(interval: Interval | None) -> Cell:
    return Cell("-") if interval is None else Cell(number(interval.estimate), span_text(interval))

"""What ``camal-rl compare`` writes: every figure as JSON, the headline figures as Markdown and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from camal_rl.comparison.estimates import Estimate, estimates
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import compared_keys, figure_name, headline_keys
from camal_rl.comparison.findings import findings
from camal_rl.comparison.groups import Group
from camal_rl.comparison.method_tables import interval_text, method_table
from camal_rl.comparison.number_words import counted, number
from camal_rl.comparison.results.sources import group_curves, sources
from camal_rl.comparison.significance import seeds_note
from camal_rl.comparison.table import Table

VERSION = 2
"""Files without a version do not say where their runs come from."""


def comparison_json(group: Group) -> dict[str, Any]:
    """Return what ``comparison.json`` holds: of each figure and method per-seed values and their statistics.

    ``figures``, by the names of :func:`camal_rl.comparison.figures.figure_name`, then by method: ``seeds``, ``mean``,
    ``std``, ``interval`` (95 %, bootstrap), ``p_against_first`` (two-sided Mann-Whitney test against the first method),
    ``measuring_error``; null where there is none. ``acting_notes``: what a method is given when it acts, beside images.
    ``words`` says what a figure is. ``runs``, ``provenance`` and ``evaluation`` say where the figures come from,
    ``curves`` holds thinned learning curves, see :mod:`camal_rl.comparison.results.sources`.
    """
    names = {method: group.plain_name(method) for method in group.methods}
    figures = {}
    for key in compared_keys(group):
        found = estimates(group, key)
        figures[figure_name(key)] = {
            names[method]: _statistics(each, None if method == group.baseline else found[group.baseline])
            for method, each in found.items()
        }
    return {
        "version": VERSION,
        "env": group.env,
        "methods": list(names.values()),
        "acting_notes": {name: note for method, name in names.items() if (note := group.acting_note(method))},
        "seeds": _seeds(group),
        "length": group.length,
        **sources(group),
        "words": {figure_name(key): figure_words(key, arrow=True) for key in compared_keys(group)},
        "figures": figures,
        "curves": group_curves(group),
    }


def _statistics(estimate: Estimate, first: Estimate | None) -> dict[str, Any]:
    interval = estimate.interval()
    return {
        "seeds": dict(estimate.seeds),
        "mean": None if math.isnan(estimate.mean) else estimate.mean,
        "std": None if math.isnan(estimate.std) else estimate.std,
        "interval": None if interval is None else [interval.low, interval.high],
        "p_against_first": None if first is None else estimate.p_against(first),
        "measuring_error": estimate.measuring_error,
    }


def comparison_table(group: Group) -> Table:
    """Return the table for the terminal."""
    seeds = _seeds(group)
    spread = "mean ± std over " if len(seeds) > 1 else ""
    title = f"{group.env}, {group.length}, {spread}{counted(len(seeds), 'seed')} of each method"
    rows = [((figure_words(key, arrow=True),), key) for key in headline_keys(group)]
    return method_table(group, title, ("figure",), rows, seeds_note(group), counts=False)


def comparison_markdown(group: Group) -> str:
    """Return what came out in words, the table and every method's per-seed values as Markdown."""
    table = comparison_table(group)
    lines = [f"# {table.title}", ""]
    lines += [line for paragraph in findings(group) for line in (paragraph, "")]
    lines += _markdown_table(table.header, [[cell.text for cell in row] for row in table.rows])
    lines += ["", *([table.caption, ""] if table.caption else []), "## Every seed", ""]
    seeds = [str(seed) for seed in _seeds(group)]
    detail = []
    for key in headline_keys(group):
        for method, each in estimates(group, key).items():
            values = (number(each.seeds.get(seed)) for seed in seeds)
            detail.append([figure_words(key), method, interval_text(each) or "-", *values])
    lines += _markdown_table(["figure", "method", "95 % interval", *(f"seed {seed}" for seed in seeds)], detail)
    lines += ["", "What the terms mean: `camal-rl glossary`, or docs/glossary.md."]
    return "\n".join(lines) + "\n"


def _seeds(group: Group) -> list[int]:
    return sorted({run.seed for run in group.runs})


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]

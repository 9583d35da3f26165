"""The output of ``camal-rl compare``: all figures as JSON, the headline figures as Markdown and as a table."""

from __future__ import annotations

from typing import Any

from camal_rl.comparison.effects import effects_table, seeds_table
from camal_rl.comparison.estimates import estimates
from camal_rl.comparison.figure_statistics import figure_statistics
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import compared_keys, figure_name, headline_keys, judged_keys
from camal_rl.comparison.findings import findings
from camal_rl.comparison.groups import MANY_METHODS, Group
from camal_rl.comparison.method_tables import method_table
from camal_rl.comparison.number_words import counted
from camal_rl.comparison.results.sources import group_curves, sources
from camal_rl.comparison.significance import seeds_note
from camal_rl.comparison.table import Table

VERSION = 2
"""Files without a version do not record the origin of their runs."""


def comparison_json(group: Group) -> dict[str, Any]:
    """Return the content of ``comparison.json``: per-seed values and statistics of each figure and method.

    ``figures``, by the names of :func:`camal_rl.comparison.figures.figure_name`, then by method: ``seeds``, ``mean``,
    ``std``, ``interval`` (95 %, bootstrap), ``measuring_error``; and against the first method ``p_against_first``
    (two-sided Mann-Whitney test), ``p_holm`` (corrected over the figures in ``judged``, which are those in the table of
    differences of ``comparison.md``; other figures have none), ``hedges_g`` with ``hedges_g_interval`` (95 %), and
    ``probability_above_first``. A missing value is null. ``acting_notes`` describes what a method receives beside
    images when it acts. ``words`` describes each figure. ``runs``, ``provenance`` and ``evaluation`` record the origin
    of the figures. ``curves`` holds thinned learning curves, see :mod:`camal_rl.comparison.results.sources`.
    """
    names = {method: group.plain_name(method) for method in group.methods}
    compared, judged = compared_keys(group), [figure_name(key) for key in judged_keys(group)]
    found = {
        figure_name(key): {names[method]: each for method, each in estimates(group, key).items()} for key in compared
    }
    return {
        "version": VERSION,
        "env": group.env,
        "methods": list(names.values()),
        "acting_notes": {name: note for method, name in names.items() if (note := group.acting_note(method))},
        "seeds": _seeds(group),
        "length": group.length,
        **sources(group),
        "words": {figure_name(key): figure_words(key, arrow=True) for key in compared},
        "judged": judged,
        "figures": figure_statistics(found, list(names.values()), judged),
        "curves": group_curves(group),
    }


def comparison_table(group: Group) -> Table:
    """Return the table for the terminal."""
    seeds = _seeds(group)
    spread = "mean ± std over " if len(seeds) > 1 else ""
    title = f"{group.env}, {group.length}, {spread}{counted(len(seeds), 'seed')} of each method"
    rows = [((figure_words(key, arrow=True),), key) for key in headline_keys(group)]
    return method_table(group, title, ("figure",), rows, seeds_note(group), counts=False, corrections=False)


def comparison_markdown(group: Group) -> str:
    """Return the findings in words, the table, the effect sizes, and every seed's values, as Markdown."""
    table = comparison_table(group)
    words = [line for paragraph in findings(group) for line in (paragraph, "")]
    many = len(group.methods) > MANY_METHODS
    lines = [f"# {table.title}", "", *(() if many else words), *_markdown_table(table), *(words if many else ())]
    for further in (effects_table(group), seeds_table(group)):
        if further.rows:
            lines += [f"## {further.title}", "", *_markdown_table(further)]
    lines.append("What the terms mean: `camal-rl glossary`, or docs/glossary.md.")
    return "\n".join(lines) + "\n"


def _seeds(group: Group) -> list[int]:
    return sorted({run.seed for run in group.runs})


def _markdown_table(table: Table) -> list[str]:
    lines = [f"| {' | '.join(table.header)} |", f"|{' --- |' * len(table.header)}"]
    lines += [f"| {' | '.join(cell.in_line() for cell in row)} |" for row in table.rows]
    return [*lines, "", *([table.caption, ""] if table.caption else [])]

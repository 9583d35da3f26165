"""Tables that compare methods: one row for each figure, one column for each method.

With more than five methods, p-values are written below the means, and a table of few figures has one row for each
method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from camal_rl.comparison.estimates import Estimate, estimates
from camal_rl.comparison.figures import COUNTS
from camal_rl.comparison.groups import MANY_METHODS, Group
from camal_rl.comparison.number_words import number, p_value
from camal_rl.comparison.significance import corrected, correction_note
from camal_rl.comparison.table import Cell, Table, table_of
from camal_rl.runs.results import ResultKey

_FEW_FIGURES = 12

Row = tuple[tuple[str, ...], ResultKey]
"""The labels of a row, and the key of the figure in it."""


def method_table(
    group: Group,
    title: str,
    labels: Sequence[str],
    rows: Sequence[Row],
    caption: str = "",
    intervals: bool = False,
    folded: bool = False,
    counts: bool = True,
    corrections: bool = True,
) -> Table:
    """Return a table with the mean and spread of every method, and the p of each against the first.

    Args:
        group: the runs.
        title: what the table shows.
        labels: titles of the columns of words.
        rows: labels and keys; figures that no run has are left out.
        caption: how to read the table, in addition to the general note.
        intervals: show the bootstrap interval of every mean.
        folded: collapse the table until the reader opens it.
        counts: show in the header how many runs of each method are evaluated.
        corrections: show below each p its value after Holm's correction over the rows of the table, and note where
            there are too many rows for the seeds.
    """
    shown = [(texts, key.figure in COUNTS, estimates(group, key)) for texts, key in rows]
    shown = [row for row in shown if _worth_a_row(row[2].values(), row[1])]
    tests = _tests(group, [(found, count) for _, count, found in shown])
    p_cells = {method: _p_cells(p_values, corrections) for method, p_values in tests.items()}
    titles = [f"{method} (n = {group.evaluated(method)})" if counts else method for method in group.methods]
    many = len(group.methods) > MANY_METHODS
    intervals = intervals and not many
    columns = [
        [estimate_cell(found[method], intervals, count) for _, count, found in shown] for method in group.methods
    ]
    if many:
        none = [Cell("")] * len(shown)
        columns = [
            [_with_p(*pair) for pair in zip(cells, p_cells.get(method, none), strict=True)]
            for method, cells in zip(group.methods, columns, strict=True)
        ]
    else:
        titles += [f"p, {method} against {group.baseline}" for method in tests]
        columns += p_cells.values()
    notes = [
        caption,
        "Below each mean: its 95 % bootstrap interval." if intervals else "",
        f"Below each mean: p of the method against {group.baseline}." if many and tests else "",
        _correction_note(group, tests) if corrections else "",
    ]
    words = [texts for texts, _, _ in shown]
    return _laid_out(title, labels, words, titles, columns, " ".join(filter(None, notes)), folded, many)


def _laid_out(
    title: str,
    labels: Sequence[str],
    words: Sequence[tuple[str, ...]],
    titles: Sequence[str],
    columns: Sequence[Sequence[Cell]],
    caption: str,
    folded: bool,
    many: bool,
) -> Table:
    """Return a table of columns; with many methods and few figures the methods are rows, so that it is no wider."""
    if many and 0 < len(words) <= _FEW_FIGURES:
        by_method: list[list[str | Cell]] = [[name, *cells] for name, cells in zip(titles, columns, strict=True)]
        return table_of(title, ["method"], [", ".join(texts) for texts in words], by_method, caption, folded)
    by_figure: list[list[str | Cell]] = [
        [*texts, *(cells[place] for cells in columns)] for place, texts in enumerate(words)
    ]
    return table_of(title, labels, titles, by_figure, caption, folded)


def _with_p(cell: Cell, p: Cell) -> Cell:
    """Return a cell with its p-value below it, if it has one."""
    return cell if p.text in ("", p_value(None)) else Cell(cell.text, f"p\N{NO-BREAK SPACE}{p.in_line()}")


def _tests(group: Group, rows: Sequence[tuple[Mapping[str, Estimate], bool]]) -> dict[str, list[float | None]]:
    """Return each method's p-values against the first, one for each row; methods without any are left out.

    Args:
        group: the runs.
        rows: every method's values, and whether they are mere counts, which are not tested.
    """
    tests = {
        method: [None if count else found[method].p_against(found[group.baseline]) for found, count in rows]
        for method in group.methods[1:]
    }
    # Without a second seed there is nothing to test.
    return {method: p_values for method, p_values in tests.items() if any(p is not None for p in p_values)}


def _p_cells(p_values: Sequence[float | None], corrections: bool) -> list[Cell]:
    """Return the p-values of a column; if there are several, each with its value after Holm's correction below it."""
    several = corrections and sum(p is not None for p in p_values) > 1
    return [
        Cell(p_value(p), f"Holm\N{NO-BREAK SPACE}{p_value(adjusted)}" if several and p is not None else "")
        for p, adjusted in zip(p_values, corrected(p_values), strict=True)
    ]


def _correction_note(group: Group, tests: Mapping[str, Sequence[float | None]]) -> str:
    first = group.evaluated(group.baseline)
    return correction_note(
        ((first, group.evaluated(method)), sum(p is not None for p in p_values)) for method, p_values in tests.items()
    )


def _worth_a_row(found: Iterable[Estimate], counts: bool) -> bool:
    """Return whether any method has the figure; for counts, whether any is above 0."""
    return any(estimate.count and (not counts or estimate.mean > 0) for estimate in found)


def estimate_cell(estimate: Estimate, interval: bool = False, count: bool = False) -> Cell:
    """Return mean ± standard deviation, and on request the 95 % bootstrap interval below it."""
    digits = 1 if count else 3
    text = number(estimate.mean, digits)
    if count and not estimate.std > 0:
        text = text.removesuffix(".0")
    elif estimate.count > 1:
        text += f" ± {number(estimate.std, digits)}"
    return Cell(text, interval_text(estimate) if interval else "")


def narrow_cell(estimate: Estimate, count: bool = False) -> Cell:
    """Return the mean, and the standard deviation below it: for tables with many columns."""
    mean, _, std = estimate_cell(estimate, count=count).text.partition(" ± ")
    return Cell(mean, f"± {std}" if std else "")


def interval_text(estimate: Estimate) -> str:
    """Return the 95 % bootstrap interval of a mean; empty for fewer than two seeds."""
    span = estimate.interval()
    return "" if span is None else f"{number(span.low)} to {number(span.high)}"

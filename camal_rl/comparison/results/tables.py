"""Tables of a page as Markdown, from result files: per-seed figures of runs, or the records of a measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from camal_rl.comparison.estimates import Estimate
from camal_rl.comparison.results.cells import Value, at_path, figure_text, parts, record_text
from camal_rl.comparison.results.manifest import Line, Shown, TableEntry
from camal_rl.comparison.results.shelf import Shelf, names_of
from camal_rl.comparison.significance import SIGNIFICANT, corrected

_DEFAULTS = {"show": "mean_std", "digits": 3, "bold": False}


@dataclass
class Sources:
    """The files and methods in a table, in order."""

    methods: dict[str, list[str]] = field(default_factory=dict)

    def add(self, file: str, method: str | None) -> None:
        """Add a method of a file."""
        found = self.methods.setdefault(file, [])
        if method is not None and method not in found:
            found.append(method)

    def lines(self, shelf: Shelf, page: Path, command: bool) -> list[str]:
        """Return the lines below a table on the origin of its numbers, with links to the files."""
        links: dict[str, list[str]] = {}
        for name, methods in self.methods.items():
            found = shelf.take(name)
            for line in found.source_lines(methods or None, command):
                links.setdefault(line, []).append(f"[{name}.json]({relative(found.path, page)})")
        return [f"{line}; {', '.join(each)}" for line, each in links.items()]


def table_block(entry: TableEntry, shelf: Shelf, page: Path) -> str:
    """Return a table, and the lines on its origin, as Markdown.

    Raises:
        FileNotFoundError, ValueError: a file, method, figure or value is missing; the message names the row.
    """
    if not entry.columns or not entry.rows:
        raise ValueError("a table must have at least one column and one row")
    sources = Sources()
    if isinstance(entry.rows, str):
        rows = list(_record_rows(entry, entry.rows, shelf, sources))
        header = [column.title for column in entry.columns]
    else:
        corrections = _corrections(entry, shelf) if entry.holm else {}
        rows = [_figure_row(entry, row, shelf, sources, corrections) for row in entry.rows]
        header = [entry.title, *(column.title for column in entry.columns)]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
    told = sources.lines(shelf, page, entry.command)
    return "\n".join([*lines, "", *sources_text(told)])


def sources_text(lines: Sequence[str]) -> list[str]:
    """Return the lines on the origin of numbers as Markdown: one sentence, or a list."""
    return (
        [f"Source: {line}" for line in lines] if len(lines) == 1 else ["Sources:", "", *(f"- {line}" for line in lines)]
    )


def _figure_row(
    entry: TableEntry, row: Line, shelf: Shelf, sources: Sources, corrections: Mapping[Shown, Sequence[float | None]]
) -> list[str]:
    cells = [row.title]
    unknown = [title for title in row.empty if title not in [column.title for column in entry.columns]]
    if unknown:
        raise ValueError(f"row {row.title!r}: empty names the column {unknown[0]!r}, which does not exist")
    for column in entry.columns:
        if column.title in row.empty:
            cells.append("")
            continue
        try:
            shown = merged(column, row, entry)
            cells.append(cell(shown, shelf, sources, corrections.get(shown)))
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"row {row.title!r}, column {column.title!r}: {error}") from error
    return cells


def merged(*lines: Shown) -> Shown:
    """Return the settings of a cell; for each setting the first given value applies."""
    found: dict[str, Any] = {}
    for each in fields(Shown):
        given = (getattr(line, each.name) for line in lines)
        found[each.name] = next((value for value in given if value is not None), _DEFAULTS.get(each.name))
    return Shown(**found)


def cell(shown: Shown, shelf: Shelf, sources: Sources, corrected_p: Sequence[float | None] | None = None) -> str:
    """Return the text of a cell, or of any text with fields.

    Args:
        shown: content and format.
        shelf: the result files.
        sources: is extended with the cell's file and method.
        corrected_p: corrected p of each figure; by default p is not corrected.

    Raises:
        FileNotFoundError, ValueError: a file or value of the cell is missing.
    """
    files = names_of(shown.file)
    if not files:
        raise ValueError("no file is given")
    taken = [shelf.take(name) for name in files]
    if not taken[0].runs:
        sources.add(files[0], None)
        text = record_text(shown.text or "", taken[0].data)
        if not text:
            raise ValueError(f"{taken[0].path} lacks a value of {shown.text!r}")
        return text
    figures = names_of(shown.figure)
    if not figures:
        raise ValueError("no figure is given")
    for name, found in zip(files, taken, strict=True):
        sources.add(name, shown.method if shown.method is not None else found.methods[0])
    values = [_value(shown, figure, shelf) for figure in figures]
    if corrected_p is not None:
        values = [replace(value, p=p) for value, p in zip(values, corrected_p, strict=True)]
    text = figure_text(shown.text or ", ".join(["{}"] * len(figures)), values, str(shown.show), int(shown.digits or 0))
    better = [value.p is not None and value.p < SIGNIFICANT for value in values]
    return f"**{text}**" if shown.bold and better[0] else text


def _value(shown: Shown, figure: str, shelf: Shelf) -> Value:
    files = names_of(shown.file)
    seeds: dict[str, float] = {}
    errors = []
    for name in files:
        found = shelf.take(name).estimate(shown.method, figure)
        if seeds.keys() & found.seeds.keys():
            raise ValueError(f"{', '.join(files)} hold the same seed twice")
        seeds |= found.seeds
        errors.append(found.measuring_error)
    if not seeds:
        raise ValueError(f"{figure} has no value in {', '.join(files)}")
    estimate, against = Estimate(seeds, errors[0] if len(errors) == 1 else None), _against(shown, figure, shelf)
    return Value(estimate, None if against is None else estimate.p_against(against))


def _corrections(entry: TableEntry, shelf: Shelf) -> dict[Shown, list[float | None]]:
    """Return the p of each cell's figures, corrected by Holm's method over the rows of its column."""
    found: dict[Shown, list[float | None]] = {}
    for column in entry.columns:
        rows = [row for row in entry.rows if isinstance(row, Line) and column.title not in row.empty]
        cells = [merged(column, row, entry) for row in rows]
        p_values = [[_value(shown, figure, shelf).p for figure in names_of(shown.figure)] for shown in cells]
        adjusted = iter(corrected([p for of_cell in p_values for p in of_cell]))
        found.update((shown, [next(adjusted) for _ in of_cell]) for shown, of_cell in zip(cells, p_values, strict=True))
    return found


def _against(shown: Shown, figure: str, shelf: Shelf) -> Estimate | None:
    """Return the method that p compares with: the named one or the first of the file; None for the first itself."""
    files = names_of(shown.file)
    name, _, method = (shown.against or "").rpartition("/")
    other = shelf.take(name or files[0])
    chosen = method or other.methods[0]
    if (other.path, chosen) == (shelf.take(files[0]).path, shown.method):
        return None
    if not shown.against and len(other.methods) == 1:
        return None
    return other.estimate(chosen, figure)


def _record_rows(entry: TableEntry, path: str, shelf: Shelf, sources: Sources) -> Iterator[list[str]]:
    """Return the rows of a measurement's records; missing values are empty, records without values are left out."""
    names = names_of(entry.file)
    if not names:
        raise ValueError("no file is given")
    found = []
    for name in names:
        sources.add(name, None)
        found += list(records(shelf.take(name).data, path.split(".")))
    own = [place for place, column in enumerate(entry.columns) if not _only_keys(column.text or "")]
    texts = [[record_text(column.text or "", record, keys) for column in entry.columns] for keys, record in found]
    texts = [row for row in texts if any(row[place] is not None for place in own)]
    if not texts:
        raise ValueError(f"{', '.join(names)} has no records with the requested values at {path}")
    for place, column in enumerate(entry.columns):
        if all(row[place] is None for row in texts):
            raise ValueError(f"column {column.title!r}: no record at {path} has the values of {column.text!r}")
    return ([text or "" for text in row] for row in texts)


def _only_keys(text: str) -> bool:
    return all(isinstance(part, str) or part.name.startswith("key.") for part in parts(text))


def records(data: Any, path: Sequence[str], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the records at a path of plain data, each with the keys of its path; ``*`` matches every key."""
    if path and path[0] == "*":
        for key, below in data.items() if isinstance(data, Mapping) else ():
            yield from records(below, path[1:], (*keys, key))
    elif path:
        yield from records(at_path(data, path[0]), path[1:], keys)
    elif isinstance(data, list):
        yield from ((keys, each) for each in data)
    elif data is not None:
        yield keys, data


def relative(path: Path, page: Path) -> str:
    """Return the link from a page to a file."""
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")

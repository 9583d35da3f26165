"""Reads lists and tables of image sets in UTF-8; errors are one line that names the file and the line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from camal_rl.utf8 import read_utf8

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class Place(NamedTuple):
    """A line of a text file, for messages."""

    path: Path
    line: int

    def __str__(self) -> str:
        """Return text for the middle of a sentence."""
        return f"{self.path}, line {self.line}"


class Row(NamedTuple):
    """A row of a table: its cells by column, and its place."""

    cells: dict[str, str]
    place: Place


class Words(NamedTuple):
    """A line of a list: its words, and its place."""

    words: tuple[str, ...]
    place: Place


def read_text(path: Path, layout: str) -> str:
    """Return a text file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: the file does not exist (the message gives the expected layout) or has another encoding.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected {layout}")
    return read_utf8(path)


def read_lines(path: Path, layout: str, columns: int = 1, most: int | None = None) -> list[Words]:
    """Return the lines of a list that are not blank, as words separated by spaces or tabs.

    Args:
        path: the file.
        layout: the expected layout, for messages.
        columns: number of words of a line. With one column, a line is one word, including its spaces.
        most: largest number of words of a line; None means ``columns``.

    Raises:
        ValueError: the file is missing or has another encoding, or a line has another number of words.
    """
    lines = []
    for number, text in enumerate(read_text(path, layout).splitlines(), start=1):
        words = tuple(text.split()) if columns > 1 else (text.strip(),)
        place = Place(path, number)
        if not text.strip():
            continue
        if not columns <= len(words) <= (columns if most is None else most):
            raise ValueError(
                f"{place} is {text.strip()!r}; expected {columns} words separated by spaces, and names without spaces"
            )
        lines.append(Words(words, place))
    return lines


def read_csv(path: Path, columns: Sequence[str], layout: str) -> list[Row]:
    """Return the rows of a comma-separated table, without blank ones.

    Spaces around a cell are removed. The table may have further columns.

    Raises:
        ValueError: the file is missing, has another encoding or lacks a column, or a row has another number of cells
            than the header.
    """
    reader = csv.reader(io.StringIO(read_text(path, layout), newline=""), skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{Place(path, reader.line_num)} is not a row of a comma-separated table: {error}") from error
    header = rows[0][1] if rows else []
    _check_header(path, header, columns, layout)
    found = []
    for number, cells in rows[1:]:
        place = Place(path, number)
        if len(cells) != len(header):
            raise ValueError(f"{place} has {len(cells)} cells, the header has {len(header)}; expected {layout}")
        found.append(Row(dict(zip(header, cells, strict=True)), place))
    return found


def as_number(text: str, place: Place, low: int, high: int) -> int:
    """Convert text to a number; raise a ValueError that names the place unless it is in [low, high]."""
    if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
        raise ValueError(f"{place.path} contains {text!r}, expected a number in [{low}, {high}] (line {place.line})")
    return int(text)


def check_distinct(what: str, names: Iterable[tuple[str, Place]]) -> None:
    """Raise a ValueError if a name occurs twice.

    Args:
        what: the kind of names, for the message.
        names: each name and its place.
    """
    places: dict[str, list[Place]] = {}
    for name, place in names:
        places.setdefault(name, []).append(place)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    if twice:
        name, found = next(iter(twice.items()))
        others = f" ({len(twice)} names are listed twice)" if len(twice) > 1 else ""
        raise ValueError(
            f"{what} {name!r} is listed twice: {found[0]} and {found[1]}{others}; delete all lines but one"
        )


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str], layout: str) -> None:
    missing = [column for column in columns if column not in header]
    if missing:
        line = header[0] if len(header) == 1 else ""
        other = next((words for sign, words in _OTHER_DELIMITERS.items() if sign in line), None)
        if other is not None:
            raise ValueError(f"{path} has {other} between its cells; save it with commas; expected {layout}")
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; expected {layout}")
    twice = [column for column, count in Counter(header).items() if count > 1 and column in columns]
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice; delete one")

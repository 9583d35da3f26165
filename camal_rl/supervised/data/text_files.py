"""Lists and tables that come with images, as text in UTF-8: read, or refused in one line that names file and line."""

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
        """Return words for the middle of a sentence."""
        return f"{self.path}, line {self.line}"


class Row(NamedTuple):
    """A row of a table: its cells by column, and where it is."""

    cells: dict[str, str]
    place: Place


class Words(NamedTuple):
    """A line of a list: its words, and where it is."""

    words: tuple[str, ...]
    place: Place


def read_text(path: Path, layout: str) -> str:
    """Return a text file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: there is no such file, with the layout that was expected; or it is in another encoding.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected {layout}")
    return read_utf8(path)


def read_lines(path: Path, layout: str, columns: int = 1, most: int | None = None) -> list[Words]:
    """Return the lines of a list that are not blank, as words between spaces or tabs.

    Args:
        path: the file.
        layout: what was expected, for messages.
        columns: words of a line.
        most: words that a line may have; None: ``columns``. With one column, a line is one word, spaces and all.

    Raises:
        ValueError: the file is missing or in another encoding, or a line has another number of words.
    """
    lines = []
    for number, text in enumerate(read_text(path, layout).splitlines(), start=1):
        words = tuple(text.split()) if columns > 1 else (text.strip(),)
        place = Place(path, number)
        if not text.strip():
            continue
        if not columns <= len(words) <= (columns if most is None else most):
            raise ValueError(
                f"{place} is {text.strip()!r}; expected {columns} words between spaces, and names without any"
            )
        lines.append(Words(words, place))
    return lines


def read_csv(path: Path, columns: Sequence[str], layout: str) -> list[Row]:
    """Return the rows of a table with commas between its cells, without the blank ones.

    Spaces around a cell do not count; columns beside those that are asked for may be there.

    Raises:
        ValueError: the file is missing or in another encoding, lacks a column, or a row has another number of cells
            than the header.
    """
    reader = csv.reader(io.StringIO(read_text(path, layout), newline=""), skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{Place(path, reader.line_num)} is no row of a table with commas: {error}") from error
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
    """Return a number that a text file holds; raise a ValueError that names the place unless it is in [low, high]."""
    if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
        raise ValueError(
            f"{place.path} holds {text!r} where a number in [{low}, {high}] was expected (line {place.line})"
        )
    return int(text)


def check_distinct(what: str, names: Iterable[tuple[str, Place]]) -> None:
    """Raise a ValueError where a name occurs twice.

    Args:
        what: what the names are of, for the message.
        names: each name and its place.
    """
    places: dict[str, list[Place]] = {}
    for name, place in names:
        places.setdefault(name, []).append(place)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    if twice:
        name, found = next(iter(twice.items()))
        others = f" ({len(twice)} such in all)" if len(twice) > 1 else ""
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

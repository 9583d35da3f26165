"""A table, independent of its output format: terminal, Markdown or HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a text, a smaller second line, and whether it is highlighted."""

    text: str
    detail: str = ""
    marked: bool = False

    def in_line(self) -> str:
        """Return both lines as one, the second in brackets."""
        return f"{self.text} ({self.detail})" if self.detail else self.text


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: the title.
        caption: how to read the table.
        header: titles of the columns.
        labels: number of columns at the left that contain words; the others contain numbers.
        rows: rows of cells, one for each title in the header.
        folded: collapsed until the reader opens it, where the format allows that.
    """

    title: str
    caption: str
    header: tuple[str, ...]
    labels: int
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


def table_of(
    title: str,
    labels: Sequence[str],
    numbers: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    caption: str = "",
    folded: bool = False,
) -> Table:
    """Return a table of texts and cells, with columns of words at the left and of numbers at the right."""
    cells = tuple(tuple(Cell(each) if isinstance(each, str) else each for each in row) for row in rows)
    return Table(title, caption, (*labels, *numbers), len(labels), cells, folded)

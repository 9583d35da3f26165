"""A table, whatever it is written in: in the terminal, in Markdown or on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a text, a smaller second line, and whether it is marked as different."""

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
        title: what it shows.
        caption: how to read it.
        header: titles of the columns.
        labels: how many columns at the left hold words; the others hold numbers.
        rows: as many cells as the header has.
        folded: shown only on request, where the page can do that.
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
    """Return a table of texts and cells: columns of words at the left, columns of numbers at the right."""
    cells = tuple(tuple(Cell(each) if isinstance(each, str) else each for each in row) for row in rows)
    return Table(title, caption, (*labels, *numbers), len(labels), cells, folded)

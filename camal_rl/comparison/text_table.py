"""A table as plain text of any width: cells are wrapped, columns split or rows transposed; no text is cut off.

An id, a path or a number is never broken over lines, at any width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from camal_rl.comparison.table import Table

_GAP = "  "
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_INDENT = "  "
# Transposed rows are harder to compare, so they are used only if they save this share of the lines.
_TRANSPOSED_IS_WORSE = 1.5
# A no-break space keeps a value and its spread on one line.
_BREAK = re.compile(r"(?<!±)[ \t\n]+(?!±)")

Rows = Sequence[Sequence[str]]


def text_table(table: Table, width: int | None = None) -> str:
    """Return a table as lines of text.

    Args:
        table: the table.
        width: columns of the terminal; with ``None`` every row is one line.

    Returns:
        Title, header, rows and caption, within the width unless a single unbreakable text is wider.
    """
    rows = [tuple(cell.in_line() for cell in row) for row in table.rows]
    body = _body(table.header, rows, table.labels, width)
    return "\n".join([*wrapped(table.title, width), *body, *(wrapped(table.caption, width) if table.caption else ())])


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """Return text in lines of at most ``width`` columns; a longer unbreakable text gets its own line.

    Args:
        text: words; its own line breaks count as spaces.
        width: columns; ``None`` gives one line.
        indent: prefix of every line but the first.
    """
    pieces = [piece for piece in _BREAK.split(text.strip()) if piece]
    if width is None:
        return [" ".join(pieces)]
    lines: list[str] = []
    for piece in pieces:
        if lines and lines[-1].strip() and cell_len(lines[-1]) + 1 + cell_len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"{indent}{piece}" if lines else piece)
    return lines or [""]


def in_columns(items: Sequence[str], width: int) -> list[str]:
    """Return short texts in as many columns as fit, row by row; no text is broken."""
    each = max(map(cell_len, items), default=0)
    count = max(1, (width + len(_GAP)) // (each + len(_GAP)))
    rows = [items[start : start + count] for start in range(0, len(items), count)]
    return [_GAP.join(text + " " * (each - cell_len(text)) for text in row).rstrip() for row in rows]


def _body(header: Sequence[str], rows: Rows, labels: int, width: int | None) -> list[str]:
    natural = [max(map(cell_len, column)) for column in _columns(header, rows)]
    if width is None or _total(natural) <= width:
        return _lines(header, rows, labels, natural)
    choices = [_wrapped_table(header, rows, labels, width), _split_table(header, rows, labels, width)]
    tables = [lines for lines in choices if lines is not None]
    transposed = _transposed(header, rows, width)
    best = min(tables, key=len, default=transposed)
    return best if len(best) <= _TRANSPOSED_IS_WORSE * len(transposed) else transposed


def _columns(header: Sequence[str], rows: Rows) -> list[list[str]]:
    return [[title, *(row[place] for row in rows)] for place, title in enumerate(header)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _narrowest(header: Sequence[str], rows: Rows) -> list[int]:
    """Return the width of each column without breaking any text."""
    pieces = [[cell_len(piece) for text in column for piece in _BREAK.split(text)] for column in _columns(header, rows)]
    return [max(column) for column in pieces]


def _wrapped_table(header: Sequence[str], rows: Rows, labels: int, width: int) -> list[str] | None:
    """Return the table with wrapped cells; ``None`` if it is still too wide."""
    widths = _narrowest(header, rows)
    spare = width - _total(widths)
    if spare < 0:
        return None
    columns = _columns(header, rows)
    while spare > 0:
        # The next spare column goes to the cell with the most lines.
        heights = [
            max(len(wrapped(text, widths[place])) for text in column) if widths[place] < _widest(column) else 1
            for place, column in enumerate(columns)
        ]
        tallest = max(range(len(widths)), key=heights.__getitem__)
        if heights[tallest] == 1:
            break
        step = min(spare, max(1, (_widest(columns[tallest]) - widths[tallest]) // 4))
        widths[tallest] += step
        spare -= step
    return _lines(header, rows, labels, widths)


def _widest(column: Sequence[str]) -> int:
    return max(map(cell_len, column))


def _split_table(header: Sequence[str], rows: Rows, labels: int, width: int) -> list[str] | None:
    """Return several tables, each with the labels and some of the columns; ``None`` if one column is too wide."""
    widths = _narrowest(header, rows)
    parts: list[list[int]] = []
    for place in range(labels, len(header)):
        if _total([*widths[:labels], widths[place]]) > width:
            return None
        if parts and _total([*widths[:labels], *(widths[each] for each in parts[-1]), widths[place]]) <= width:
            parts[-1].append(place)
        else:
            parts.append([place])
    if len(parts) < 2:
        return None
    lines: list[str] = []
    for part in parts:
        chosen = [*range(labels), *part]
        shown = _wrapped_table(
            [header[place] for place in chosen], [[row[place] for place in chosen] for row in rows], labels, width
        )
        assert shown is not None
        lines += [*([""] if lines else []), *shown]
    return lines


def _transposed(header: Sequence[str], rows: Rows, width: int) -> list[str]:
    """Return every row as lines ``title: value``."""
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for place, (title, text) in enumerate(zip(header, row, strict=True)):
            first, *more = wrapped(f"{title}: {text}" if title else text, width - len(_INDENT), _INDENT)
            lines += [first, *more] if place == 0 else [f"{_INDENT}{line}" for line in (first, *more)]
    return lines


def _lines(header: Sequence[str], rows: Rows, labels: int, widths: Sequence[int]) -> list[str]:
    lines = _row(header, labels, widths)
    lines.append(_GAP.join(_RULE * width for width in widths))
    for row in rows:
        lines += _row(row, labels, widths)
    return lines


def _row(cells: Sequence[str], labels: int, widths: Sequence[int]) -> list[str]:
    """Return the lines of one row: labels to the left, numbers to the right."""
    blocks = [wrapped(text, width) for text, width in zip(cells, widths, strict=True)]
    lines = []
    for index in range(max(map(len, blocks))):
        texts = [block[index] if index < len(block) else "" for block in blocks]
        padded = []
        for place, (text, width) in enumerate(zip(texts, widths, strict=True)):
            blank = " " * (width - cell_len(text))
            padded.append(text + blank if place < labels else blank + text)
        lines.append(_GAP.join(padded).rstrip())
    return lines

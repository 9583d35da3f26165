"""Prints tables and paragraphs to stdout, as wide as the terminal; plain and complete in a pipe or a file."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camal_rl.comparison.table import Table

LEGEND = "Definitions of the terms: camal-rl glossary, or docs/glossary.md"


def width() -> int | None:
    """Return the columns of the terminal or of ``COLUMNS``; ``None`` if there is no limit."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def show(*tables: Table, legend: bool = True) -> None:
    """Print tables, and below them a pointer to the glossary."""
    from camal_rl.comparison.text_table import text_table

    for table in tables:
        print(text_table(table, width()), end="\n\n")
    if legend:
        say(LEGEND)


def say(text: str) -> None:
    """Print a paragraph."""
    from camal_rl.comparison.text_table import wrapped

    print("\n".join(wrapped(text, width())))

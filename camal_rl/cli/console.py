"""Tables on stdout."""

from __future__ import annotations

from rich.console import Console

_WIDTH = 160


def table_console() -> Console:
    """Return a console as wide as the terminal; in a pipe or a file, wide enough for every table here."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)

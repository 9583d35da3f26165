"""Progress bars on stderr, only where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def wanted(choice: bool | None) -> bool:
    """Return the user's choice, or whether stderr is a terminal."""
    return sys.stderr.isatty() if choice is None else choice


def progress_bar(shown: bool, percent: bool = False) -> Progress:
    """Return rich's progress display, to be used as a context manager; it counts, or tells the percentage."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn() if percent else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )


@contextmanager
def stage_bar(total: int, shown: bool) -> Iterator[Callable[[str], None]]:
    """Show a bar over ``total`` stages; call what it gives with the name of each stage that is done."""
    with progress_bar(shown) as bar:
        task = bar.add_task("evaluation", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)

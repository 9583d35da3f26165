"""Progress on stderr: a bar on a terminal, a line at intervals elsewhere."""

from __future__ import annotations

import enum
import sys
import time
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

_SECONDS_BETWEEN = 30.0
_LEAST_SECONDS = 3.0
_SHARE_BETWEEN = 0.05

Update = Callable[[str, float, float | None], None]
"""Called with the activity, how much of it is done, and the total (``None`` if unknown)."""


class Mode(enum.Enum):
    """Ways to show progress."""

    BAR = "bar"
    LINES = "lines"
    NONE = "none"


def mode(choice: bool | None) -> Mode:
    """Return the way to show progress: none with ``--no-progress``, else a bar on a terminal, lines elsewhere."""
    if choice is False:
        return Mode.NONE
    return Mode.BAR if sys.stderr.isatty() else Mode.LINES


class Ticker:
    """Decides when a line is due: at every twentieth of the work but at most every 3 s, and at least every 30 s.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = self.started = clock()
        self._last_share = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self.started

    def due(self, share: float) -> bool:
        """Return whether a line is due when ``share`` of the work is done; if so, the interval restarts."""
        now = self._clock()
        waited, advanced = now - self._last, share - self._last_share
        due = waited >= _SECONDS_BETWEEN or (waited >= _LEAST_SECONDS and advanced >= _SHARE_BETWEEN)
        if due:
            self._last, self._last_share = now, share
        return due

    def left(self, share: float, before: float = 0.0) -> str:
        """Return the remaining time at the speed so far, in words; empty if unknown.

        Args:
            share: the completed share of the work.
            before: the share that was complete before this process began, as after resuming; it does not count for the
                speed.
        """
        if not before < share < 1:
            return ""
        return f"{duration(self.elapsed * (1 - share) / (share - before))} left"


class StepLines:
    """Writes lines such as ``training: 4,096 of 8,192 steps (50 %), 512 steps/s, mean return 0.25, 8 s left``.

    Args:
        what: name of the activity.
        ticker: decides when a line is due.
        write: receives each line.
    """

    def __init__(self, what: str, ticker: Ticker | None = None, write: Callable[[str], None] | None = None) -> None:
        self.what, self.ticker, self.write = what, ticker or Ticker(), write or write_line
        self._first: int | None = None

    def report(self, done: int, total: int, note: str = "") -> None:
        """Write a line if one is due.

        Args:
            done: finished steps; those of the first report, as after resuming, do not count for the speed.
            total: all steps.
            note: an additional note.
        """
        if self._first is None:
            self._first = done
        # Whole rollouts may exceed the requested total.
        total = max(done, total)
        share = done / total
        if not self.ticker.due(share):
            return
        own, elapsed = done - self._first, self.ticker.elapsed
        speed = f"{own / elapsed:,.{0 if own >= 10 * elapsed else 1}f} steps/s" if own > 0 < elapsed else ""
        left = self.ticker.left(share, before=self._first / total)
        told = [f"{self.what}: {done:,} of {total:,} steps ({share:.0%})", speed, note, left]
        self.write(", ".join(part for part in told if part))


def duration(seconds: float) -> str:
    """Return seconds as ``8 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def write_line(text: str) -> None:
    """Write a line to stderr at once."""
    print(text, file=sys.stderr, flush=True)


def progress_bar(percent: bool = False) -> Progress:
    """Return rich's progress display, a context manager; it shows counts or a percentage."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn() if percent else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def shown(choice: bool | None, what: str) -> Iterator[Update]:
    """Show progress in units other than steps: call the yielded function at every change."""
    how = mode(choice)
    if how is Mode.BAR:
        with progress_bar() as bar:
            task = bar.add_task(what, total=1)
            yield lambda doing, done, total: bar.update(task, description=doing, completed=done, total=total)
        return
    ticker = Ticker()

    def update(doing: str, done: float, total: float | None) -> None:
        share = done / total if total else 0.0
        if how is Mode.LINES and ticker.due(share):
            count = f"{done:,.0f} of {total:,.0f}" if total else f"{done:,.0f}"
            told = [f"{what}: {count}, {doing}", ticker.left(share)]
            write_line(", ".join(part for part in told if part))

    yield update


@contextmanager
def stages_shown(total: int, choice: bool | None, what: str) -> Iterator[Callable[[str], None]]:
    """Show how many of ``total`` stages are done; call the yielded function with the name of each finished stage."""
    done = 0
    with shown(choice, what) as update:
        update(what, 0, total)

        def on_stage(name: str) -> None:
            nonlocal done
            done += 1
            update(name, done, total)

        yield on_stage

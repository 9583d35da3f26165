"""Runs that a backend executes: their progress on stderr, and their failures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from camal_rl.runs.stopping import exit_code

if TYPE_CHECKING:
    from camal_rl.comparison.backends import Execute
    from camal_rl.comparison.outcomes import OnProgress, Outcome
    from camal_rl.comparison.plan import PlannedRun
    from camal_rl.failures import RunFailure


def execute_shown(execute: Execute, runs: Sequence[PlannedRun], progress: bool | None) -> Outcome:
    """Execute runs and show the progress of each and of all, with the time left.

    Args:
        execute: the function of a backend.
        runs: the runs.
        progress: value of ``--progress``.
    """
    from camal_rl.cli.progress import Mode, mode, progress_bar

    how = mode(progress)
    if how is not Mode.BAR:
        return execute(runs, sys.argv, _lines(runs) if how is Mode.LINES else _silent, _tell)
    with progress_bar(percent=True) as bar:
        whole = bar.add_task(f"{len(runs)} runs", total=len(runs))
        tasks = [bar.add_task(planned.label, total=1.0, visible=False) for planned in runs]
        shares: list[float] = [0.0] * len(runs)
        before = dict[int, float]()

        def on_progress(index: int, share: float, activity: str) -> None:
            shares[index] = share
            if before.setdefault(index, share) == 1 and share == 1:
                # Done before this command: the time left is estimated from what it does itself.
                bar.reset(whole)
            description = f"{runs[index].label}: {activity.partition(',')[0]}"
            bar.update(tasks[index], completed=share, description=description, visible=share < 1)
            bar.update(whole, completed=sum(shares))

        return execute(runs, sys.argv, on_progress, _tell)


def end_if_interrupted(runs: Sequence[PlannedRun], outcome: Outcome) -> None:
    """Exit with code 130 or 143 if a signal ended the command and some runs are unfinished."""
    unfinished = [run for index, run in enumerate(runs) if index not in outcome.failures and not run.is_finished()]
    if outcome.signal is not None and unfinished:
        told = f"interrupted with {len(unfinished)} of {len(runs)} runs unfinished; run the same command to resume"
        print(told, file=sys.stderr)
        raise typer.Exit(exit_code(outcome.signal))


def end_if_failed(runs: Sequence[PlannedRun], failures: Mapping[int, RunFailure]) -> None:
    """Print every failed run, and exit with the largest of their exit codes if there are any."""
    tell_failures(runs, failures)
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures.values()))


def tell_failures(runs: Sequence[PlannedRun], failures: Mapping[int, RunFailure]) -> None:
    """Print a line for every failed run."""
    for index, failure in sorted(failures.items()):
        print(f"camal-rl: {runs[index].label} failed and is left out: {failure}", file=sys.stderr)


def _silent(index: int, share: float, activity: str) -> None:
    """Show no progress."""


def _tell(line: str) -> None:
    print(f"camal-rl: {line}", file=sys.stderr)


def _lines(runs: Sequence[PlannedRun]) -> OnProgress:
    """Return the callback that prints the finished share and the activity of every unfinished run at intervals."""
    from camal_rl.cli.progress import Ticker, write_line

    ticker, shares, doing = Ticker(), [0.0] * len(runs), [""] * len(runs)
    before = dict[int, float]()

    def on_progress(index: int, share: float, activity: str) -> None:
        shares[index], doing[index] = share, activity
        before.setdefault(index, share)
        whole = sum(shares) / len(runs)
        if ticker.due(whole):
            busy = [f"{runs[place].label} {what}" for place, what in enumerate(doing) if what and shares[place] < 1]
            told = [f"{whole:.0%} of {len(runs)} runs", ticker.left(whole, before=sum(before.values()) / len(runs))]
            write_line("; ".join([", ".join(part for part in told if part), *busy]))

    return on_progress

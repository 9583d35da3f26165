"""Progress and outcome of the runs of a comparison, the same for every backend."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.worker import BUG, DONE, FAILED, INTERRUPTED, PROGRESS, WARNING
from camal_rl.failures import RunFailure

OnProgress = Callable[[int, float, str], None]
"""Called with a run's index, the finished share in [0, 1], and the current activity: a word, then details."""
Tell = Callable[[str], None]
"""Called with a message of one line about a run."""

ATTEMPTS = 2
"""Number of attempts for a run whose process is killed."""


class Ending(NamedTuple):
    """How the process of a run ended without a final message.

    Attributes:
        how: in words, such as ``was ended by SIGKILL``.
        attempts: number of attempts for a run whose process ends for this reason.
        then: message about the next attempt.
    """

    how: str
    attempts: int = ATTEMPTS
    then: str = "it is retried once"


class CellFailure(RunFailure):
    """A run of a comparison that failed; the message is one line.

    Attributes:
        exit_code: 3 if training diverged, 2 if an environment, a file or a setting is the cause, 1 for a bug or a
            killed process.
    """

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code  # type: ignore[misc]


class Outcome(NamedTuple):
    """The outcome of all runs.

    Attributes:
        failures: the failed runs by index, with the reason. The other runs were executed.
        signal: the signal that ended the comparison, or ``None``. After a signal some runs are unfinished.
    """

    failures: dict[int, RunFailure]
    signal: int | None


class Cells:
    """Tracks the runs: which are waiting, how often each was tried, which failed; and reports this.

    Args:
        runs: the runs; finished ones are not executed.
        on_progress: called with the progress of each run.
        tell: called with a message about a run.

    Attributes:
        waiting: indices of the runs to start, in order.
        failures: the failed runs by index.
    """

    def __init__(self, runs: Sequence[PlannedRun], on_progress: OnProgress, tell: Tell) -> None:
        self.runs, self._on_progress, self._tell = runs, on_progress, tell
        self.waiting = deque(index for index, planned in enumerate(runs) if not planned.is_finished())
        self.failures: dict[int, RunFailure] = {}
        self._lost: Counter[tuple[int, str]] = Counter()
        self._shares: dict[int, float] = {}
        for index in set(range(len(runs))) - set(self.waiting):
            on_progress(index, 1.0, "done before")

    def receive(self, index: int, message: tuple[Any, ...]) -> None:
        """Handle a message of a run's process other than its final one."""
        kind, *content = message
        if kind == PROGRESS:
            self._shares[index] = content[0]
            self._on_progress(index, *content)
        elif kind == WARNING:
            self._tell(f"warning: {self.runs[index].label}: {content[0]}")

    def settle(self, index: int, last: tuple[Any, ...], ending: Ending, stops: bool = False) -> None:
        """Record the outcome of a run whose process has ended.

        Args:
            index: index of the run.
            last: the final message of its process, empty if it was killed before.
            ending: how the process ended, if it sent no final message.
            stops: whether the comparison is ending; an interrupted run is then not retried.
        """
        kind = last[0] if last else None
        if kind == DONE:
            self._on_progress(index, 1.0, "done")
        elif kind == FAILED:
            self._fail(index, CellFailure(*last[1:]))
        elif not stops:
            self._try_again(index, Ending("was stopped by a signal") if kind == INTERRUPTED else ending)

    def _try_again(self, index: int, ending: Ending) -> None:
        self._lost[index, ending.then] += 1
        if self._lost[index, ending.then] < ending.attempts:
            self._tell(f"{self.runs[index].label}: its process {ending.how}; {ending.then}")
            self._on_progress(index, self._shares.get(index, 0.0), "waiting")
            self.waiting.appendleft(index)
        else:
            self._fail(index, CellFailure(f"its process {ending.how}, again; run the same command to retry", BUG))

    def _fail(self, index: int, failure: RunFailure) -> None:
        self.failures[index] = failure
        self._on_progress(index, 1.0, "failed")

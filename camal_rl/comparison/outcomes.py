"""What becomes of the runs of a comparison while they are executed, whichever backend does it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.worker import BUG, DONE, FAILED, INTERRUPTED, PROGRESS, WARNING
from camal_rl.failures import RunFailure

OnProgress = Callable[[int, float, str], None]
"""Called with a run's index, the share of it that is done in [0, 1], and what it is doing: a word, then details."""
Tell = Callable[[str], None]
"""Called with a line about something that happened to a run."""

ATTEMPTS = 2
"""How often a run is tried whose process is killed."""


class Ending(NamedTuple):
    """How a run's process ended that sent no last message.

    Attributes:
        how: in words: ``was ended by SIGKILL``.
        attempts: how often a run is tried whose process ends for this reason.
        then: what is told of the next try.
    """

    how: str
    attempts: int = ATTEMPTS
    then: str = "it is tried once more"


class CellFailure(RunFailure):
    """A run of a comparison that failed; the message is one line.

    Attributes:
        exit_code: 3 where training diverged, 2 where an environment, a file or a setting is to blame, 1 for a bug or a
            process that was killed.
    """

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code  # type: ignore[misc]


class Outcome(NamedTuple):
    """How the runs ended.

    Attributes:
        failures: by index the runs that failed, with the reason. The others went on.
        signal: the signal that ended the comparison, ``None`` without any; some runs are not done then.
    """

    failures: dict[int, RunFailure]
    signal: int | None


class Cells:
    """Keeps account of runs: which wait, how often each was tried, which failed; and tells of them.

    Args:
        runs: the runs; those that are finished are not executed.
        on_progress: told how far each run is.
        tell: told what happened to one.

    Attributes:
        waiting: the indices of runs that are to be started, in order.
        failures: by index the runs that failed.
    """

    def __init__(self, runs: Sequence[PlannedRun], on_progress: OnProgress, tell: Tell) -> None:
        self.runs, self._on_progress, self._tell = runs, on_progress, tell
        self.waiting = deque(index for index, planned in enumerate(runs) if not planned.is_finished())
        self.failures: dict[int, RunFailure] = {}
        self._lost: Counter[tuple[int, str]] = Counter()
        for index in set(range(len(runs))) - set(self.waiting):
            on_progress(index, 1.0, "done before")

    def receive(self, index: int, message: tuple[Any, ...]) -> None:
        """Take a message of a run's process that is not its last one."""
        kind, *content = message
        if kind == PROGRESS:
            self._on_progress(index, *content)
        elif kind == WARNING:
            self._tell(f"warning: {self.runs[index].label}: {content[0]}")

    def settle(self, index: int, last: tuple[Any, ...], ending: Ending, stops: bool = False) -> None:
        """Take account of a run whose process has ended.

        Args:
            index: the run's.
            last: the last message of its process, empty where it was killed before.
            ending: how a process ended that sent none.
            stops: whether the comparison is being ended; a run that was interrupted is not tried again then.
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
            self.waiting.appendleft(index)
        else:
            self._fail(index, CellFailure(f"its process {ending.how}, again; the same command tries anew", BUG))

    def _fail(self, index: int, failure: RunFailure) -> None:
        self.failures[index] = failure
        self._on_progress(index, 1.0, "failed")

"""Train and evaluate the runs of a comparison in worker processes on this machine, one for each run."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.worker import BUG, DONE, FAILED, INTERRUPTED, PROGRESS, WARNING, work
from camal_rl.failures import RunFailure
from camal_rl.processes import ending, signals_held_back
from camal_rl.runs.stopping import SIGNALS, stopping

OnProgress = Callable[[int, float, str], None]
"""Called with a run's index, the share of it that is done in [0, 1], and what it is doing: a word, then details."""
Tell = Callable[[str], None]
"""Called with a line about something that happened to a run."""

ATTEMPTS = 2
"""How often a run is tried whose process is killed."""
_POLL_SECONDS = 0.2
_Target = Callable[[PlannedRun, Sequence[str], connection.Connection], None]


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


def execute_runs(
    runs: Sequence[PlannedRun], jobs: int, command: Sequence[str], on_progress: OnProgress, tell: Tell = print
) -> Outcome:
    """Train and evaluate the runs that are not finished, ``jobs`` at a time, each from its newest checkpoint.

    Each run has a process with one torch thread, so results do not depend on ``jobs``. A process that is killed takes
    no other along: its run is tried once more. Ctrl-C and SIGTERM end training after the step under way, with a
    checkpoint; no other run starts. A second signal ends everything at once.
    """
    return _Workers(runs, command, on_progress, tell).execute(jobs)


@dataclass
class _Worker:
    """A process and what it has told.

    Attributes:
        index: the run's.
        process: the process.
        messages: where its messages come from.
        last: the message with which it ended, empty before.
    """

    index: int
    process: SpawnProcess
    messages: connection.Connection
    last: tuple[Any, ...] = ()


class _Workers:
    """The worker processes of one comparison."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        command: Sequence[str],
        on_progress: OnProgress,
        tell: Tell,
        target: _Target = work,
    ) -> None:
        self.runs, self.command, self.on_progress, self.tell, self.target = runs, command, on_progress, tell, target
        self.waiting = deque(index for index, planned in enumerate(runs) if not planned.is_finished())
        self.running: list[_Worker] = []
        self.attempts: Counter[int] = Counter()
        self.failures: dict[int, RunFailure] = {}
        for index in set(range(len(runs))) - set(self.waiting):
            on_progress(index, 1.0, "done before")

    def execute(self, jobs: int) -> Outcome:
        """Run all of them, or those that run when a signal comes."""
        with stopping() as request:
            try:
                told = False
                while self.running or (self.waiting and not request()):
                    while self.waiting and len(self.running) < jobs and not request():
                        self._start(self.waiting.popleft())
                    if request.signal is not None and not told:
                        self._send(request.signal)
                        told = True
                    self._listen()
                    for worker in [each for each in self.running if each.process.exitcode is not None]:
                        self._settle(worker, stops=request())
            finally:
                for worker in self.running:
                    worker.process.kill()
                    worker.process.join()
        return Outcome(self.failures, request.signal)

    def _start(self, index: int) -> None:
        self.attempts[index] += 1
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self.target, args=(self.runs[index], list(self.command), sender))
        # Ctrl-C of a terminal reaches workers too: they wait with it until they can handle it.
        with signals_held_back(*SIGNALS):
            process.start()
        sender.close()
        self.running.append(_Worker(index, process, receiver))

    def _send(self, number: int) -> None:
        """Send the signal to every worker; one that a terminal has given it to already takes no notice."""
        for worker in self.running:
            with suppress(ProcessLookupError):
                if worker.process.pid is not None:
                    os.kill(worker.process.pid, number)

    def _listen(self) -> None:
        """Take the messages that are there, or wait a little for one or for the end of a process."""
        sources: list[Any] = [worker.process.sentinel for worker in self.running]
        sources += [worker.messages for worker in self.running if not worker.messages.closed]
        ready = connection.wait(sources, timeout=_POLL_SECONDS)
        for worker in self.running:
            if worker.messages in ready:
                self._receive(worker)

    def _receive(self, worker: _Worker) -> None:
        """Take the messages of a worker; the last one of a killed process may be a part of one."""
        try:
            while worker.messages.poll():
                kind, *content = worker.messages.recv()
                if kind == PROGRESS:
                    self.on_progress(worker.index, *content)
                elif kind == WARNING:
                    self.tell(f"warning: {self.runs[worker.index].label}: {content[0]}")
                else:
                    worker.last = (kind, *content)
        except (EOFError, OSError):
            worker.messages.close()

    def _settle(self, worker: _Worker, stops: bool) -> None:
        """Take account of a process that has ended."""
        if not worker.messages.closed:
            self._receive(worker)
        worker.messages.close()
        worker.process.join()
        self.running.remove(worker)
        index, label = worker.index, self.runs[worker.index].label
        kind = worker.last[0] if worker.last else None
        if kind == DONE:
            self.on_progress(index, 1.0, "done")
        elif kind == FAILED:
            self._fail(index, CellFailure(*worker.last[1:]))
        elif not stops:
            how = "was stopped by a signal" if kind == INTERRUPTED else ending(worker.process.exitcode)
            if self.attempts[index] < ATTEMPTS:
                self.tell(f"{label}: its process {how}; it is tried once more")
                self.waiting.appendleft(index)
            else:
                self._fail(index, CellFailure(f"its process {how}, again; the same command tries anew", BUG))

    def _fail(self, index: int, failure: RunFailure) -> None:
        self.failures[index] = failure
        self.on_progress(index, 1.0, "failed")

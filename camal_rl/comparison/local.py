"""Train and evaluate the runs of a comparison in worker processes on this machine, one for each run."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from camal_rl.comparison.backends import Execute
from camal_rl.comparison.outcomes import Cells, Ending, Outcome
from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.worker import PROGRESS, WARNING, work
from camal_rl.processes import ending, signals_held_back
from camal_rl.runs.stopping import SIGNALS, stopping

_POLL_SECONDS = 0.2
_Target = Callable[[PlannedRun, Sequence[str], connection.Connection], None]


@dataclass(frozen=True)
class LocalBackend:
    """Worker processes on this machine, see :class:`camal_rl.comparison.backends.Backend`.

    Each run has a process with one torch thread, so results do not depend on ``jobs``. If a process is killed, the
    others go on and its run is retried once. Ctrl-C and SIGTERM end training after the current step, with a checkpoint,
    and no further run starts. A second signal ends everything at once.

    Attributes:
        jobs: number of runs at the same time; ``None``: one for each core.
    """

    jobs: int | None = None

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Execute]:
        """Yield the function that executes runs."""
        jobs = self.jobs if self.jobs is not None else os.cpu_count() or 1
        yield lambda runs, command, on_progress, tell: _Workers(Cells(runs, on_progress, tell), command).execute(jobs)


@dataclass
class _Worker:
    """A worker process and the last message it has sent.

    Attributes:
        index: index of the run.
        process: the process.
        messages: connection from which its messages are read.
        last: its final message; empty until it has ended.
    """

    index: int
    process: SpawnProcess
    messages: connection.Connection
    last: tuple[Any, ...] = ()


class _Workers:
    """The worker processes of one comparison."""

    def __init__(self, cells: Cells, command: Sequence[str], target: _Target = work) -> None:
        self.cells, self.command, self.target = cells, command, target
        self.running: list[_Worker] = []

    def execute(self, jobs: int) -> Outcome:
        """Execute all runs, or finish only the active ones after a signal."""
        with stopping() as request:
            try:
                told = False
                while self.running or (self.cells.waiting and not request()):
                    while self.cells.waiting and len(self.running) < jobs and not request():
                        self._start(self.cells.waiting.popleft())
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
        return Outcome(self.cells.failures, request.signal)

    def _start(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self.target, args=(self.cells.runs[index], list(self.command), sender))
        # Ctrl-C in a terminal reaches workers too; they defer it until they can handle it.
        with signals_held_back(*SIGNALS):
            process.start()
        sender.close()
        self.running.append(_Worker(index, process, receiver))

    def _send(self, number: int) -> None:
        """Send the signal to every worker; a worker that got it from the terminal already ignores it."""
        for worker in self.running:
            with suppress(ProcessLookupError):
                if worker.process.pid is not None:
                    os.kill(worker.process.pid, number)

    def _listen(self) -> None:
        """Read the available messages, or wait briefly for a message or for the end of a process."""
        sources: list[Any] = [worker.process.sentinel for worker in self.running]
        sources += [worker.messages for worker in self.running if not worker.messages.closed]
        ready = connection.wait(sources, timeout=_POLL_SECONDS)
        for worker in self.running:
            if worker.messages in ready:
                self._receive(worker)

    def _receive(self, worker: _Worker) -> None:
        """Read the messages of a worker; the last message of a killed process may be incomplete."""
        try:
            while worker.messages.poll():
                message = worker.messages.recv()
                if message[0] in (PROGRESS, WARNING):
                    self.cells.receive(worker.index, message)
                else:
                    worker.last = message
        except (EOFError, OSError):
            worker.messages.close()

    def _settle(self, worker: _Worker, stops: bool) -> None:
        """Record the outcome of a process that has ended."""
        if not worker.messages.closed:
            self._receive(worker)
        worker.messages.close()
        worker.process.join()
        self.running.remove(worker)
        self.cells.settle(worker.index, worker.last, Ending(ending(worker.process.exitcode)), stops)

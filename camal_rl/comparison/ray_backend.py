"""Execute the runs of a comparison on a Ray cluster, each as one task."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camal_rl.atomic import PARTIAL, WriteError, write_text
from camal_rl.comparison.backends import Execute
from camal_rl.comparison.outcomes import Cells, Ending, Outcome, Tell
from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.ray_cluster import check_room, connected, import_ray
from camal_rl.comparison.ray_worker import COPY, NOT_SHARED, Job, Mailbox, Token, execute_job
from camal_rl.comparison.worker import BUG, FAILED, INTERRUPTED, WARNING
from camal_rl.failures import RunFailure
from camal_rl.runs.run_archive import pack_folder, unpack_folder
from camal_rl.runs.stopping import stopping

_MACHINES = 6
"""Number of machines a run may lose before it counts as failed: the run itself may be too large and crash them."""
_LEAST = 1e-4
"""The smallest amount of a resource that Ray distinguishes."""
_POLL_SECONDS = 0.5
_SECONDS_BETWEEN_LOOKS = 10.0


@dataclass(frozen=True)
class RayBackend:
    """A Ray cluster, see :class:`camal_rl.comparison.backends.Backend`.

    Each run is a task in its own process, with the same code that :class:`camal_rl.comparison.local.LocalBackend` runs.
    A run whose process is killed is retried once; a run whose machine is lost continues on another one.

    Attributes:
        address: ``HOST:PORT`` of the cluster, ``auto`` for the cluster that this machine belongs to; ``None`` starts a
            new cluster on this machine.
        jobs: number of runs at the same time; ``None``: as many as fit.
        gpus_per_run: GPUs of each run, a whole number or a fraction of one; 0: the run sees none.
        cpus_per_run: CPUs reserved for each run, which still computes with one thread.

    Raises:
        ValueError: a number of GPUs or CPUs that Ray does not support.
    """

    address: str | None = None
    jobs: int | None = None
    gpus_per_run: float = 0.0
    cpus_per_run: float = 1.0

    def __post_init__(self) -> None:
        for flag, amount, least in (
            ("--gpus-per-run", self.gpus_per_run, 0.0),
            ("--cpus-per-run", self.cpus_per_run, _LEAST),
        ):
            if not math.isfinite(amount) or amount < least or (amount > 1 and amount != int(amount)):
                raise ValueError(f"{flag} must be a fraction of one, such as .25, or a whole number, got {amount:g}")

    @property
    def resources(self) -> Mapping[str, float]:
        """Resources of a run, by Ray's names."""
        return {"CPU": self.cpus_per_run, **({"GPU": self.gpus_per_run} if self.gpus_per_run else {})}

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Execute]:
        """Connect to the cluster, check that it has room for a run, and yield the function that executes runs."""
        ray = import_ray()
        with connected(ray, self.address):
            check_room(ray, self.resources)
            yield lambda runs, command, on_progress, tell: _Tasks(
                ray, self, Cells(runs, on_progress, tell), command, tell
            ).execute(folder)


class _Tasks:
    """The tasks of one comparison."""

    def __init__(self, ray: Any, backend: RayBackend, cells: Cells, command: Sequence[str], tell: Tell) -> None:
        self.ray, self.backend, self.cells, self.command, self.tell = ray, backend, cells, tuple(command), tell
        self.running: dict[Any, Job] = {}
        self.indices: dict[int, int] = {}
        self.numbers = itertools.count()
        self.copies_files = False
        # Each run has its own process, as on one machine, so that no state carries over to the next.
        self.task = ray.remote(
            num_cpus=backend.cpus_per_run, num_gpus=backend.gpus_per_run, max_retries=0, max_calls=1
        )(execute_job)
        self.mailbox = self._mailbox()
        self.looked = time.monotonic()
        self.told_to_wait = False

    def _mailbox(self) -> Any:
        here = self.ray.get_runtime_context().get_node_id()
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
        return self.ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=strategy)(Mailbox).remote()

    def execute(self, folder: Path) -> Outcome:
        """Execute all runs, or finish only the active ones after a signal."""
        with _token(folder) as token, stopping() as request:
            told = False
            while self.running or (self.cells.waiting and not request()):
                while self.cells.waiting and not request() and len(self.running) < (self.backend.jobs or math.inf):
                    self._start(self.cells.waiting.popleft(), token)
                if request() and not told:
                    self._stop()
                    told = True
                ended, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=_POLL_SECONDS)
                self._receive()
                for reference in ended:
                    self._settle(reference, stops=request())
                self._look_for_room()
        return Outcome(self.cells.failures, request.signal)

    def _start(self, index: int, token: Token) -> None:
        planned = self.cells.runs[index]
        has_files = not planned.folder.is_empty()
        files = pack_folder(planned.folder.path) if has_files and self.copies_files else None
        job = Job(
            next(self.numbers), _absolute(planned), self.command, token, Path.cwd(), self.backend.gpus_per_run > 0,
            has_files, files,
        )  # fmt: skip
        self.indices[job.number] = index
        self.running[self.task.remote(job, self.mailbox)] = job

    def _stop(self) -> None:
        """End every run as Ctrl-C does: after the current step, with a checkpoint."""
        for reference in self.running:
            self.ray.cancel(reference)

    def _receive(self) -> None:
        """Read the available messages."""
        try:
            messages = self.ray.get(self.mailbox.take.remote())
        except self.ray.exceptions.RayError:
            return  # its process was killed; another one replaces it
        running = {job.number for job in self.running.values()}
        for number, message in messages:
            if number not in running:
                continue  # from a machine that counts as lost
            index = self.indices[number]
            if message[0] == COPY:
                try:
                    unpack_folder(message[1], self.cells.runs[index].folder.path)
                except (ValueError, WriteError) as error:
                    self.cells.receive(index, (WARNING, f"{error}; the run goes on"))
            else:
                self.cells.receive(index, message)

    def _settle(self, reference: Any, stops: bool) -> None:
        """Record the outcome of a task that has ended."""
        job = self.running.pop(reference)
        index = self.indices[job.number]
        last, ending, archive = self._result(reference)
        if last == (NOT_SHARED,):
            self.copies_files = True
            self.cells.waiting.appendleft(index)
            return
        if archive is not None:
            try:
                unpack_folder(archive, self.cells.runs[index].folder.path)
            except (ValueError, WriteError) as error:
                last = (FAILED, str(error), RunFailure.exit_code)
        self.cells.settle(index, last, ending, stops)

    def _result(self, reference: Any) -> tuple[tuple[Any, ...], Ending, bytes | None]:
        """Return the result of a task: final message and archive, or how it ended without them."""
        try:
            last, archive = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return *ending_of(error, self.ray.exceptions), None
        return last, Ending(""), archive

    def _look_for_room(self) -> None:
        """Report once that no remaining machine has room for a run."""
        if self.told_to_wait or not self.running or time.monotonic() - self.looked < _SECONDS_BETWEEN_LOOKS:
            return
        self.looked = time.monotonic()
        try:
            check_room(self.ray, self.backend.resources)
        except ValueError as error:
            self.tell(f"{error}; the runs wait for one")
            self.told_to_wait = True


def ending_of(error: Exception, errors: Any) -> tuple[tuple[Any, ...], Ending]:
    """Translate the exception of a task into a final message, empty if the process sent none, and an ending.

    Args:
        error: the exception raised by ``ray.get``.
        errors: the module ``ray.exceptions``.
    """
    if isinstance(error, errors.TaskCancelledError):
        return (INTERRUPTED,), Ending("was stopped by a signal")
    if isinstance(error, errors.RayTaskError):
        return (FAILED, f"its process cannot run: {_last_line(error)}", BUG), Ending("failed")
    if isinstance(error, errors.OutOfMemoryError):
        return (), Ending("was ended by Ray, since the memory of its machine ran out")
    if isinstance(error, errors.WorkerCrashedError):
        return (), Ending("crashed or was killed, as the system does when memory runs out")
    lost = isinstance(error, errors.NodeDiedError | errors.ObjectLostError)
    how = "was lost with its machine" if lost else f"ended: {_last_line(error)}"
    return (), Ending(how, _MACHINES, "it continues on another machine")


@contextmanager
def _token(folder: Path) -> Iterator[Token]:
    """Write the file by which workers detect whether they see the folder."""
    token = Token(folder.absolute() / f"{PARTIAL}cluster-{uuid.uuid4().hex}", uuid.uuid4().hex)
    write_text(token.file, token.text)
    try:
        yield token
    finally:
        with contextlib.suppress(OSError):
            token.file.unlink()


def _absolute(planned: PlannedRun) -> PlannedRun:
    return replace(planned, folder=replace(planned.folder, path=planned.folder.path.absolute()))


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()

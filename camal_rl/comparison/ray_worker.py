"""One run of a comparison as a Ray task: where it writes, and how it sends messages and files to the driver."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.worker import FAILED, PROGRESS, execute_run
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.lock import wait_until_free
from camal_rl.runs.run_archive import pack_folder, unpack_folder
from camal_rl.runs.run_folder import RunFolder

COPY, NOT_SHARED = "copy", "not shared"
"""Further messages: ``COPY`` carries an archive of the run's folder; ``NOT_SHARED``: the driver's folder is not
visible."""

SECONDS_BETWEEN_PROGRESS = 1.0
"""Minimum time between two progress messages of a run, in seconds."""
_LOCK_SECONDS = 60.0


class Mailbox:
    """Stores messages of tasks until the driver reads them; an actor on the driver's machine."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, tuple[Any, ...]]] = []

    def put(self, number: int, message: tuple[Any, ...]) -> None:
        """Add a message of the task of that number."""
        self._messages.append((number, message))

    def take(self) -> list[tuple[int, tuple[Any, ...]]]:
        """Return the messages since the last call."""
        taken, self._messages = self._messages, []
        return taken


@dataclass(frozen=True)
class Token:
    """A file by which a worker detects whether it sees the driver's folder.

    Attributes:
        file: the file's absolute path.
        text: its content.
    """

    file: Path
    text: str

    def is_seen(self) -> bool:
        """Return whether the file exists with the same content."""
        try:
            return self.file.read_text() == self.text
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class Job:
    """The work of one task.

    Attributes:
        number: unique number of the task.
        planned: the run, with the driver's folder.
        command: the command line.
        token: detects whether the driver's folder is visible.
        here: the driver's current folder.
        sees_gpus: whether the run asks for GPUs.
        has_files: whether the run's folder contains files to resume from.
        files: an archive of these files, once it is known to be needed.
    """

    number: int
    planned: PlannedRun
    command: tuple[str, ...]
    token: Token
    here: Path
    sees_gpus: bool
    has_files: bool
    files: bytes | None = None


def execute_job(job: Job, mailbox: Any) -> tuple[tuple[Any, ...], bytes | None]:
    """Train and evaluate a run; the function of a Ray task.

    Returns:
        The final message, and an archive of the run's folder if the driver's folder is not visible.
    """
    if not job.sees_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    shared = job.token.is_seen()
    if shared:
        with suppress(
            OSError
        ):  # as worker processes on the driver's machine do, so that relative paths in settings are valid
            os.chdir(job.here)
        wait_until_free(job.planned.folder.path, _LOCK_SECONDS)
        post = _Post(job.number, mailbox)
        execute_run(job.planned, job.command, post.send)
        return post.last, None
    if job.has_files and job.files is None:
        return (NOT_SHARED,), None
    with _own_folder(job) as planned:
        post = _Post(job.number, mailbox, planned.folder)
        execute_run(planned, job.command, post.send)
        last = post.last
        if last[0] == FAILED:
            last = (FAILED, last[1].replace(str(planned.folder.path), str(job.planned.folder.path)), *last[2:])
        return last, post.archive


@contextmanager
def _own_folder(job: Job) -> Iterator[PlannedRun]:
    """Yield the run with a folder on this machine instead of the driver's folder."""
    temporary = Path(tempfile.mkdtemp(prefix="camal-rl-"))
    try:
        path = temporary / job.planned.folder.path.name
        if job.files is not None:
            unpack_folder(job.files, path)
        yield replace(job.planned, folder=replace(job.planned.folder, path=path))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Post:
    """Sends a run's messages: progress at intervals, and a copy of a local folder with each new checkpoint.

    Attributes:
        last: the final message, which the task returns.
        archive: the folder at that time; ``None`` if the driver's folder is used.
    """

    def __init__(self, number: int, mailbox: Any, own: RunFolder | None = None) -> None:
        self.number, self.mailbox, self.own = number, mailbox, own
        self.last: tuple[Any, ...] = ()
        self.archive: bytes | None = None
        self._progress_sent = float("-inf")
        self._copied = 0 if own is None else _newest_step(own)

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message."""
        kind = message[0]
        if kind == PROGRESS:
            if time.monotonic() - self._progress_sent >= SECONDS_BETWEEN_PROGRESS:
                self._progress_sent = time.monotonic()
                self.mailbox.put.remote(self.number, message)
                self._copy()
        elif kind == FAILED or len(message) == 1:
            self.last = message
            self.archive = None if self.own is None else pack_folder(self.own.path)
        else:
            self.mailbox.put.remote(self.number, message)

    def _copy(self) -> None:
        if self.own is None or (step := _newest_step(self.own)) == self._copied:
            return
        self._copied = step
        # Waiting for the delivery would release this task's CPU to another task meanwhile.
        self.mailbox.put.remote(self.number, (COPY, pack_folder(self.own.path)))


def _newest_step(folder: RunFolder) -> int:
    return max((step for step, _ in checkpoint_folders(folder.checkpoints)), default=0)

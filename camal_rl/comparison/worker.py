"""One run of a comparison in its own process: the worker and its messages."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import connection
from typing import Any

import torch

from camal_rl.atomic import WriteError, write_text
from camal_rl.comparison.plan import PlannedRun
from camal_rl.failures import RunFailure
from camal_rl.processes import let_signals_through
from camal_rl.runs.folders import DamagedFile
from camal_rl.runs.lock import FolderInUse
from camal_rl.runs.stopping import SIGNALS, StopRequest, stopping
from camal_rl.runs.task import OnSteps, Task, Trial, task_of

PROGRESS, WARNING, DONE, INTERRUPTED, FAILED = "progress", "warning", "done", "interrupted", "failed"
"""Kinds of messages: ``PROGRESS`` with a share and words, ``WARNING`` with a line, ``FAILED`` with a line and an exit
code."""
BUG = 1
"""The exit code of an unforeseen failure."""

_TRAINING_SHARE = 0.9

Send = Callable[[tuple[Any, ...]], None]


def work(planned: PlannedRun, command: Sequence[str], messages: connection.Connection) -> None:
    """Train and evaluate a run; the main function of a worker process on this machine.

    Signals after the first are handled by the main process; the worker always ends with it. So that a signal has no
    effect after the run either, while this process ends, the handlers that the run leaves behind do nothing. (Ignoring
    a signal would discard one that is held back until the run can handle it.)
    """
    end_with_parent()
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    execute_run(planned, command, messages.send, lambda: let_signals_through(*SIGNALS))


def execute_run(
    planned: PlannedRun, command: Sequence[str], send: Send, when_ready: Callable[[], None] = lambda: None
) -> None:
    """Train and evaluate a run in this process, from its newest checkpoint, with one torch thread.

    The first signal ends training after the current step, with a checkpoint, and anything else at once. Further signals
    have no effect.

    Args:
        planned: the run.
        command: the command line, for its folder.
        send: receives each message; the final one is ``DONE``, ``INTERRUPTED`` or ``FAILED``. No signal interrupts it.
        when_ready: called once signals are handled.
    """
    torch.set_num_threads(1)
    patience = _Patience(send)
    with stopping(on_first=patience.interrupt, ends_at_second=False) as request, _warnings_sent(patience.send):
        try:
            when_ready()
            last: tuple[Any, ...] = (_execute(planned, command, patience, request),)
        except KeyboardInterrupt:
            last = (INTERRUPTED,)
        except RunFailure as error:
            last = (FAILED, error.one_line(), error.exit_code)
        except (WriteError, FolderInUse, DamagedFile) as error:
            last = (FAILED, _words(error), RunFailure.exit_code)
        except Exception as error:
            last = (FAILED, _keep_traceback(planned, error), BUG)
        patience.send(last)


def end_with_parent() -> None:
    """Make this worker process end with its parent, also when the parent is killed; called in the worker."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError(
            "end_with_parent() must be called in a worker process; this process was not started by multiprocessing"
        )

    def wait_for_end(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait_for_end, args=(parent.sentinel,), daemon=True).start()


class _Patience:
    """Limits what a signal interrupts: neither training, which ends by itself after a step, nor sending a message."""

    def __init__(self, send: Send) -> None:
        self._send, self._waits = send, False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Defer interrupts inside the block."""
        before, self._waits = self._waits, True
        try:
            yield
        finally:
            self._waits = before

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message to the main process."""
        with self.waiting():
            self._send(message)

    def interrupt(self, _: int) -> None:
        """End the current activity unless it ends by itself; called by the signal handler."""
        if not self._waits:
            raise KeyboardInterrupt


def _execute(planned: PlannedRun, command: Sequence[str], patience: _Patience, request: StopRequest) -> str:
    task, folder = task_of(planned.config), planned.folder
    if not planned.is_trained():
        trial = _prepared(task, planned)
        with patience.waiting():
            summary = task.train(trial, command, _training_messages(patience.send, trial.step))
        if summary["interrupted"]:
            return INTERRUPTED
        folder = replace(folder, trust=True)  # this process trained the model itself, so its files are trusted
    if not planned.is_evaluated():
        if request():
            return INTERRUPTED
        evaluation = task.evaluation(folder, planned.config)
        evaluation.run(_stage_messages(patience.send, len(evaluation.stages), request))
    return DONE


def _prepared(task: Task, planned: PlannedRun) -> Trial:
    try:
        return task.prepare(planned.config, planned.folder, resume=True)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise RunFailure(_words(error)) from error


@contextmanager
def _warnings_sent(send: Send) -> Iterator[None]:
    """Send this package's warnings as lines; Python prints the warnings of other packages."""

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if category.__module__.partition(".")[0] == "camal_rl":
            send((WARNING, str(message)))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def _keep_traceback(planned: PlannedRun, error: Exception) -> str:
    """Write an unforeseen exception to the run's folder and return the line that names it."""
    line, file = f"{type(error).__name__}: {_words(error)}", planned.folder.error_file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, traceback.format_exc())
    except OSError:
        traceback.print_exc()
        return line
    return f"{line}; the traceback is in {file}"


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _training_messages(send: Send, before: int) -> OnSteps:
    """Return the callback that sends the progress and speed of training.

    Args:
        send: sends a message.
        before: steps that were trained before this process started.
    """
    started = time.perf_counter()

    def on_steps(done: int, total: int, details: str) -> None:
        speed = (done - before) / (time.perf_counter() - started)
        told = ["training", f"{done:,} of {max(done, total):,} steps", f"{speed:,.0f} steps/s"]
        if details:
            told.append(details)
        send((PROGRESS, _TRAINING_SHARE * min(1.0, done / total), ", ".join(told)))

    return on_steps


def _stage_messages(send: Send, stages: int, request: StopRequest) -> Callable[[str], None]:
    """Return the callback that sends the finished share of a run after each stage of its evaluation."""
    counter = itertools.count(1)

    def on_stage(_: str) -> None:
        done = next(counter) / stages
        send((PROGRESS, _TRAINING_SHARE + (1 - _TRAINING_SHARE) * done, "evaluation"))
        if request() and done < 1:
            raise KeyboardInterrupt

    return on_stage

"""Train and evaluate the runs of a comparison in worker processes on this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import connection
from multiprocessing.managers import SyncManager
from typing import Any

import torch

from camal_rl.comparison.plan import PlannedRun
from camal_rl.failures import RunFailure
from camal_rl.runs.task import OnSteps, task_of

OnProgress = Callable[[int, float, str], None]
"""Called with a run's index, the share of it that is done in [0, 1], and what it is doing: a word, then details."""

_TRAINING_SHARE = 0.9
_POLL_SECONDS = 0.5


def execute_runs(
    runs: Sequence[PlannedRun], jobs: int, command: Sequence[str], on_progress: OnProgress
) -> dict[int, RunFailure]:
    """Train and evaluate the runs that are not finished, ``jobs`` at a time.

    Each run has a process with one torch thread, so results do not depend on ``jobs``.

    Returns:
        By index the runs that failed, with the reason: training diverged, or an environment failed. The others go on.
    """
    waiting = {index: planned for index, planned in enumerate(runs) if not planned.is_evaluated()}
    for index in set(range(len(runs))) - set(waiting):
        on_progress(index, 1.0, "done before")
    failures: dict[int, RunFailure] = {}
    if not waiting:
        return failures
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent)
    with manager, ProcessPoolExecutor(min(jobs, len(waiting)), context, end_with_parent) as pool:
        messages = manager.Queue()
        indices = {
            pool.submit(_execute, index, planned, list(command), messages): index for index, planned in waiting.items()
        }
        pending = set(indices)
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                _forward(messages, on_progress)
                for future in done:
                    try:
                        future.result()
                    except RunFailure as error:
                        failures[indices[future]] = error
                        on_progress(indices[future], 1.0, "failed")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failures


def end_with_parent() -> None:
    """Let this worker process end when its parent does, also when the parent is killed; called in the worker."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent() is for worker processes, this one has no parent of multiprocessing's")

    def wait_for_end(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait_for_end, args=(parent.sentinel,), daemon=True).start()


def _training_messages(index: int, messages: Any) -> OnSteps:
    """Return what sends how far training is, how fast, and what else there is to tell."""
    started = time.perf_counter()

    def on_steps(done: int, total: int, details: str) -> None:
        speed = done / (time.perf_counter() - started)
        told = ["training", f"{done:,} of {max(done, total):,} steps", f"{speed:,.0f} steps/s"]
        if details:
            told.append(details)
        messages.put((index, _TRAINING_SHARE * min(1.0, done / total), ", ".join(told)))

    return on_steps


def _execute(index: int, planned: PlannedRun, command: list[str], messages: Any) -> None:
    """Train and evaluate one run, in a worker process."""
    torch.set_num_threads(1)
    config, folder, task = planned.config, planned.folder, task_of(planned.config)
    if not folder.is_trained():
        summary = task.train(task.prepare(config, folder), command, _training_messages(index, messages))
        if summary["interrupted"]:
            return
    if not planned.is_evaluated():
        evaluation = task.evaluation(folder, config)
        evaluation.run(_stage_messages(index, messages, len(evaluation.stages)))
    messages.put((index, 1.0, "done"))


def _stage_messages(index: int, messages: Any, stages: int) -> Callable[[str], None]:
    """Return what sends the share of a run that is done after each stage of its evaluation."""
    counter = itertools.count(1)

    def on_stage(_: str) -> None:
        done = next(counter) / stages
        messages.put((index, _TRAINING_SHARE + (1 - _TRAINING_SHARE) * done, "evaluation"))

    return on_stage


def _forward(messages: Any, on_progress: OnProgress) -> None:
    while True:
        try:
            message = messages.get_nowait()
        except queue.Empty:
            return
        on_progress(*message)

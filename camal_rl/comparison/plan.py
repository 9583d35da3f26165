"""Compare methods over seeds: plan the runs, train and evaluate them in worker processes, reuse finished ones."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

import torch

from camal_rl.rl.evaluate.evaluation import evaluate_run, load_model, stages
from camal_rl.rl.step_report import StepReport, mean_return_words
from camal_rl.rl.training import prepare, run
from camal_rl.runs.loading import AnyConfig
from camal_rl.runs.run_folder import RunFolder, read_json
from camal_rl.supervised import evaluation as supervised_evaluation
from camal_rl.supervised import training as supervised_training
from camal_rl.supervised.config import SupervisedConfig

OnProgress = Callable[[int, float, str], None]
"""Called with a run's index, the share of it that is done in [0, 1], and what it is doing: a word, then details."""

_TRAINING_SHARE = 0.9
_POLL_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a comparison; two are the same only if they are one object, so that runs can be keys."""

    method: str
    seed: int
    config: AnyConfig
    folder: RunFolder

    @property
    def label(self) -> str:
        """What tables and bars call the run."""
        return f"{self.method} seed {self.seed}"

    def is_evaluated(self) -> bool:
        """Say whether the run's evaluation, with these settings, is there."""
        settings = self.config.as_dict()["evaluation"]
        return self.folder.metrics_file.is_file() and read_json(self.folder.metrics_file)["settings"] == settings


def method_config(config: AnyConfig, method: str, seed: int) -> AnyConfig:
    """Return the configuration of one method: ``ppo`` is weight 0, any other name is an attention loss.

    Those of runs on images: :meth:`camal_rl.supervised.config.SupervisedConfig.for_method`.

    Raises:
        ValueError: unknown method, or a weight of 0 for a method that has an attention loss.
    """
    if isinstance(config, SupervisedConfig):
        return replace(config.for_method(method), seed=seed, threads=1)
    camal = config.camal_for(method)
    if method != "ppo" and camal.weight == 0:
        raise ValueError(f"camal.weight is 0, which makes {method} the same as ppo; give a weight above 0")
    # One thread for each process: results do not depend on how many run at once. The settings of the other methods are
    # left out: this run stays valid when they change.
    return replace(config, camal=camal, methods={}, seed=seed, threads=1)


def plan_runs(config: AnyConfig, methods: Sequence[str], seeds: int, out: Path) -> list[PlannedRun]:
    """Return the runs of a comparison; seeds count from the configuration's own.

    Raises:
        ValueError: no or repeated methods, no seeds, or a method that does not exist.
        FileExistsError: a run's folder holds something else than a finished run of the same configuration.
    """
    if not methods or len(set(methods)) != len(methods):
        raise ValueError(f"methods must be at least one name, each once, got {','.join(methods) or 'none'}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        for method in methods:
            settings = method_config(config, method, seed)
            runs.append(PlannedRun(method, seed, settings, RunFolder(out / f"{method}-seed{seed}")))
    for planned in runs:
        _check_reusable(planned)
    return runs


def check_runs(runs: Sequence[PlannedRun]) -> None:
    """Make environment and model of each method once, so that mistakes show before training starts."""
    seen: set[str] = set()
    for planned in runs:
        if planned.method not in seen and not planned.folder.is_trained():
            if isinstance(planned.config, SupervisedConfig):
                supervised_training.prepare(planned.config, planned.folder)
            else:
                prepare(planned.config, planned.folder).close()
        seen.add(planned.method)


def execute_runs(runs: Sequence[PlannedRun], jobs: int, command: Sequence[str], on_progress: OnProgress) -> None:
    """Train and evaluate the runs that are not finished, ``jobs`` at a time.

    Each run has a process with one torch thread, so results do not depend on ``jobs``.
    """
    waiting = {index: planned for index, planned in enumerate(runs) if not planned.is_evaluated()}
    for index in set(range(len(runs))) - set(waiting):
        on_progress(index, 1.0, "done before")
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent)
    with manager, ProcessPoolExecutor(min(jobs, len(waiting)), context, end_with_parent) as pool:
        messages = manager.Queue()
        pending = {pool.submit(_execute, index, planned, list(command), messages) for index, planned in waiting.items()}
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                _forward(messages, on_progress)
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """Let this worker process end when its parent does, also when the parent is killed; called in the worker."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent() is for worker processes, this one has no parent of multiprocessing's")

    def wait_for_end(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait_for_end, args=(parent.sentinel,), daemon=True).start()


def _training_messages(index: int, messages: Any) -> Callable[..., None]:
    """Return what sends how far training is, how fast, and the mean return of the last episodes."""
    started = time.perf_counter()

    def on_steps(done: int, total: int, mean: float | None = None) -> None:
        speed = done / (time.perf_counter() - started)
        told = ["training", f"{done:,} of {max(done, total):,} steps", f"{speed:,.0f} steps/s"]
        if mean is not None:
            told.append(mean_return_words(mean))
        messages.put((index, _TRAINING_SHARE * min(1.0, done / total), ", ".join(told)))

    return on_steps


def _execute(index: int, planned: PlannedRun, command: list[str], messages: Any) -> None:
    """Train and evaluate one run, in a worker process."""
    torch.set_num_threads(1)
    config, folder = planned.config, planned.folder
    if isinstance(config, SupervisedConfig):
        _execute_supervised(index, planned, config, command, messages)
        return
    if not folder.is_trained():
        summary = run(prepare(config, folder), command, callbacks=[StepReport(_training_messages(index, messages))])
        if summary["interrupted"]:
            return
    if not planned.is_evaluated():
        on_stage = _stage_messages(index, messages, len(stages(config.evaluation)))
        evaluate_run(folder, load_model(folder), config.evaluation, on_stage)
    messages.put((index, 1.0, "done"))


def _execute_supervised(
    index: int, planned: PlannedRun, config: SupervisedConfig, command: list[str], messages: Any
) -> None:
    """Train and evaluate one run on images, in a worker process."""
    folder = planned.folder

    told = _training_messages(index, messages)

    if not folder.is_trained():
        summary = supervised_training.run(supervised_training.prepare(config, folder), command, on_step=told)
        if summary["interrupted"]:
            return
    if not planned.is_evaluated():
        on_stage = _stage_messages(index, messages, len(supervised_evaluation.stages(config.evaluation)))
        supervised_evaluation.evaluate_run(folder, config, on_stage)
    messages.put((index, 1.0, "done"))


def _stage_messages(index: int, messages: Any, stages: int) -> Callable[[str], None]:
    """Return what sends the share of a run that is done after each stage of its evaluation."""
    counter = itertools.count(1)

    def on_stage(_: str) -> None:
        done = next(counter) / stages
        messages.put((index, _TRAINING_SHARE + (1 - _TRAINING_SHARE) * done, "evaluation"))

    return on_stage


def _check_reusable(planned: PlannedRun) -> None:
    folder = planned.folder
    if not folder.path.exists() or not any(folder.path.iterdir()):
        return
    if not folder.is_trained():
        raise FileExistsError(f"{folder.path} holds a run that did not finish; remove it or give another --out")
    if replace(folder.any_config(), methods={}) != planned.config:
        raise FileExistsError(f"{folder.path} holds a run of another configuration; remove it or give another --out")


def _forward(messages: Any, on_progress: OnProgress) -> None:
    while True:
        try:
            message = messages.get_nowait()
        except queue.Empty:
            return
        on_progress(*message)

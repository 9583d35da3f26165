"""Plan a comparison: which runs there are, where they lie, and whether an earlier one can be used again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from camal_rl.runs.folders import CheckpointWarning
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.resuming import changed_settings, drop_growth, told_settings
from camal_rl.runs.run_folder import RunFolder, run_name
from camal_rl.runs.task import RunConfig, task_of


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a comparison; two are the same only if they are one object, so that runs can be keys."""

    method: str
    seed: int
    config: RunConfig
    folder: RunFolder

    @property
    def label(self) -> str:
        """What tables and bars call the run."""
        return f"{self.method} seed {self.seed}"

    def is_trained(self) -> bool:
        """Say whether training came to its end, and to that of this configuration, which may be a longer one."""
        return self.folder.is_trained() and not changed_settings(self.folder.config(), self.config)

    def is_finished(self) -> bool:
        """Say whether the run is trained and evaluated.

        Raises:
            ValueError: a file of it holds something else; one line that names it.
        """
        return self.is_trained() and self.is_evaluated()

    def is_evaluated(self) -> bool:
        """Say whether the run's evaluation, with these settings, is there.

        Raises:
            ValueError: its ``metrics.json`` holds something else; one line that names it.
        """
        file = self.folder.metrics_file
        return file.is_file() and read_metrics(file).settings == self.config.as_dict()["evaluation"]


def method_config(config: RunConfig, method: str, seed: int) -> RunConfig:
    """Return the configuration of one method of a comparison; a ValueError says that there is no such method."""
    return cast(RunConfig, task_of(config).method_config(config, method, seed))


def plan_runs(
    config: RunConfig, methods: Sequence[str], seeds: int, out: Path, resume: bool = False, trust: bool = False
) -> list[PlannedRun]:
    """Return the runs of a comparison; seeds count from the configuration's own.

    Args:
        config: the configuration.
        methods: what is compared.
        seeds: for each method.
        out: the comparison's folder.
        resume: an earlier comparison is to be gone on with, perhaps with longer training.
        trust: whether runs that are there already are all the user's own, see
            :class:`camal_rl.runs.run_folder.RunFolder`.

    Raises:
        ValueError: no or repeated methods, no seeds, a method that does not exist, or a ``metrics.json`` that cannot be
            read.
        FileExistsError: a run's folder holds a run of another configuration; the line names the settings.
        FileNotFoundError: a run's folder holds something else, or there is no comparison to go on with.
    """
    if not methods or len(set(methods)) != len(methods):
        raise ValueError(f"methods must be at least one name, each once, got {','.join(methods) or 'none'}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        for method in methods:
            own = method_config(config, method, seed)
            path = _folder(out, method, seed)
            # What a new folder will hold is made here.
            runs.append(PlannedRun(method, seed, own, RunFolder(path, trust or RunFolder(path).is_empty())))
    if resume and all(planned.folder.is_empty() for planned in runs):
        raise FileNotFoundError(f"{out} holds no run of this comparison to go on with; leave out --resume to begin one")
    for planned in runs:
        check_reusable(planned, resume)
    return runs


def _folder(out: Path, method: str, seed: int) -> Path:
    """Return the folder of a run; one of an earlier version, named as the method is, is used again."""
    folder, former = out / run_name(method, seed), out / f"{method}-seed{seed}"
    return former if former.is_dir() and not folder.exists() else folder


def check_runs(runs: Sequence[PlannedRun]) -> None:
    """Prepare each method once, so that mistakes show before training starts.

    Raises:
        ValueError: a method cannot be trained so, as where it needs masks that the environment does not have; the
            message begins with the method.
    """
    seen: set[str] = set()
    for planned in runs:
        if planned.method not in seen and not planned.is_trained():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CheckpointWarning)  # the worker will tell of it
                try:
                    task_of(planned.config).prepare(planned.config, planned.folder, resume=True).close()
                except ValueError as error:
                    raise ValueError(f"method {planned.method}: {error}") from error
        seen.add(planned.method)


def check_reusable(planned: PlannedRun, resume: bool = False) -> None:
    """Raise unless a run's folder is empty or holds a run of the same configuration, see :func:`plan_runs`."""
    folder = planned.folder
    if folder.is_empty():
        return
    length = task_of(planned.config).length
    changed = changed_settings(folder.config(), planned.config)
    if resume:
        drop_growth(changed, length)
    if changed:
        longer = "" if length is None or resume else f"; a larger {length} needs --resume"
        raise FileExistsError(
            f"{folder.path} holds a run of another configuration: {told_settings(changed)}; give the same settings, or "
            f"another --out{longer}"
        )
    # A file of results that cannot be read is told before anything is trained.
    planned.is_finished()

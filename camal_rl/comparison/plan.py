"""Plan a comparison: which runs there are, where they lie, and whether an earlier one can be used again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from camal_rl.runs.metrics_file import read_metrics
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
    config: RunConfig, methods: Sequence[str], seeds: int, out: Path, trust: bool = False
) -> list[PlannedRun]:
    """Return the runs of a comparison; seeds count from the configuration's own.

    Args:
        config: what the methods have in common.
        methods: their names.
        seeds: runs of each.
        out: where the folders of the runs are, or will be.
        trust: whether runs that are there already are all the user's own, see
            :class:`camal_rl.runs.run_folder.RunFolder`.

    Raises:
        ValueError: no or repeated methods, no seeds, a method that does not exist, or a ``metrics.json`` that cannot be
            read.
        FileExistsError: a run's folder holds something else than a finished run of the same configuration.
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
    for planned in runs:
        _check_reusable(planned)
    return runs


def _folder(out: Path, method: str, seed: int) -> Path:
    """Return the folder of a run; one of an earlier version, named as the method is, is used again."""
    folder, former = out / run_name(method, seed), out / f"{method}-seed{seed}"
    return former if former.is_dir() and not folder.exists() else folder


def check_runs(runs: Sequence[PlannedRun]) -> None:
    """Prepare each method once, so that mistakes show before training starts."""
    seen: set[str] = set()
    for planned in runs:
        if planned.method not in seen and not planned.folder.is_trained():
            task_of(planned.config).prepare(planned.config, planned.folder).close()
        seen.add(planned.method)


def _check_reusable(planned: PlannedRun) -> None:
    folder = planned.folder
    if folder.is_empty():
        return
    if not folder.is_trained():
        raise FileExistsError(f"{folder.path} holds a run that did not finish; remove it or give another --out")
    found: Any = folder.config()
    if replace(found, methods={}) != planned.config:
        raise FileExistsError(f"{folder.path} holds a run of another configuration; remove it or give another --out")
    # A file of results that cannot be read is told before anything is trained.
    planned.is_evaluated()

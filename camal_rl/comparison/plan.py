"""Plans a comparison: its runs, their folders, and whether earlier runs can be reused."""

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
    """One run of a comparison; compared by identity, so that runs can be dictionary keys."""

    method: str
    seed: int
    config: RunConfig
    folder: RunFolder

    @property
    def label(self) -> str:
        """Name of the run in tables and progress bars."""
        return f"{self.method} seed {self.seed}"

    def is_trained(self) -> bool:
        """Return whether training reached the length of this configuration, which may exceed that of an earlier one."""
        return self.folder.is_trained() and not changed_settings(self.folder.config(), self.config)

    def is_finished(self) -> bool:
        """Return whether the run is trained and evaluated.

        Raises:
            ValueError: one of its files has unexpected content; one line that names it.
        """
        return self.is_trained() and self.is_evaluated()

    def is_evaluated(self) -> bool:
        """Return whether the run was evaluated with these settings.

        Raises:
            ValueError: its ``metrics.json`` has unexpected content; one line that names it.
        """
        file = self.folder.metrics_file
        if not file.is_file():
            return False
        metrics, asked = read_metrics(file), dict(self.config.as_dict()["evaluation"])
        # The full suite measures everything that the quick one does.
        suite = asked.pop("suite", "quick")
        return metrics.settings == asked and suite in ("quick", metrics.suite)


def method_config(config: RunConfig, method: str, seed: int) -> RunConfig:
    """Return the configuration of one method of a comparison; raise a ValueError for an unknown method."""
    return cast(RunConfig, task_of(config).method_config(config, method, seed))


def plan_runs(
    config: RunConfig, methods: Sequence[str], seeds: int, out: Path, resume: bool = False, trust: bool = False
) -> list[PlannedRun]:
    """Return the runs of a comparison; seeds count up from the seed of the configuration.

    Args:
        config: the configuration.
        methods: the methods to compare.
        seeds: number of seeds for each method.
        out: the comparison's folder.
        resume: continue an earlier comparison, possibly with longer training.
        trust: whether the user trusts the existing runs, see :class:`camal_rl.runs.run_folder.RunFolder`.

    Raises:
        ValueError: methods are missing, repeated or unknown, there are no seeds, or a ``metrics.json`` cannot be read.
        FileExistsError: a run's folder contains a run of another configuration; the line names the settings.
        FileNotFoundError: a run's folder contains something else, or there is no comparison to resume.
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
            # Created here, since a new folder has no contents yet.
            runs.append(PlannedRun(method, seed, own, RunFolder(path, trust or RunFolder(path).is_empty())))
    if resume and all(planned.folder.is_empty() for planned in runs):
        raise FileNotFoundError(f"{out} contains no run of this comparison to resume; omit --resume to start one")
    for planned in runs:
        check_reusable(planned, resume)
    return runs


def _folder(out: Path, method: str, seed: int) -> Path:
    """Return the folder of a run; a folder of an earlier version, named after the method, is reused."""
    folder, former = out / run_name(method, seed), out / f"{method}-seed{seed}"
    return former if former.is_dir() and not folder.exists() else folder


def check_runs(runs: Sequence[PlannedRun]) -> None:
    """Prepare each method once, so that mistakes are found before training starts.

    Raises:
        ValueError: a method cannot be trained, for example because it needs masks that the environment does not have;
            the message begins with the method.
    """
    seen: set[str] = set()
    for planned in runs:
        if planned.method not in seen and not planned.is_trained():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CheckpointWarning)  # the worker will warn about it
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
            f"{folder.path} contains a run of another configuration: {told_settings(changed)}; give the same "
            f"settings, or another --out{longer}"
        )
    # An unreadable result file is reported before any training.
    planned.is_finished()

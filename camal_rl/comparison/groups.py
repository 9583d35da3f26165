"""Finds the runs of a comparison or report in folders, reads them, and groups them by environment."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from camal_rl.comparison.derived import derived_results
from camal_rl.comparison.plan import PlannedRun
from camal_rl.runs.folders import sha256_of
from camal_rl.runs.json_files import CONTENT_SUM, POLICY_SUM, has_sum, read_provenance, read_training
from camal_rl.runs.metrics_file import RunMetrics, read_metrics
from camal_rl.runs.results import Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.settings import flat_settings
from camal_rl.runs.task import RunConfig, Task, task_of
from camal_rl.utf8 import read_utf8

# Settings that may differ between runs of one method: they name, log or place a run and do not affect learning.
_INCIDENTAL = ("seed", "name", "device", "threads", "log.", "evaluation.", "methods.", "tuning")
_LEFT_OUT = " (left out here)"
MANY_METHODS = 5
"""With more methods than that, tables and plots have a row for each method in place of a column."""


@dataclass(frozen=True, eq=False)
class FoundRun(PlannedRun):
    """A run with the contents of its folder; ``None`` for a missing file.

    Attributes:
        metrics: ``metrics.json``, the results of evaluation.
        training: ``train.json``, the summary of training.
        provenance: ``provenance.json``, versions, revision and machine.
        command: the command line that made the run.
        left_out: one line for each file that exists but cannot be read.
    """

    metrics: RunMetrics | None
    training: Mapping[str, Any] | None
    provenance: Mapping[str, Any] | None
    command: str | None
    left_out: tuple[str, ...] = ()

    @cached_property
    def results(self) -> Results:
        """Results of evaluation and figures derived from them; empty for a run that is not evaluated."""
        return Results() if self.metrics is None else self.metrics.results + derived_results(self.metrics.results)

    def settings(self) -> dict[str, Any]:
        """Return the configuration with dotted keys."""
        return flat_settings(self.config.as_dict())


@dataclass(frozen=True)
class Group:
    """The runs on one environment or image set.

    Attributes:
        env: id of the environment, or name of the image set.
        methods: names of the methods; the others are compared with the first. In a report the first is ``ppo`` or
            ``vanilla`` where it is there.
        runs: the runs, by method and seed.
        notes: one line for each thing that is missing or left out.
    """

    env: str
    methods: tuple[str, ...]
    runs: tuple[FoundRun, ...]
    notes: tuple[str, ...]

    @property
    def task(self) -> Task:
        """Kind of trained model: agent or classifier."""
        return task_of(self.runs[0].config)

    @property
    def baseline(self) -> str:
        """The method with which the others are compared."""
        return self.methods[0]

    @property
    def length(self) -> str:
        """Length of training in words; agents train for whole rollouts, which may exceed the setting."""
        steps = {run.training["timesteps"] for run in self.runs if run.training}
        if not self.runs[0].config.counts_steps or not steps:
            return self.runs[0].config.length
        return " or ".join(f"{count:,}" for count in sorted(steps)) + " steps"

    def of(self, method: str) -> list[FoundRun]:
        """Return the runs of a method."""
        return [run for run in self.runs if run.method == method]

    def plain_name(self, method: str) -> str:
        """Return the name of a method without the note of :func:`noted_method`, as in commands and files."""
        return method.replace(f" ({self.acting_note(method)})", "", 1)

    def acting_note(self, method: str) -> str:
        """Return what a method receives beside images when it acts; empty if nothing."""
        return self.of(method)[0].config.acting_note

    def evaluated(self, method: str) -> int:
        """Return how many of a method's runs are evaluated."""
        return sum(run.metrics is not None for run in self.of(method))


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders among ``paths`` and inside them, without duplicates, in a fixed order.

    Raises:
        FileNotFoundError: a path is not a run folder and contains none.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        folders = [file.parent for file in sorted(path.rglob("config.yaml"))]
        if RunFolder(path).config_file.is_file():
            folders = [path]
        if not folders:
            raise FileNotFoundError(
                f"{path} is not a run folder and contains none: there is no config.yaml in it or in a subfolder"
            )
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def read_run(path: Path, trust: bool = False) -> FoundRun:
    """Read a run folder.

    Args:
        path: the folder.
        trust: whether the user trusts the whole folder, see :class:`camal_rl.runs.run_folder.RunFolder`.

    Raises:
        ValueError: a file has unexpected content; the message names it.
    """
    folder = RunFolder(path, trust)
    config = folder.config()
    return found_run(PlannedRun(config.method_name, config.seed, config, folder))


def found_run(planned: PlannedRun) -> FoundRun:
    """Return a run with the contents of its folder; an unreadable file is left out, with a line that names it."""
    folder, left_out = planned.folder, list[str]()
    parts = {
        name: _optional(file, read, left_out)
        for name, (file, read) in {
            "metrics": (folder.metrics_file, read_metrics),
            "training": (folder.train_file, read_training),
            "provenance": (folder.provenance_file, read_provenance),
            "command": (folder.command_file, _read_command),
        }.items()
    }
    if planned.folder.config_file.is_file() and not planned.folder.config_is_as_written():
        left_out.append(f"{folder.config_file} was changed after it was written")
    for name, why in _foreign(planned, parts).items():
        parts[name] = None
        left_out.append(f"{why}{_LEFT_OUT}")
    method = noted_method(planned.method, planned.config)
    return FoundRun(method, planned.seed, planned.config, folder, **parts, left_out=tuple(left_out))


def noted_method(method: str, config: RunConfig) -> str:
    """Return the display name of a method, with a note if it receives more than images when it acts."""
    return f"{method} ({config.acting_note})" if config.acting_note else method


def _foreign(planned: PlannedRun, parts: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a run that belong to another run, with the reason."""
    folder, found = planned.folder, {}
    metrics, training = parts["metrics"], parts["training"]
    if metrics is not None:
        own = {"env": planned.config.task, "method": planned.config.method_name, "seed": planned.seed}
        other = next((key for key, value in own.items() if metrics.run.get(key, value) != value), None)
        if other is not None:
            told = f"{other} is {metrics.run[other]!r} in it and {own[other]!r} in {folder.config_file.name}"
            found["metrics"] = f"{folder.metrics_file} contains the results of another run: {told}"
    expected = None if training is None else training.get(POLICY_SUM)
    if expected is not None and folder.policy_file.is_file() and sha256_of(folder.policy_file) != expected:
        found["training"] = f"{folder.train_file} and {folder.policy_file.name} are from different trainings"
    return found


def check_results(runs: Sequence[FoundRun]) -> None:
    """Raise a ValueError if there are result files but none can be read; one line that names the first."""
    broken = [line for run in runs for line in run.left_out if str(run.folder.metrics_file) in line]
    if broken and all(run.metrics is None for run in runs):
        raise ValueError(broken[0].removesuffix(_LEFT_OUT))


def check_whole(run: FoundRun) -> None:
    """Raise a ValueError if a file of a run cannot be read, was changed, or belongs to another run."""
    if run.left_out:
        raise ValueError(f"{run.left_out[0].removesuffix(_LEFT_OUT)}; repair or remove it")


def planned_group(runs: Sequence[PlannedRun]) -> Group:
    """Return the runs of a comparison as a group, with the methods in the requested order."""
    found = tuple(found_run(planned) for planned in runs)
    methods = tuple(dict.fromkeys(run.method for run in found))
    notes = tuple(line for run in found for line in run.left_out)
    return Group(runs[0].config.task, methods, found, notes)


def group_runs(runs: Sequence[FoundRun]) -> list[Group]:
    """Group runs by environment; runs of one method with different settings become separate methods."""
    groups = []
    for env in dict.fromkeys(run.config.task for run in runs):
        named = _name_variants([run for run in runs if run.config.task == env])
        baseline, found = named[0].config.baseline, list(dict.fromkeys(run.method for run in named))
        methods = [*(name for name in found if name == baseline), *(name for name in found if name != baseline)]
        kept = {(run.method, run.seed): run for run in reversed(named)}
        ordered = sorted(kept.values(), key=lambda run: (methods.index(run.method), run.seed))
        notes = [
            f"{run.folder.path} is left out: another folder contains {run.label} with the same settings"
            for run in named
            if kept[run.method, run.seed] is not run
        ]
        groups.append(Group(env, tuple(methods), tuple(ordered), (*notes, *_missing(ordered))))
    return groups


def _optional(path: Path, read: Callable[[Path], Any], left_out: list[str]) -> Any:
    """Return the content of a file, ``None`` if it is missing or cannot be read; the latter is noted."""
    if not path.is_file():
        return None
    try:
        found = read(path)
        if path.suffix == ".json" and not has_sum(path):
            raise ValueError(f"{path} was changed after it was written: its content does not match its {CONTENT_SUM}")
        return found
    except (ValueError, OSError) as error:
        left_out.append(f"{' '.join(str(error).split())}{_LEFT_OUT}")
        return None


def _read_command(path: Path) -> str:
    """Return a command line; raise a ValueError if the file contains none."""
    command = read_utf8(path).strip()
    try:
        if not shlex.split(command):
            raise ValueError("it is empty")
    except ValueError as error:
        raise ValueError(f"{path} does not contain a command line: {error}") from error
    return command


def _name_variants(runs: Sequence[FoundRun]) -> list[FoundRun]:
    """Return the runs, with the settings in which variants of a method differ appended to their names."""
    named = list(runs)
    for method in dict.fromkeys(run.method for run in runs):
        own = {run: essential_settings(run) for run in runs if run.method == method}
        keys = [key for key in _all_keys(own.values()) if len({str(each.get(key)) for each in own.values()}) > 1]
        for run, settings in own.items() if keys else ():
            difference = ", ".join(f"{key.rpartition('.')[2]}={settings.get(key)}" for key in keys)
            named[named.index(run)] = replace(run, method=f"{method} ({difference})")
    return named


def essential_settings(run: FoundRun) -> dict[str, Any]:
    """Return the settings that affect learning, by dotted key."""
    settings = {key: value for key, value in run.settings().items() if not key.startswith(_INCIDENTAL)}
    if run.settings()["camal.weight"]:
        return settings
    meant = {"camal.weight", *(f"camal.{name}" for name in task_of(run.config).map_settings)}
    return {key: value for key, value in settings.items() if not key.startswith("camal.") or key in meant}


def _all_keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _missing(runs: Sequence[FoundRun]) -> list[str]:
    notes: list[str] = []
    for run in runs:
        notes += run.left_out
        if run.training is None and not run.folder.train_file.is_file():
            notes.append(f"{run.label} has no train.json: its training is not finished")
        elif run.training is not None and run.training["interrupted"]:
            notes.append(f"{run.label} was interrupted after {run.training['timesteps']:,} steps")
        if run.metrics is None and not run.folder.metrics_file.is_file():
            notes.append(f"{run.label} is not evaluated; run camal-rl evaluate {run.folder.path}")
    for key in ("episodes", "frames", "images", "seed"):
        given = {run.label: run.metrics.settings.get(key) for run in runs if run.metrics}
        if len(set(given.values())) > 1:
            listed = ", ".join(f"{label} {value}" for label, value in given.items())
            notes.append(f"the runs were evaluated with different numbers of {key}: {listed}")
    return notes

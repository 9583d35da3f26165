"""Result files: the output of ``compare`` and ``evaluate``, and measurements, each with its origin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camal_rl.comparison.comparison_file import VERSION
from camal_rl.comparison.estimates import Estimate
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import figure_name
from camal_rl.comparison.results.origins import Origin, origins_words, read_origin, seeds_words
from camal_rl.runs.curves import Curve
from camal_rl.runs.json_files import CONTENT_SUM, has_sum, read_json
from camal_rl.runs.metrics_file import RunMetrics, read_metrics
from camal_rl.spelling import check_names

_SAME_MEAN = 1e-9


@dataclass(frozen=True)
class SourceRun:
    """A run behind the figures of a file: method, seed and origin."""

    method: str
    seed: int
    origin: Origin


@dataclass(frozen=True)
class Curves:
    """The learning curves of a tag.

    Attributes:
        title: the title.
        steps: unit of its steps.
        same_axis: the tags that share an axis, including this one.
        methods: the curve of each seed, by method.
    """

    title: str
    steps: str
    same_axis: tuple[str, ...]
    methods: Mapping[str, Sequence[Curve]]


@dataclass(frozen=True)
class ResultFile:
    """A result file.

    Attributes:
        path: its path.
        runs: the runs behind it; empty for a measurement.
        origins: the origins of its numbers.
        length: length of training in words; empty for a measurement.
        evaluation: how the runs were evaluated, in words; empty if obvious.
        figures: per-seed values by name of the figure and method.
        words: description of a figure by name, if known.
        curves: learning curves by tag.
        acting_notes: what a method receives beside images when it acts, by method.
        data: the whole content of a measurement.
    """

    path: Path
    runs: tuple[SourceRun, ...] = ()
    origins: tuple[Origin, ...] = ()
    length: str = ""
    evaluation: str = ""
    figures: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Curves] = field(default_factory=dict)
    acting_notes: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods of its runs, in order."""
        return list(dict.fromkeys(run.method for run in self.runs))

    def estimate(self, method: str | None, figure: str) -> Estimate:
        """Return the per-seed values of a figure.

        Args:
            method: the method; ``None`` for the only one.
            figure: name of the figure.

        Raises:
            ValueError: the file has no such figure or method; the message names it.
        """
        try:
            check_names([figure], self.figures, "figure")
            chosen = self.methods[0] if method is None and len(self.methods) == 1 else method
            check_names([chosen], self.figures[figure], "method")
        except ValueError as error:
            raise ValueError(f"{self.path}: {_shortened(str(error))}") from error
        return self.figures[figure][str(chosen)]

    def source_lines(self, methods: Sequence[str] | None = None, command: bool = True) -> list[str]:
        """Return the origins of the runs of some or all methods, one line for each command.

        Args:
            methods: names of methods; ``None``: all.
            command: whether the lines contain the command.
        """
        if not self.runs:
            return [origins_words({"": each}, command=command) for each in self.origins]
        chosen = [run for run in self.runs if methods is None or run.method in methods]
        lines = []
        for key in dict.fromkeys(run.origin.shared for run in chosen):
            alike = [run for run in chosen if run.origin.shared == key]
            between = [seeds_words(run.seed for run in alike), self.length, self.evaluation]
            notes = ((each, self.acting_notes.get(each)) for each in dict.fromkeys(run.method for run in alike))
            between += [f"{method} {note} whenever it acts" for method, note in notes if note]
            names: dict[Origin, list[str]] = {}
            for run in alike:
                names.setdefault(run.origin, []).append(run.method)
            by_names = {", ".join(dict.fromkeys(each)): origin for origin, each in names.items()}
            lines.append(origins_words(by_names, [part for part in between if part], command))
        return lines


def read_result_file(path: Path) -> ResultFile:
    """Read a result file: ``comparison.json``, ``metrics.json``, or a measurement's JSON.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has unexpected content, or was changed after it was written; one line that names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; restore it, or remove the tables and figures that use it")
    data = read_json(path)
    if not has_sum(path):
        raise ValueError(f"{path} was changed after it was written: its content does not match its {CONTENT_SUM}")
    try:
        return next(read for owns, read in _KINDS if owns(data))(path, data)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a result file: {' '.join(told.split())}") from error
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ValueError(told if str(path) in told else f"{path} is not a result file: {told}") from error


def _comparison(path: Path, data: Mapping[str, Any]) -> ResultFile:
    if data.get("version") != VERSION:
        raise ValueError(
            f"it has version {data.get('version')!r} and not {VERSION}; older versions do not record the origin of "
            "their runs; repeat the same camal-rl compare, which reuses its finished runs, to rewrite it"
        )
    origins = [read_origin(each, f"provenance {place}") for place, each in enumerate(data["provenance"])]
    runs = tuple(_run(each, origins) for each in data["runs"])
    if not runs or not all(isinstance(each, str) for each in data["words"].values()):
        raise ValueError("it has no runs, or its words are not texts")
    known = {(run.method, str(run.seed)) for run in runs}
    figures = {
        name: {method: _estimate(each, method, f"{name}, {method}", known) for method, each in methods.items()}
        for name, methods in data["figures"].items()
    }
    curves = {tag: _curves(each, tag) for tag, each in data["curves"].items()}
    evaluation = _evaluation_words(data.get("evaluation") or {})
    notes = {str(method): str(note) for method, note in data.get("acting_notes", {}).items()}
    length = str(data["length"])
    return ResultFile(path, runs, tuple(origins), length, evaluation, figures, data["words"], curves, notes)


def _run(data: Mapping[str, Any], origins: Sequence[Origin]) -> SourceRun:
    method, seed, place = data["method"], _seed(data["seed"]), data["provenance"]
    if not isinstance(method, str) or type(place) is not int or not 0 <= place < len(origins):
        raise ValueError(
            f"a run needs a method and the index of one of {len(origins)} provenances, got {method!r} and {place!r}"
        )
    return SourceRun(method, seed, origins[place])


def _seed(seed: object) -> int:
    if type(seed) is not int:
        raise TypeError(f"a run's seed must be a whole number, got {seed!r}")
    return seed


def _estimate(data: Mapping[str, Any], method: str, where: str, known: set[tuple[str, str]]) -> Estimate:
    seeds: dict[str, float] = {}
    for seed, value in data["seeds"].items():
        if (method, seed) not in known:
            raise ValueError(f"{where}: there is a value of seed {seed} but no run")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{where}: the value of seed {seed} must be a number, got {value!r}")
        seeds[seed] = float(value)
    found = Estimate(seeds, data.get("measuring_error"))
    told = data.get("mean")
    if told is not None and not math.isclose(told, found.mean, rel_tol=_SAME_MEAN, abs_tol=_SAME_MEAN):
        raise ValueError(f"{where}: mean is {told}, but the mean over the seeds is {found.mean}")
    return found


def _curves(data: Mapping[str, Any], tag: str) -> Curves:
    title, steps, same_axis = data["title"], data["steps"], data["same_axis"]
    if not all(isinstance(each, str) for each in (title, steps, *same_axis)):
        raise TypeError(f"title, steps and same_axis of the curves {tag} must be texts")
    methods = {method: [_curve(each) for each in seeds.values()] for method, seeds in data["methods"].items()}
    return Curves(title, steps, tuple(same_axis), methods)


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    import numpy as np

    steps, values = np.array(points[0], dtype=np.float64), np.array(points[1], dtype=np.float64)
    if steps.shape != values.shape or steps.ndim != 1 or not len(steps):
        raise ValueError("a curve must have equal numbers of steps and values, at least one")
    return steps, values


def _metrics(path: Path, data: Mapping[str, Any]) -> ResultFile:
    metrics = read_metrics(path)
    method, seed = metrics.run["method"], _seed(metrics.run["seed"])
    source = SourceRun(method, seed, read_origin(metrics.run.get("provenance") or {}, "provenance"))
    figures = {
        figure_name(each.key): {method: Estimate({str(seed): each.value}, each.error)}
        for each in metrics.results
        if each.value is not None
    }
    words = {figure_name(each.key): figure_words(each.key, arrow=True) for each in metrics.results}
    return ResultFile(path, (source,), (source.origin,), _length(metrics), _suite(metrics), figures, words)


def _length(metrics: RunMetrics) -> str:
    steps = (metrics.run.get("training") or {}).get("timesteps")
    return "" if steps is None else f"{steps:,} steps"


def _suite(metrics: RunMetrics) -> str:
    return _evaluation_words({"suite": metrics.suite, **metrics.settings})


def _evaluation_words(evaluation: Mapping[str, Any]) -> str:
    counts = [f"{evaluation[name]:,} {name}" for name in ("episodes", "frames", "images") if evaluation.get(name)]
    suite = f"{evaluation['suite']} suite" if evaluation.get("suite", "quick") != "quick" else ""
    return ", ".join(part for part in (suite, *counts) if part)


def _measurement(path: Path, data: Mapping[str, Any]) -> ResultFile:
    told = next((data[name] for name in ("provenance", "machine") if "versions" in (data.get(name) or {})), data)
    if not {"versions", "git_revision", "command"} & told.keys():
        raise ValueError(
            "it contains neither figures nor the origin of a measurement (command, git_revision, date, machine, "
            "versions)"
        )
    return ResultFile(path, origins=(read_origin(told, "provenance"),), data=data)


_KINDS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Path, Mapping[str, Any]], ResultFile]], ...] = (
    (lambda data: "figures" in data, _comparison),
    (lambda data: isinstance(data.get("run"), Mapping) and "method" in data["run"], _metrics),
    (lambda data: True, _measurement),
)
"""Kinds of result files: how one is recognized, and the function that reads it."""


def _shortened(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]} ..."

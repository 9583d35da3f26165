"""The objective of a sweep: one figure on one level set, from a run's results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camal_rl.comparison.derived import derived_results
from camal_rl.comparison.figure_words import higher_is_better, judging_figures
from camal_rl.runs.results import Result, Results
from camal_rl.runs.task import RunConfig, task_of
from camal_rl.spelling import did_you_mean

_MAIN = (None, "stochastic", "mean")
"""Variants of a measurement that can be an objective: sampled actions, the mean fill."""


@dataclass(frozen=True)
class Objective:
    """A figure on a level set; for figures of maps, the mean over the model's own maps.

    Attributes:
        figure: name of the metric.
        level_set: level set on which it is measured.
        maximizes: whether higher is better.
        spends_a_test: whether this objective selects settings on levels that are reserved for testing.
    """

    figure: str
    level_set: str
    maximizes: bool
    spends_a_test: bool

    def __str__(self) -> str:
        """Return the objective in the form that the command line accepts."""
        return f"{self.figure}@{self.level_set}"

    def value(self, results: Results) -> float | None:
        """Return the objective of a run, ``None`` if it was not measured or is undefined."""
        return _mean(
            each for each in _measured(results) if (each.figure, each.level_set) == (self.figure, self.level_set)
        )


def objective_values(results: Results) -> dict[str, float]:
    """Return every defined figure of a run that could be an objective, by ``<figure>@<level set>``."""
    kinds: dict[str, list[Result]] = {}
    for each in _measured(results):
        if each.figure in judging_figures():
            kinds.setdefault(f"{each.figure}@{each.level_set}", []).append(each)
    return {name: value for name, found in kinds.items() if (value := _mean(found)) is not None}


def _measured(results: Results) -> list[Result]:
    """Return the results in these variants, and the results derived from them."""
    everything = (*results, *derived_results(results))
    return [each for each in everything if each.map in (None, "own") and each.control in _MAIN]


def _mean(found: Iterable[Result]) -> float | None:
    values = [each.value for each in found]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def parse_objective(text: str | None, config: RunConfig) -> Objective:
    """Parse an objective, ``<figure>@<level set>``; ``None`` gives the task's default.

    Raises:
        ValueError: there is no such figure, neither of its directions is better, or the level set is not evaluated.
    """
    task = task_of(config)
    given = task.objective if text is None else text
    figure, _, level_set = given.partition("@")
    known = judging_figures()
    if not figure or not level_set:
        raise ValueError(f"an objective is FIGURE@LEVEL_SET, for example {task.objective}, got {given!r}")
    if figure not in known:
        hint = did_you_mean(figure, known)
        raise ValueError(f"there is no objective {figure!r}; {hint}possible figures are {', '.join(known)}")
    evaluation = config.as_dict()["evaluation"]
    measured = dict.fromkeys([*evaluation.get("sets", []), *evaluation.get("attention_sets", [])])
    if level_set not in measured:
        raise ValueError(
            f"the objective {given} is not measured: evaluation.sets has {', '.join(measured)}; add {level_set!r} to "
            f"it, evaluation.sets=[{','.join((level_set, *measured))}], or give another --objective"
        )
    return Objective(figure, level_set, bool(higher_is_better(figure)), level_set not in task.tuning_sets)

"""A sweep: the runs of every trial on tuning seeds, their results, and the best configuration."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from camal_rl.atomic import write_text
from camal_rl.comparison.number_words import counted, number
from camal_rl.comparison.objective import Objective, objective_values
from camal_rl.comparison.plan import PlannedRun, check_reusable, method_config
from camal_rl.comparison.sweep_search import Trial
from camal_rl.comparison.sweep_space import Choice, Space
from camal_rl.comparison.table import Table, table_of
from camal_rl.failures import RunFailure
from camal_rl.runs.json_files import read_json, write_record
from camal_rl.runs.loading import dump_yaml, load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.provenance import provenance
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import RunConfig
from camal_rl.runs.tuning import FIRST_TUNING_SEED, Tuning

RECORD, BEST = "sweep.json", "best.yaml"
DONE, FAILED, UNFINISHED = "done", "failed", "unfinished"


_provenance = cache(provenance)


@dataclass(frozen=True)
class Scored:
    """A trial and its results.

    Attributes:
        trial: the trial.
        state: ``done``, ``failed`` or ``unfinished``.
        values: the objective by seed, as far as it is known.
        runs: number of its runs that were trained, completely or partly.
        steps: training steps of its complete runs.
        failure: the reason if it failed.
        figures: other measured figures, ``<figure>@<level set>``, by seed, for a choice by several figures.
    """

    trial: Trial
    state: str
    values: Mapping[int, float]
    runs: int
    steps: int
    failure: str | None = None
    figures: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The trial's settings as typed on the command line."""
        return " ".join(f"{key}={value}" for key, value in self.trial.settings.items())

    @property
    def means(self) -> dict[str, float]:
        """Means over the seeds, of the figures that every seed has."""
        found = list(self.figures.values())
        known = [name for name in found[0] if all(name in each for each in found)] if found else []
        return {name: statistics.fmean(each[name] for each in found) for name in known}

    @property
    def value(self) -> float | None:
        """Mean objective over the seeds, ``None`` unless all of them are done."""
        return statistics.fmean(self.values.values()) if self.state == DONE else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "number": self.trial.number,
            "settings": self.trial.settings,
            "label": self.label,
            "state": self.state,
            "objective": self.value,
            "by_seed": dict(self.values),
            "runs": self.runs,
            "steps": self.steps,
            "failure": self.failure,
            "figures": self.means,
        }


@dataclass(frozen=True)
class Sweep:
    """The settings to tune, the objective, and the folder.

    Attributes:
        source: name or file of the configuration.
        space: the varied and the fixed settings.
        search: the name of the search.
        objective: the objective to optimize.
        seeds: tuning seeds for each trial.
        folder: the sweep's folder.
        trust: whether the user trusts the existing runs.
        failures: why a run failed, by trial and seed.
    """

    source: str
    space: Space
    search: str
    objective: Objective
    seeds: int
    folder: Path
    trust: bool = False
    failures: dict[tuple[int, int], str] = field(default_factory=dict)
    _configs: dict[tuple[str, ...], RunConfig | str] = field(default_factory=dict)
    _done: dict[int, Scored] = field(default_factory=dict)

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """The seeds of every trial."""
        return tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.seeds))

    def config(self, settings: Mapping[str, str]) -> RunConfig:
        """Return the configuration for one choice of values, without a record of earlier tuning."""
        config = load_config(self.source, self.space.overrides(settings))
        return cast(RunConfig, replace(cast(Any, config), tuning=None))

    def check(self) -> None:
        """Check that each value of each setting is accepted, changes runs, and leaves seeds for comparisons.

        Raises:
            ValueError: a value is refused, two values give the same run, or the configuration's own seed is a tuning
                seed.
        """
        varied = self.space.varied
        others = [{each.key: each.values[place] for each in varied} for place in (0, -1)]
        for each in varied:
            for value in each.values:
                refusals = [self._refusal({**settings, each.key: value}) for settings in others]
                if None not in refusals:  # some values are not compatible with the current values of the others
                    raise ValueError(refusals[0])
        self._check_effects()
        seed = load_config(self.source, self.space.fixed).seed
        if seed in self.tuning_seeds:
            raise ValueError(f"the configuration's seed, {seed}, is one of the tuning seeds; give the file another one")

    def _check_effects(self) -> None:
        """Check that two values of a setting give different runs, for every value of the other settings.

        The baseline ignores the settings of the loss term; a grid may contain it too.
        """
        first = {each.key: each.values[0] for each in self.space.varied}
        for each in self.space.varied:
            ends = dict.fromkeys((each.values[0], each.values[-1]))
            for others in ({**first, more.key: value} for more in self.space.varied for value in more.values):
                found = [self._config_or_refusal({**others, each.key: value}) for value in ends]
                same = found[0] if len(found) == 2 and found[0] == found[1] else ""
                if not isinstance(same, str) and same.method_name != same.baseline:
                    one, other = (f"{each.key}={value}" for value in ends)
                    rest = "".join(f" {key}={value}" for key, value in others.items() if key != each.key)
                    raise ValueError(
                        f"{one} and {other} give the same run{' with' if rest else ''}{rest}; if settings under "
                        "methods override them, vary those, or clear them with methods={}"
                    )

    def accepted(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials whose values are compatible."""
        return [trial for trial in trials if self._refusal(trial.settings) is None]

    def _refusal(self, settings: Mapping[str, str]) -> str | None:
        """Return the error line for incompatible values, else ``None``."""
        found = self._config_or_refusal(settings)
        return found if isinstance(found, str) else None

    def _config_or_refusal(self, settings: Mapping[str, str]) -> RunConfig | str:
        values = tuple(settings.values())
        if values not in self._configs:
            try:
                config = self.config(settings)
                self._configs[values] = method_config(config, config.method_name, config.seed)
            except ValueError as error:
                self._configs[values] = " ".join(str(error).split())
        return self._configs[values]

    def runs(self, trials: Sequence[Trial]) -> list[PlannedRun]:
        """Return the runs of trials that are accepted.

        Raises:
            FileExistsError: a folder holds a run of another sweep.
        """
        found = [planned for trial in trials for planned in self._planned(trial)]
        for planned in found:
            check_reusable(planned)
        return found

    def _planned(self, trial: Trial) -> list[PlannedRun]:
        config = cast(RunConfig, self._config_or_refusal(trial.settings))
        found = []
        for seed in self.tuning_seeds:
            own = method_config(config, config.method_name, seed)
            path = self.folder / f"trial{trial.number:04d}-seed{seed}"
            folder = RunFolder(path, self.trust or RunFolder(path).is_empty())
            found.append(PlannedRun(f"trial {trial.number}", seed, own, folder))
        return found

    def examples(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return a few accepted trials that together contain every listed value, the first trial among them."""
        seen: set[tuple[str, str]] = set()
        found: list[Trial] = []
        listed = {each.key for each in self.space.varied if isinstance(each, Choice)}
        for trial in self.accepted(trials):
            values = {(key, value) for key, value in trial.settings.items() if key in listed}
            if not found or values - seen:
                found.append(trial)
                seen |= values
        return found or [Trial(0, {each.key: each.values[0] for each in self.space.varied})]

    def note(self, trials: Sequence[Trial], failures: Mapping[int, RunFailure]) -> None:
        """Record the failed runs of trials, by index in :meth:`runs`; the others count as not failed."""
        places = [(trial.number, seed) for trial in trials for seed in self.tuning_seeds]
        for index, place in enumerate(places):
            self.failures.pop(place, None)
            if index in failures:
                self.failures[place] = str(failures[index])

    def recall(self) -> None:
        """Read the failures that an earlier program recorded, from the sweep's record.

        Raises:
            ValueError: the record has unexpected content.
        """
        file = self.folder / RECORD
        if not file.is_file():
            return
        data = read_json(file)
        try:
            noted = {(int(each["trial"]), int(each["seed"])): str(each["line"]) for each in data["failures"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not the record of a sweep; remove it, or give another --out") from error
        self.failures.update(noted)

    def scored(self, trial: Trial) -> Scored:
        """Return the results of a trial from its run folders; a finished trial is read only once."""
        if trial.number not in self._done:
            found = self._scored(trial)
            if found.state != DONE:
                return found
            self._done[trial.number] = found
        return self._done[trial.number]

    def _scored(self, trial: Trial) -> Scored:
        if (refusal := self._refusal(trial.settings)) is not None:
            return Scored(trial, FAILED, {}, 0, 0, refusal)
        runs = self._planned(trial)
        values, steps, started, figures = {}, 0, 0, {}
        lines = [self.failures[place] for seed in self.tuning_seeds if (place := (trial.number, seed)) in self.failures]
        for planned in runs:
            training = planned.folder.training()
            steps += 0 if training is None else training["timesteps"]
            started += not planned.folder.is_empty()
            if not planned.is_finished():
                continue
            results = read_metrics(planned.folder.metrics_file).results
            figures[planned.seed] = objective_values(results)
            value = self.objective.value(results)
            if value is None:
                lines.append(f"{self.objective} was not measured, or is undefined")
            else:
                values[planned.seed] = value
        state = FAILED if lines else DONE if len(values) == len(runs) else UNFINISHED
        return Scored(trial, state, values, started, steps, lines[0] if lines else None, figures)

    def ranked(self, trials: Sequence[Trial]) -> list[Scored]:
        """Return the results of trials, the best first, those without an objective last."""
        sign = -1.0 if self.objective.maximizes else 1.0
        found = [self.scored(trial) for trial in trials]
        return sorted(found, key=lambda each: (each.value is None, sign * (each.value or 0.0), each.trial.number))

    def tuning(self, ranked: Sequence[Scored]) -> Tuning:
        """Return the tuning record for the best configuration, including earlier tuning of its base configuration."""
        before = cast(Any, load_config(self.source, self.space.fixed)).tuning
        keys, seeds = self.space.keys, self.tuning_seeds
        trials, runs, steps = len(ranked), sum(each.runs for each in ranked), sum(each.steps for each in ranked)
        if before is not None:
            keys, seeds = tuple(dict.fromkeys((*before.keys, *keys))), tuple(sorted({*before.seeds, *seeds}))
            trials, runs, steps = trials + before.trials, runs + before.runs, steps + before.steps
        return Tuning(self.search, str(self.objective), keys, trials, max(1, runs), steps, seeds)

    def write(self, ranked: Sequence[Scored], command: Sequence[str]) -> bool:
        """Write the record, and the best configuration if a trial is done; return whether one is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        best = ranked[0] if ranked and ranked[0].state == DONE else None
        write_record(self.folder / RECORD, self._record(ranked, best, command))
        if best is not None:
            config = replace(cast(Any, self.config(best.trial.settings)), tuning=self.tuning(ranked))
            write_text(self.folder / BEST, dump_yaml(config))
        return best is not None

    def _record(self, ranked: Sequence[Scored], best: Scored | None, command: Sequence[str]) -> dict[str, Any]:
        return {
            "config": self.source,
            "fixed": list(self.space.fixed),
            "varied": [dict(vars(each)) for each in self.space.varied],
            "search": self.search,
            "objective": {
                "figure": self.objective.figure,
                "level_set": self.objective.level_set,
                "higher_is_better": self.objective.maximizes,
                "spends_a_test": self.objective.spends_a_test,
            },
            "seeds": list(self.tuning_seeds),
            "budget": {
                "trials": len(ranked),
                "runs": sum(each.runs for each in ranked),
                "steps": sum(each.steps for each in ranked),
            },
            "best": None if best is None else best.trial.number,
            "trials": [each.to_json() for each in ranked],
            "failures": [
                {"trial": trial, "seed": seed, "line": line} for (trial, seed), line in sorted(self.failures.items())
            ],
            "command": shlex.join(command),
            **_provenance(),
        }

    def table(self, ranked: Sequence[Scored]) -> Table:
        """Return the trials as a table, the best first."""
        arrow = "↑" if self.objective.maximizes else "↓"
        several = self.seeds > 1
        rows = []
        for each in ranked:
            spread = statistics.stdev(each.values.values()) if several and each.value is not None else None
            numbers = [number(each.value), *([number(spread)] * several), f"{each.steps:,}"]
            rows.append([str(each.trial.number), *each.trial.settings.values(), each.state, *numbers])
        steps = sum(each.steps for each in ranked)
        seeds = f"seed{'s' * several} {', '.join(map(str, self.tuning_seeds))}"
        caption = (
            f"Budget: {counted(len(ranked), 'trial')}, {counted(sum(each.runs for each in ranked), 'run')}, {steps:,} "
            f"steps. Tuning {seeds}: {BEST} refuses {'them' if several else 'it'}."
        )
        if self.objective.spends_a_test:
            where = self.objective.level_set
            caption += (
                f" ATTENTION: the settings were chosen on {where}, which is reserved for testing: do not report the "
                f"best settings' results on {where}."
            )
        title = f"{self.search} search, {self.objective} {arrow}, the best first"
        numbers = ["mean", *(["sd"] * several), "steps"]
        return table_of(title, ["trial", *self.space.keys, "state"], numbers, rows, caption)

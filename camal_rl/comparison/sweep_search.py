"""Search methods of a sweep: every combination, random combinations, or proposals of Optuna."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from camal_rl.comparison.sweep_space import Choice, Range, Space
from camal_rl.registry import Registry

_SEED = 0
"""Seed of the random search: the same command tries the same combinations, so that it can be resumed."""


@dataclass(frozen=True)
class Trial:
    """One combination of values.

    Attributes:
        number: counted from 0.
        settings: key to value, as typed on the command line.
    """

    number: int
    settings: dict[str, str] = field(hash=False)


class Search(Protocol):
    """Proposes trials and receives their objectives."""

    def next(self) -> list[Trial]:
        """Return the trials to execute now, none at the end; trials without a reported result are returned again."""

    def tell(self, trial: Trial, value: float | None) -> None:
        """Receive the objective of a trial, ``None`` if it failed."""

    def trials(self) -> list[Trial]:
        """Return every trial so far, including those of an earlier program."""


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search.

    Attributes:
        space: the varied and fixed settings.
        trials: number of trials; ``None`` if not given.
        at_once: number of trials proposed before their results are known.
        maximizes: whether a larger objective is better.
        folder: the sweep's folder; it may not exist yet.
    """

    space: Space
    trials: int | None
    at_once: int
    maximizes: bool
    folder: Path


class _Known:
    """A search whose trials are all known in advance."""

    def __init__(self, settings: Sequence[dict[str, str]]) -> None:
        self._trials = [Trial(number, each) for number, each in enumerate(settings)]
        self._waiting = {trial.number for trial in self._trials}

    def next(self) -> list[Trial]:
        """Return all trials, once."""
        return [trial for trial in self._trials if trial.number in self._waiting]

    def tell(self, trial: Trial, value: float | None) -> None:
        """Record that a trial is finished."""
        self._waiting.discard(trial.number)

    def trials(self) -> list[Trial]:
        """Return all trials."""
        return self._trials


class GridSearch(_Known):
    """Every combination; the values of the last setting vary fastest.

    Raises:
        ValueError: a range or a number of trials is given.
    """

    def __init__(self, options: SearchOptions) -> None:
        space = options.space
        ranges = [each.key for each in space.varied if isinstance(each, Range)]
        if ranges:
            raise ValueError(
                f"{ranges[0]} is a range, but a grid needs values, key=a,b; give values or --search random"
            )
        if options.trials is not None:
            raise ValueError("a grid tries every combination; --trials is for --search random and optuna")
        combinations = itertools.product(*(each.values for each in space.varied))
        super().__init__([dict(zip(space.keys, values, strict=True)) for values in combinations])


class RandomSearch(_Known):
    """Combinations drawn uniformly; lists are drawn without repetition.

    Raises:
        ValueError: the number of trials is missing, or exceeds the number of combinations.
    """

    def __init__(self, options: SearchOptions) -> None:
        space, trials = options.space, needed_trials(options)
        generator = np.random.default_rng(_SEED)
        if space.combinations is None:
            settings = [{each.key: _drawn(each, generator.random()) for each in space.varied} for _ in range(trials)]
        else:
            sizes = [len(each.values) for each in space.varied]
            drawn = generator.choice(space.combinations, trials, replace=False)
            places = (np.unravel_index(int(number), sizes) for number in drawn)
            values = [each.values for each in space.varied]
            settings = [
                {key: own[int(at)] for key, own, at in zip(space.keys, values, place, strict=True)} for place in places
            ]
        super().__init__(settings)


def needed_trials(options: SearchOptions) -> int:
    """Return the requested number of trials; raise a ValueError if it is missing or exceeds the combinations."""
    if options.trials is None:
        raise ValueError("give the number of combinations to try: --trials N")
    count = options.space.combinations
    if count is not None and options.trials > count:
        raise ValueError(
            f"there are {count} combinations, fewer than --trials {options.trials}; --search grid tries all"
        )
    return options.trials


def _drawn(varied: Choice | Range, share: float) -> str:
    """Return the value of a setting at a share in [0, 1) of its list or range."""
    return varied.at(share) if isinstance(varied, Range) else varied.values[int(share * len(varied.values))]


SEARCHES: Registry[Callable[[SearchOptions], Search]] = Registry(
    "search",
    {
        "grid": "camal_rl.comparison.sweep_search:GridSearch",
        "random": "camal_rl.comparison.sweep_search:RandomSearch",
        "optuna": "camal_rl.comparison.sweep_optuna:OptunaSearch",
    },
    group="camal_rl.searches",
)
"""Factories of searches by name."""

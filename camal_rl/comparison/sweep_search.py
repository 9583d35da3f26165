"""How a sweep chooses what it tries: every combination, random ones, or as Optuna proposes."""

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
"""Of what is drawn: the same command tries the same, so that it goes on where it was ended."""


@dataclass(frozen=True)
class Trial:
    """One combination of values.

    Attributes:
        number: counted from 0.
        settings: key to value, as it would be typed.
    """

    number: int
    settings: dict[str, str] = field(hash=False)


class Search(Protocol):
    """Proposes trials and is told what came of them."""

    def next(self) -> list[Trial]:
        """Return the trials to execute now, none at the end; those that were not told of come again."""

    def tell(self, trial: Trial, value: float | None) -> None:
        """Take the objective of a trial, ``None`` for one that failed."""

    def trials(self) -> list[Trial]:
        """Return every trial so far, those of an earlier program too."""


@dataclass(frozen=True)
class SearchOptions:
    """What a search is made with.

    Attributes:
        space: what is varied.
        trials: how many are tried; ``None`` where it was not said.
        at_once: how many are proposed before what came of them is known.
        maximizes: whether a larger objective is better.
        folder: the sweep's folder; it may not be there yet.
    """

    space: Space
    trials: int | None
    at_once: int
    maximizes: bool
    folder: Path


class _Known:
    """A search whose trials are known from the beginning."""

    def __init__(self, settings: Sequence[dict[str, str]]) -> None:
        self._trials = [Trial(number, each) for number, each in enumerate(settings)]
        self._waiting = {trial.number for trial in self._trials}

    def next(self) -> list[Trial]:
        """Return all of them, once."""
        return [trial for trial in self._trials if trial.number in self._waiting]

    def tell(self, trial: Trial, value: float | None) -> None:
        """Take note that a trial is over."""
        self._waiting.discard(trial.number)

    def trials(self) -> list[Trial]:
        """Return all of them."""
        return self._trials


class GridSearch(_Known):
    """Every combination, the last setting's values first.

    Raises:
        ValueError: a range, or a number of trials.
    """

    def __init__(self, options: SearchOptions) -> None:
        space = options.space
        ranges = [each.key for each in space.varied if isinstance(each, Range)]
        if ranges:
            raise ValueError(f"{ranges[0]} is a range, and a grid needs values, key=a,b; or give --search random")
        if options.trials is not None:
            raise ValueError("a grid tries every combination; --trials is for --search random and optuna")
        combinations = itertools.product(*(each.values for each in space.varied))
        super().__init__([dict(zip(space.keys, values, strict=True)) for values in combinations])


class RandomSearch(_Known):
    """Combinations drawn uniformly, lists without repetition.

    Raises:
        ValueError: no number of trials, or one larger than there are combinations.
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
    """Return how many trials were asked for; a ValueError without any, or with more than there are combinations."""
    if options.trials is None:
        raise ValueError("say how many combinations are tried: --trials N")
    count = options.space.combinations
    if count is not None and options.trials > count:
        raise ValueError(f"there are {count} combinations, fewer than --trials {options.trials}; --search grid is all")
    return options.trials


def _drawn(varied: Choice | Range, share: float) -> str:
    """Return the value of a setting at a share in [0, 1) of what it can be."""
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
"""By name what makes them."""

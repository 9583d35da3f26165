"""Results over several environments: normalized returns on every game, and aggregates over all games."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from camal_rl.aggregates import (
    Interval,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    probability_of_improvement,
)
from camal_rl.comparison.estimates import Estimate, estimates, names
from camal_rl.comparison.groups import Group, essential_settings
from camal_rl.comparison.number_words import counted, listed
from camal_rl.runs.results import ResultKey

FIGURE = "normalized_return"
"""The aggregated figure: returns on a scale that is the same for all games."""
LEAST_GAMES = 2
ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Summary:
    """Aggregates of one method over all games; the ends of an interval are NaN if a game has a single seed.

    Attributes:
        interquartile_mean: interquartile mean of all normalized returns.
        optimality_gap: mean shortfall of the normalized returns from 1.
        improvement: probability that a seed beats a seed of the first method on a random game; ``None`` for the first
            method.
    """

    interquartile_mean: Interval
    optimality_gap: Interval
    improvement: Interval | None


@dataclass(frozen=True)
class Aggregate:
    """All games on one level set.

    Attributes:
        level_set: the levels.
        methods: every method with a normalized return on at least one game; the others are compared with the first.
        games: every method's normalized returns, by game.
        summaries: aggregates over all games, of the methods with results on every game; the others are compared with
            the first.
    """

    level_set: str
    methods: tuple[str, ...]
    games: Mapping[str, Mapping[str, Estimate]]
    summaries: Mapping[str, Summary]

    @property
    def baseline(self) -> str | None:
        """The method that the others are compared with; ``None`` where no method is complete."""
        return next(iter(self.summaries), None)

    def scores(self, method: str) -> dict[str, list[float]]:
        """Return a method's normalized returns by game, one for each seed."""
        return {game: list(found[method].seeds.values()) for game, found in self.games.items()}

    def least_seeds(self, method: str) -> int:
        """Return a method's number of seeds on the game with the fewest."""
        return min(found[method].count for found in self.games.values())


def aggregates(groups: Sequence[Group]) -> tuple[list[Aggregate], list[str]]:
    """Return the aggregate of each level set, and one line for everything that is missing, left out or insufficient.

    An aggregate needs normalized returns on two games; without them the lines say why there is none.
    """
    usable = [group for group in groups if _level_sets(group)]
    notes = [_why_left_out(group) for group in groups if group not in usable]
    if len(usable) < LEAST_GAMES:
        return [], notes
    methods = _methods(usable)
    level_sets = list(dict.fromkeys(name for group in usable for name in _level_sets(group)))
    found = [_aggregate(usable, methods, level_set) for level_set in level_sets]
    found = [each for each in found if len(each.games) >= LEAST_GAMES]
    notes += [*_left_out(usable, level_sets), *_incomplete(found, methods), *_settings(usable)]
    return found, notes


def few_seeds(found: Sequence[Aggregate]) -> str:
    """Return one or two sentences if intervals are missing or too narrow for a claim, else an empty text."""
    fewest: dict[str, int] = {}
    for each in found:
        for method in each.summaries:
            fewest[method] = min(fewest.get(method, each.least_seeds(method)), each.least_seeds(method))
    told = []
    single = [method for method, count in fewest.items() if count == 1]
    if single:
        told.append(f"No intervals of {listed(single)}: with one seed on a game the spread over seeds is unknown.")
    least = min((count for count in fewest.values() if count > 1), default=ENOUGH_SEEDS)
    if least < ENOUGH_SEEDS:
        narrow = 100 * (1 - math.sqrt(1 - 1 / least))
        told.append(
            f"With {counted(least, 'seed')} on a game, the intervals are about {narrow:.0f} % too narrow to support a "
            f"claim. Use {ENOUGH_SEEDS} seeds or more."
        )
    return " ".join(told)


def _level_sets(group: Group) -> list[str]:
    """Return the level sets on which at least one run has a normalized return with sampled actions."""
    return [
        name
        for name in names(group, "level_set", figure=FIGURE, control="stochastic")
        if any(each.count for each in estimates(group, _key(name)).values())
    ]


def _key(level_set: str) -> ResultKey:
    return ResultKey(FIGURE, level_set, control="stochastic")


def _methods(groups: Sequence[Group]) -> list[str]:
    found = list(dict.fromkeys(method for group in groups for method in group.methods))
    return sorted(found, key=lambda method: method != groups[0].runs[0].config.baseline)


def _aggregate(groups: Sequence[Group], methods: Sequence[str], level_set: str) -> Aggregate:
    games: dict[str, Mapping[str, Estimate]] = {}
    for group in groups:
        found = estimates(group, _key(level_set))
        if any(each.count for each in found.values()):
            games[group.env] = {method: found.get(method, Estimate({})) for method in methods}
    shown = tuple(method for method in methods if any(found[method].count for found in games.values()))
    complete = [method for method in shown if all(found[method].count for found in games.values())]
    bare = Aggregate(level_set, shown, games, {})
    summaries = {method: _summary(bare, method, None if method == complete[0] else complete[0]) for method in complete}
    return Aggregate(level_set, shown, games, summaries)


def _summary(aggregate: Aggregate, method: str, baseline: str | None) -> Summary:
    """Return a method's aggregates over all games; the bootstrap has a fixed seed."""
    own = aggregate.scores(method)
    mean, gap = (
        bootstrap_interval(own, np.random.default_rng(0), statistic)
        if aggregate.least_seeds(method) > 1
        else _without_ends(statistic(own))
        for statistic in (interquartile_mean, optimality_gap)
    )
    if baseline is None:
        return Summary(mean, gap, None)
    base = aggregate.scores(baseline)
    if min(aggregate.least_seeds(method), aggregate.least_seeds(baseline)) > 1:
        return Summary(mean, gap, improvement_interval(own, base, np.random.default_rng(0)))
    return Summary(mean, gap, _without_ends(probability_of_improvement(own, base)))


def _without_ends(estimate: float) -> Interval:
    return Interval(estimate, math.nan, math.nan)


def _why_left_out(group: Group) -> str:
    if not any(len(run.results) for run in group.runs):
        return f"{group.env} is left out: none of its runs has readable results"
    if names(group, "level_set", figure="return"):
        return f"{group.env} is left out: there are no constants to normalize its returns"
    return f"{group.env} is left out: it has no returns"


def _left_out(groups: Sequence[Group], level_sets: Iterable[str]) -> list[str]:
    """Return lines on the games that lack a level set, and on level sets that only one game has."""
    told = []
    for level_set in level_sets:
        lacking = [group.env for group in groups if level_set not in _level_sets(group)]
        if len(groups) - len(lacking) < LEAST_GAMES:
            told.append(f"there is no aggregate on {level_set}: only one game has normalized returns there")
        elif lacking:
            told.append(f"without {listed(lacking)} on {level_set}: there are no normalized returns")
    return told


def _incomplete(found: Sequence[Aggregate], methods: Iterable[str]) -> list[str]:
    """Return one line for each incomplete method and each group of level sets on which the same games are missing."""
    missing: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in found:
        for method in methods:
            games = tuple(game for game, of_game in each.games.items() if not of_game[method].count)
            if games:
                missing.setdefault((method, games), []).append(each.level_set)
    told = [
        f"{method} is left out of the aggregates on {listed(sets)}: no normalized return on {listed(list(games))}"
        for (method, games), sets in missing.items()
    ]
    none = [each.level_set for each in found if not each.summaries]
    return told + ([f"there is no aggregate on {listed(none)}: no method has results on all games"] if none else [])


def _settings(groups: Sequence[Group]) -> list[str]:
    """Return lines on settings of a method that are not the same on every game, other than the game itself."""
    differing: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for method in _methods(groups):
        own = {group.env: essential_settings(group.of(method)[0]) for group in groups if group.of(method)}
        for key in dict.fromkeys(key for settings in own.values() for key in settings):
            texts = {game: str(settings.get(key)) for game, settings in own.items()}
            if key != "env.id" and len(set(texts.values())) > 1:
                values = tuple(
                    f"{text} on {listed([game for game in texts if texts[game] == text])}"
                    for text in dict.fromkeys(texts.values())
                )
                differing.setdefault((key, values), []).append(method)
    return [
        f"{key} of {listed(methods)} is not the same on every game: {', '.join(values)}"
        for (key, values), methods in differing.items()
    ]

"""What runs on several environments say together: normalized returns of every game, and aggregates over all of them."""

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
"""What is aggregated: returns on a scale on which games compare."""
LEAST_GAMES = 2
ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Summary:
    """One method over all games; the ends of an interval are NaN where a game has a single seed.

    Attributes:
        interquartile_mean: of all normalized returns.
        optimality_gap: by how much they fall short of 1.
        improvement: how likely a seed beats one of the first method on a random game; ``None`` for the first method.
    """

    interquartile_mean: Interval
    optimality_gap: Interval
    improvement: Interval | None


@dataclass(frozen=True)
class Aggregate:
    """The games on one level set.

    Attributes:
        level_set: the levels.
        methods: every method that has a normalized return on any game, the first being what others are compared with.
        games: by game every method's normalized returns.
        summaries: the methods that have one on every game, over all games; the first is what others are compared with.
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
        """Return the number of a method's seeds on the game that has fewest."""
        return min(found[method].count for found in self.games.values())


def aggregates(groups: Sequence[Group]) -> tuple[list[Aggregate], list[str]]:
    """Return the aggregate of each level set, and one line for everything that is missing, left out or too little.

    Without normalized returns of two games there is no aggregate; the lines say why.
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
    """Return a sentence or two where intervals are missing or too narrow for a claim, nothing where they are not."""
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
            f"With {counted(least, 'seed')} on a game, intervals are too narrow by about {narrow:.0f} %, too much for "
            f"a claim. Use {ENOUGH_SEEDS} seeds or more."
        )
    return " ".join(told)


def _level_sets(group: Group) -> list[str]:
    """Return on which level sets any run has a normalized return, of sampled actions."""
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
    """Return a method over all games, always the same."""
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
        return f"{group.env} is left out: none of its runs has results that can be read"
    if names(group, "level_set", figure="return"):
        return f"{group.env} is left out: there are no constants to normalize its returns"
    return f"{group.env} is left out: it has no returns"


def _left_out(groups: Sequence[Group], level_sets: Iterable[str]) -> list[str]:
    """Say which games lack a level set, and which level sets only one game has."""
    told = []
    for level_set in level_sets:
        lacking = [group.env for group in groups if level_set not in _level_sets(group)]
        if len(groups) - len(lacking) < LEAST_GAMES:
            told.append(f"there is no aggregate on {level_set}: only one game has normalized returns there")
        elif lacking:
            told.append(f"without {listed(lacking)} on {level_set}: there are no normalized returns")
    return told


def _incomplete(found: Sequence[Aggregate], methods: Iterable[str]) -> list[str]:
    """Say which methods are not in the aggregates, each once for all level sets on which the same games are missing."""
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
    """Say in what a method is not the same on every game; a game itself is what may differ."""
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

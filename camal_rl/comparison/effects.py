"""Effect sizes between methods, and every seed's value, to be read beside the p-values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from camal_rl.comparison.estimates import Estimate, estimates
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import headline_keys, judged_keys
from camal_rl.comparison.groups import Group
from camal_rl.comparison.method_tables import interval_text
from camal_rl.comparison.number_words import number, p_value
from camal_rl.comparison.significance import corrected, correction_note
from camal_rl.comparison.table import Cell, Table, table_of
from camal_rl.runs.results import ResultKey
from camal_rl.statistics import Interval

_EFFECTS = (
    "Differences are in the unit of the metric. Hedges' g is the difference in standard deviations over seeds, with "
    "its 95 % interval. P(higher): how often a seed of the method has a higher value than a seed of {}. Holm: p "
    "corrected over the rows of the method, as in the summary."
)


Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Effect(Generic[Figure]):
    """One figure of a method compared with the first method.

    Attributes:
        key: the figure, or its name.
        method: the method.
        own: the method's values.
        base: the first method's values.
        p: two-sided Mann-Whitney test; ``None`` where nothing can be tested.
        corrected_p: ``p`` after Holm's correction over the figures of :func:`effects`.
    """

    key: Figure
    method: str
    own: Estimate
    base: Estimate
    p: float | None
    corrected_p: float | None

    @property
    def difference(self) -> float:
        """Difference of the means."""
        return self.own.mean - self.base.mean

    @property
    def size(self) -> Interval | None:
        """Hedges' g and its 95 % interval."""
        return self.own.effect_against(self.base)

    @property
    def chance(self) -> float | None:
        """Probability that a seed of the method is higher than a seed of the first method; ties count half."""
        return self.own.chance_above(self.base)


def effects(group: Group, keys: Sequence[ResultKey]) -> list[Effect[ResultKey]]:
    """Return the effect of every method relative to the first on each figure that both have, ordered by figure."""
    return effects_of({key: estimates(group, key) for key in keys}, group.methods)


def effects_of(found: Mapping[Figure, Mapping[str, Estimate]], methods: Sequence[str]) -> list[Effect[Figure]]:
    """Return the effects of :func:`effects` from the values of each figure by method.

    Args:
        found: the values; p is corrected over these figures, method by method.
        methods: the methods; the others are compared with the first.
    """
    made: dict[tuple[Figure, str], Effect[Figure]] = {}
    none = Estimate({})
    for method in methods[1:]:
        pairs = {key: (each.get(method, none), each.get(methods[0], none)) for key, each in found.items()}
        pairs = {key: pair for key, pair in pairs.items() if pair[0].count and pair[1].count}
        p_values = [own.p_against(base) for own, base in pairs.values()]
        for (key, pair), p, adjusted in zip(pairs.items(), p_values, corrected(p_values), strict=True):
            made[key, method] = Effect(key, method, *pair, p, adjusted)
    return [made[key, method] for key in found for method in methods[1:] if (key, method) in made]


def effects_table(group: Group) -> Table:
    """Return the effects on the judged figures, one row for each figure and method."""
    found = effects(group, judged_keys(group))
    tests = Counter((each.method, (each.base.count, each.own.count)) for each in found if each.p is not None)
    note = correction_note((pair, rows) for (_, pair), rows in tests.items())
    rows: list[list[str | Cell]] = [
        [
            figure_words(each.key, arrow=True),
            each.method,
            f"{each.difference:+.3f}",
            _size_cell(each.size),
            number(each.chance, 2),
            p_value(each.p),
            p_value(each.corrected_p),
        ]
        for each in found
    ]
    header = ("difference", "Hedges' g", "P(higher)", "p", "Holm")
    title = f"Differences from {group.baseline}"
    return table_of(title, ("figure", "method"), header, rows, f"{_EFFECTS.format(group.baseline)} {note}".strip())


def seeds_table(group: Group) -> Table:
    """Return every seed's value of the headline figures."""
    seeds = sorted({run.seed for run in group.runs})
    rows = [
        [figure_words(key), method, interval_text(each) or "-", *(number(each.seeds.get(str(seed))) for seed in seeds)]
        for key in headline_keys(group)
        for method, each in estimates(group, key).items()
    ]
    header = ("95 % interval", *(f"seed {seed}" for seed in seeds))
    return table_of("Every seed", ("figure", "method"), header, rows, folded=True)


def _size_cell(size: Interval | None) -> Cell:
    if size is None:
        return Cell("-")
    return Cell(f"{size.estimate:+.2f}", f"{size.low:+.2f} to {size.high:+.2f}")

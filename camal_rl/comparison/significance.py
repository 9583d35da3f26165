"""Which differences a given number of seeds can establish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from camal_rl.comparison.estimates import estimates
from camal_rl.comparison.figures import headline_keys
from camal_rl.comparison.groups import Group
from camal_rl.comparison.number_words import counted
from camal_rl.statistics import holm, smallest_p

SIGNIFICANT = 0.05


def significance_note(pairs: Iterable[tuple[int, int]]) -> str:
    """Return one sentence if the seeds are too few for a significant difference, else an empty text.

    Args:
        pairs: pairs of numbers of seeds that are compared.
    """
    told = []
    for first, second in sorted(set(pairs)):
        against = f"{first} against {counted(second, 'seed')}"
        if min(first, second) < 2:
            told.append(f"With {against} no test is possible: the spread over seeds is unknown.")
        elif (p := smallest_p(first, second)) >= SIGNIFICANT:
            told.append(f"With {against} no test can reach p < {SIGNIFICANT}: the smallest possible p is {p:.2f}.")
    return " ".join(told)


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected by Holm's method for testing all of them; what was not tested stays ``None``."""
    tested = [p for p in p_values if p is not None]
    adjusted = iter(holm(tested) if tested else ())
    return [None if p is None else next(adjusted) for p in p_values]


def correction_note(tests: Iterable[tuple[tuple[int, int], int]]) -> str:
    """Return one sentence if so many rows leave no corrected p below the limit, nothing where they do.

    Where no p at all can be below it, :func:`significance_note` says so.

    Args:
        tests: numbers of seeds that are compared with each other, and in how many rows.
    """
    told = []
    for (first, second), rows in sorted(set(tests)):
        smallest = smallest_p(first, second)
        if min(first, second) > 1 and smallest < SIGNIFICANT <= rows * smallest:
            told.append(
                f"With {first} against {counted(second, 'seed')} and {counted(rows, 'row')} no p can stay below "
                f"{SIGNIFICANT} after Holm's correction: the smallest possible is {min(1.0, rows * smallest):.2f}."
            )
    return " ".join(told)


def seeds_note(group: Group) -> str:
    """Return the sentence of :func:`significance_note` for the headline figures of every method and the first."""
    pairs = []
    for key in headline_keys(group):
        found = estimates(group, key)
        pairs += [(found[group.baseline].count, found[method].count) for method in group.methods[1:]]
    return significance_note(pair for pair in pairs if min(pair) > 0)

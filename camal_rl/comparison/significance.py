"""What so many seeds can show at all."""

from __future__ import annotations

from collections.abc import Iterable

from camal_rl.comparison.estimates import estimates
from camal_rl.comparison.figures import headline_keys
from camal_rl.comparison.groups import Group
from camal_rl.comparison.number_words import counted
from camal_rl.statistics import smallest_p

SIGNIFICANT = 0.05


def significance_note(pairs: Iterable[tuple[int, int]]) -> str:
    """Return one sentence if the seeds are too few for a significant difference, nothing where they are enough.

    Args:
        pairs: numbers of seeds that are compared with each other.
    """
    told = []
    for first, second in sorted(set(pairs)):
        against = f"{first} against {counted(second, 'seed')}"
        if min(first, second) < 2:
            told.append(f"With {against} nothing can be tested: how much seeds differ is not known.")
        elif (p := smallest_p(first, second)) >= SIGNIFICANT:
            told.append(f"With {against} no test can reach p < {SIGNIFICANT}: the smallest possible p is {p:.2f}.")
    return " ".join(told)


def seeds_note(group: Group) -> str:
    """Return the sentence of :func:`significance_note` for the headline figures of every method and the first."""
    pairs = []
    for key in headline_keys(group):
        found = estimates(group, key)
        pairs += [(found[group.baseline].count, found[method].count) for method in group.methods[1:]]
    return significance_note(pair for pair in pairs if min(pair) > 0)

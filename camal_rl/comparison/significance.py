"""What so many seeds can show at all."""

from __future__ import annotations

from collections.abc import Iterable

from camal_rl.comparison.wording import counted
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

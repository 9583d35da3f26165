"""How numbers, counts and lists are written."""

from __future__ import annotations

from collections.abc import Iterable


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table; a missing one is a dash."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def listed(items: list[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, noun: str) -> str:
    """Return ``1 frame``, ``2 frames``, ``1,024 frames``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def spanned(counts: Iterable[int]) -> str:
    """Return ``64``, or ``60 to 64``; ``0`` for no counts."""
    found = sorted(set(counts)) or [0]
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def each_measured(counts: Iterable[int], noun: str) -> str:
    """Return on how many things figures were measured: ``64 images each``, or ``60 to 64 images each``."""
    found = list(counts)
    return f"{spanned(found)} {noun}{'s' * (max(found, default=0) != 1)} each"

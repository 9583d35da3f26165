"""Formatting of numbers, counts and lists."""

from __future__ import annotations

from collections.abc import Iterable

_SMALLEST_P = 0.0005


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table; a missing one is a dash."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    """Return a p-value for a table; one that would be written as zero is ``< 0.001``."""
    return "< 0.001" if p is not None and p < _SMALLEST_P else number(p)


def p_words(p: float) -> str:
    """Return a p-value for a sentence: ``p = 0.008``, ``p < 0.001``."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


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
    """Return the number of items behind each measured figure: ``64 images each``, or ``60 to 64 images each``."""
    found = list(counts)
    return f"{spanned(found)} {noun}{'s' * (max(found, default=0) != 1)} each"

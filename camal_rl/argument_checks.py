"""Checks of single arguments, for every subpackage; an error is one line with the expected and the given value.

Settings of a configuration have their ranges in their annotations instead (:mod:`camal_rl.runs.checks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

MAX_SEED = 2**32 - 1


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise a TypeError unless ``value`` is an integer (and no bool), a ValueError unless it is in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {value}")


def check_number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> None:
    """Raise a TypeError unless ``value`` is a number (and no bool), a ValueError unless it is in [low, high].

    Without bounds every number is accepted, including infinity and NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    bounded = (low, high) != (-math.inf, math.inf)
    if bounded and not low <= float(value) <= high:
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")


def check_choice(name: str, value: object, choices: Sequence[str | None]) -> None:
    """Raise a ValueError unless ``value`` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, got {value!r}")


def check_seed(name: str, value: object) -> None:
    """Raise a TypeError or ValueError unless ``value`` is an integer in [0, 2^32): one word of a seed sequence."""
    check_integer(name, value, 0, MAX_SEED)

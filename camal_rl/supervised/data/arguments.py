"""Checks of what a user gives to an image set: each failure is one line with what was expected and what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

from camal_rl.spelling import did_you_mean

MAX_SEED = 2**32 - 1


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise a TypeError unless ``value`` is an integer (and no bool), a ValueError unless it is in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an integer, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} is in [{low}, {high}], got {value}")


def check_share(name: str, value: object, low: float = 0.0, high: float = 1.0) -> None:
    """Raise a TypeError unless ``value`` is a number (and no bool), a ValueError unless it is in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is a number, got {value!r}")
    if not low <= float(value) <= high:
        raise ValueError(f"{name} is in [{low:g}, {high:g}], got {value}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ValueError unless ``value`` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is true or false, got {value!r}")


def check_seed(name: str, value: object) -> None:
    """Raise a TypeError or ValueError unless ``value`` is an integer in [0, 2^32): one word of a seed sequence."""
    check_integer(name, value, 0, MAX_SEED)


def check_names(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise a ValueError for a name that does not exist; it names the nearest one and lists them all."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"unknown {owner} {name!r}; {hint}known: {', '.join(known) or 'none'}")

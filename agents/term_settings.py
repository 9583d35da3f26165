"""Checks of the settings of auxiliary terms; errors name the setting, the expected and the given value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from camal_rl.camal_config import MAX_WEIGHT


def check_weight(setting: str, value: object) -> None:
    """Raise a TypeError or ValueError unless the value is a finite number in 0 .. :data:`MAX_WEIGHT`.

    Args:
        setting: name of the setting with that of its term, such as ``drac.weight``.
        value: the given value.
    """
    number = _number(setting, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{setting} must be a finite number of at least 0, got {value}")
    if number > MAX_WEIGHT:
        raise ValueError(f"{setting} must be at most {MAX_WEIGHT:.0e}, got {value}")


def check_share(setting: str, value: object) -> None:
    """Raise a TypeError or ValueError unless the value is a number in (0, 1]."""
    if not 0 < _number(setting, value) <= 1:
        raise ValueError(f"{setting} must be in (0, 1], got {value}")


def check_count(setting: str, value: object) -> None:
    """Raise a TypeError or ValueError unless the value is an integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{setting} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{setting} must be at least 1, got {value}")


def check_choice(setting: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{setting} must be one of {', '.join(choices)}, got {value!r}")


def _number(setting: str, value: object) -> Any:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{setting} must be a number, got {value!r}")
    return value

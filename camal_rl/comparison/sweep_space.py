"""The search space of a sweep: lists of values and ranges, as typed on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camal_rl.runs.checks import kinds_of, shown, takes_text
from camal_rl.runs.overrides import paths_of

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER}):(?P<high>{_NUMBER})(?P<log>:log)?")
_WHOLE = re.compile(r"[-+]?\d+")
_OPEN, _CLOSE, _QUOTES = "[{(", "]})", "\"'"
LARGEST = 10**12
"""Maximum number of combinations."""


@dataclass(frozen=True)
class Choice:
    """A setting with a list of values, each as it was typed."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """A setting with a range of values.

    Attributes:
        key: the setting.
        low: its smallest value.
        high: its largest value.
        log: whether it is drawn log-uniformly.
        whole: whether it is an integer.
    """

    key: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def values(self) -> tuple[str, ...]:
        """Both ends of the range, for checks."""
        return self.text(self.low), self.text(self.high)

    def at(self, share: float) -> str:
        """Return the value at a share of the range in [0, 1), as typed on the command line."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return self.text(min(math.floor(value), self.high) if self.whole else value)

    def text(self, value: float) -> str:
        """Return a value as typed on the command line, with six digits."""
        return str(round(value)) if self.whole else f"{value:.6g}"


@dataclass(frozen=True)
class Space:
    """The varied and the fixed settings.

    Attributes:
        varied: the varied settings in the given order.
        fixed: ``key=value`` and ``~key``.
    """

    varied: tuple[Choice | Range, ...]
    fixed: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that are varied."""
        return tuple(each.key for each in self.varied)

    @property
    def combinations(self) -> int | None:
        """Number of combinations; ``None`` with a range, which has infinitely many."""
        choices = [each for each in self.varied if isinstance(each, Choice)]
        return math.prod(len(each.values) for each in choices) if len(choices) == len(self.varied) else None

    def overrides(self, settings: Mapping[str, str]) -> list[str]:
        """Return the overrides of the configuration for one choice of values."""
        return [*self.fixed, *(f"{key}={value}" for key, value in settings.items())]


def parse_space(items: Sequence[str], hints: Mapping[str, Any]) -> Space:
    """Parse a search space: ``key=a,b`` is a list, ``key=1e-4:1e-2:log`` a range; a single value is fixed.

    Commas within brackets or quotes do not separate values: ``key=[a,b],[c]`` are two lists.

    Args:
        items: the items as typed.
        hints: annotations of known settings by dotted key. The range of a float setting has float values; for a text
            setting, a value that looks like a range is a text.

    Raises:
        ValueError: nothing varies, a value is missing or repeated, a range is invalid, or ``seed`` is given.
    """
    varied: list[Choice | Range] = []
    fixed: list[str] = []
    paths, twice = paths_of(items), []
    for item, path in zip(items, paths, strict=True):
        key, equals, text = item.partition("=")
        if path == ("seed",):
            raise ValueError(
                "a sweep uses its own tuning seeds, which comparisons must not use: omit seed, see --seeds"
            )
        values = _split(key, text) if equals else []
        found = _range(key, values[0], hints.get(key)) if len(values) == 1 else None
        if found is not None:
            varied.append(found)
        elif len(values) > 1:
            varied.append(Choice(key, tuple(values)))
        else:
            fixed.append(item)
        twice += [key] * (paths.count(path) > 1 and (len(values) > 1 or found is not None))
    if twice:
        raise ValueError(f"{twice[0]} is given twice; give all its values together, separated by commas")
    if not varied:
        raise ValueError("nothing varies: give at least one setting several values, camal.weight=0.05,0.15, or a range")
    space = Space(tuple(varied), tuple(fixed))
    if (space.combinations or 0) > LARGEST:
        raise ValueError(f"there are more than {LARGEST:,} combinations; vary fewer settings")
    return space


def _split(key: str, text: str) -> list[str]:
    """Return the values of a list, split at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _CLOSE:
            depth -= 1
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    values = [part.strip() for part in parts]
    if "" in values:
        raise ValueError(f"{key}: a value is missing in {shown(text)}; values are separated by commas, key=a,b")
    twice = next((each for each in values if values.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{key}: the value {twice} is repeated; give each value once")
    return values


def _range(key: str, text: str, hint: Any) -> Range | None:
    """Return the range in a text, ``None`` for any other value."""
    match = None if hint is not None and takes_text(hint) else _RANGE.fullmatch(text)
    if match is None:
        return None
    ends = (match["low"], match["high"])
    whole = all(_WHOLE.fullmatch(end) for end in ends) and (hint is None or float not in kinds_of(hint))
    low, high = map(float, ends)
    if not low < high or not math.isfinite(high - low):
        raise ValueError(f"{key}: a range must go from a smaller to a larger number, LOW:HIGH, got {shown(text)}")
    if match["log"] and low <= 0:
        raise ValueError(f"{key}: a logarithmic range must begin above 0, got {shown(text)}")
    return Range(key, low, high, bool(match["log"]), whole)

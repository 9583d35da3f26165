"""Formatting of the cells of a page's tables: styles of numbers, and texts with fields for numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType
from typing import Any

from camal_rl.comparison.estimates import Estimate
from camal_rl.spelling import check_names


@dataclass(frozen=True)
class Value:
    """The value of a field.

    Attributes:
        estimate: the per-seed values of a figure.
        p: two-sided Mann-Whitney test against another method, possibly corrected; ``None`` if nothing is tested.
    """

    estimate: Estimate
    p: float | None = None


Style = Callable[[Value, int], str]


def short_number(value: float | None, digits: int) -> str:
    """Return a number without the zero before the point; a missing number is a dash."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", text)


def _mean_std(value: Value, digits: int) -> str:
    text = short_number(value.estimate.mean, digits)
    return f"{text} ± {short_number(value.estimate.std, digits)}" if value.estimate.count > 1 else text


def _mean_std_p(value: Value, digits: int) -> str:
    return _mean_std(value, digits) + (f" (p {short_number(value.p, 3)})" if value.p is not None else "")


def _interval(value: Value, digits: int) -> str:
    span = value.estimate.interval()
    return "-" if span is None else f"{short_number(span.low, digits)} to {short_number(span.high, digits)}"


def _seeds(between: str) -> Style:
    def text(value: Value, digits: int) -> str:
        ordered = sorted(value.estimate.seeds.items(), key=lambda each: int(each[0]))
        return between.join(short_number(each, digits) for _, each in ordered) or "-"

    return text


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "mean": lambda value, digits: short_number(value.estimate.mean, digits),
        "mean_std": _mean_std,
        "mean_std_p": _mean_std_p,
        "lowest": lambda value, digits: short_number(min(value.estimate.seeds.values(), default=None), digits),
        "highest": lambda value, digits: short_number(max(value.estimate.seeds.values(), default=None), digits),
        "interval": _interval,
        "seeds": _seeds(", "),
        "seeds_spaced": _seeds(" "),
        "p": lambda value, _: short_number(value.p, 3),
    }
)
"""Styles of a figure: the mean over the seeds, with standard deviation, with p; one seed or all; p alone."""


@dataclass(frozen=True)
class Field:
    """A field of a text: ``{}``, ``{1}``, ``{1:mean.2}``."""

    name: str
    spec: str


def parts(text: str) -> Iterator[str | Field]:
    """Yield the texts and fields of a text such as ``{} ({1:mean})``; unnamed fields are numbered in order.

    Raises:
        ValueError: braces that do not close, or a conversion such as ``!r``.
    """
    count = 0
    for literal, name, spec, conversion in Formatter().parse(text):
        if literal:
            yield literal
        if name is None:
            continue
        if conversion or "{" in (spec or ""):
            raise ValueError(f"a field is {{place:style.digits}}, got one with more in {text!r}")
        yield Field(name or str(count), spec or "")
        count += not name


def figure_text(text: str, values: list[Value], show: str, digits: int) -> str:
    """Return a text with its fields filled.

    Args:
        text: with fields ``{place:style.digits}``, all of whose parts are optional.
        values: the values of the places, from 0.
        show: the default style.
        digits: default number of digits after the point.

    Raises:
        ValueError: an unknown style, or a place without a figure.
    """
    found = []
    for part in parts(text):
        if isinstance(part, str):
            found.append(part)
            continue
        if not part.name.isdecimal() or int(part.name) >= len(values):
            raise ValueError(f"{{{part.name}}} in {text!r} is none of its {len(values)} figures, counted from 0")
        style, _, own_digits = part.spec.partition(".")
        check_names([style or show], STYLES, "style")
        if own_digits and not re.fullmatch(r"\d", own_digits):
            raise ValueError(f"{part.spec!r} in {text!r} must end with a number of digits, such as mean.2")
        found.append(STYLES[style or show](values[int(part.name)], int(own_digits) if own_digits else digits))
    return "".join(found)


def record_text(text: str, record: Any, keys: tuple[str, ...] = ()) -> str | None:
    """Fill a text with values of a measurement's record: ``{ratio.box.median:.2f}``.

    Args:
        text: with the dotted paths of values; ``{key.0}`` is the first key of the path to the record.
        record: plain data.
        keys: the keys of the path to the record.

    Returns:
        The text, ``None`` if the record lacks a value.

    Raises:
        ValueError: a format is not valid for the value.
    """
    found = []
    for part in parts(text):
        if isinstance(part, str):
            found.append(part)
            continue
        value = at_path({"key": list(keys)} if part.name.startswith("key.") else record, part.name)
        if value is None:
            return None
        if not re.fullmatch(r",?(\.\d)?[fge%]?", part.spec):
            raise ValueError(f"{part.spec!r} in {text!r} must be a format such as .2f or ,.0f")
        try:
            found.append(format(value, part.spec))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{{{part.name}}} in {text!r} is {value!r}, which has no format {part.spec!r}") from error
    return "".join(found)


def at_path(data: Any, path: str) -> Any:
    """Return the value at a dotted path of plain data, ``None`` if there is none; items of lists are numbered."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data

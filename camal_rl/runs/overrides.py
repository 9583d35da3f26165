"""Settings on the command line: ``key=value`` and ``~key``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_origin

from camal_rl.runs.checks import is_text, kinds_of, shown, takes_text
from camal_rl.runs.config_files import laid_over
from camal_rl.runs.yaml_text import MAX_DEPTH, read_texts, read_value, unquoted

REMOVE = "~"


@dataclass(frozen=True)
class Override:
    """One setting.

    Attributes:
        path: the parts of its dotted key.
        value: plain data.
        removes: whether the key is removed, so that its default applies; there is no value then.
    """

    path: tuple[str, ...]
    value: Any = None
    removes: bool = False

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.path)


def paths_of(items: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the parts of each setting's key.

    Raises:
        ValueError: an item is neither ``key=value`` nor ``~key``, or a key has too many parts.
    """
    paths = []
    for item in items:
        key, equals, _ = item.partition("=")
        key = key.removeprefix(REMOVE) if not equals else key
        path = tuple(key.split("."))
        if not all(path) or (not equals and not item.startswith(REMOVE)):
            raise ValueError(f"a setting must be key=value, for example camal.weight=0.05, got {item!r}")
        if len(path) > MAX_DEPTH:
            raise ValueError(f"a key may have at most {MAX_DEPTH} parts, {shown(key)} has {len(path)}")
        paths.append(path)
    return paths


def read_overrides(items: Sequence[str], hints: Mapping[str, Any]) -> list[Override]:
    """Parse the settings on a command line.

    Args:
        items: ``key=value`` with dotted keys, or ``~key``.
        hints: annotations of known settings by dotted key. The value of a text is taken exactly as typed, a list of
            texts item by item; others are parsed by :func:`camal_rl.runs.yaml_text.read_value`.

    Raises:
        ValueError: an item is not a setting, or a value cannot be parsed; the message names the key.
    """
    found = []
    for item, path in zip(items, paths_of(items), strict=True):
        key, equals, text = item.partition("=")
        if not equals:
            found.append(Override(path, removes=True))
            continue
        try:
            text.encode()
            found.append(Override(path, _value(text, hints.get(key))))
        except UnicodeEncodeError as error:
            raise ValueError(f"{key}: not text in UTF-8, got {shown(text)}") from error
        except ValueError as error:
            raise ValueError(f"cannot read the setting {shown(item)}: {error}") from error
    return found


def with_overrides(data: Mapping[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """Return plain data with settings applied to it in order.

    Raises:
        ValueError: a key to remove does not exist.
    """
    result = dict(data)
    for override in overrides:
        result = _without(result, override) if override.removes else _with(result, override.path, override.value)
    return result


def _value(text: str, hint: Any) -> Any:
    if takes_text(hint):
        return None if text == "null" and NoneType in kinds_of(hint) else unquoted(text)
    return read_texts(text) if _lists_texts(hint) else read_value(text)


def _lists_texts(hint: Any) -> bool:
    return any(get_origin(kind) is tuple and is_text(get_args(kind)[0]) for kind in kinds_of(hint))


def _with(data: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    below = data.get(first)
    if not rest:
        return {**data, first: laid_over(below, value)}
    return {**data, first: _with(below if isinstance(below, Mapping) else {}, tuple(rest), value)}


def _without(data: Mapping[str, Any], override: Override, depth: int = 0) -> dict[str, Any]:
    part = override.path[depth]
    if part not in data:
        there = ", ".join(map(str, data)) or "nothing"
        section = ".".join(override.path[:depth]) or "the configuration"
        raise ValueError(f"cannot remove {override.key!r}, which does not exist; {section} has {there}")
    rest = {key: value for key, value in data.items() if key != part}
    if depth + 1 == len(override.path):
        return rest
    below = data[part]
    if not isinstance(below, Mapping):
        raise ValueError(
            f"cannot remove {override.key!r}, which does not exist; {'.'.join(override.path[: depth + 1])} is {below!r}"
        )
    return {**rest, part: _without(below, override, depth + 1)}

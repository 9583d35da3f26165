"""Configurations as plain data: which keys there are, and the dataclasses that are made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from camal_rl.runs.checks import check_no_flag, checked_value, explain, kinds_of, unknown_key
from camal_rl.runs.settings import NAME, RunSettings
from camal_rl.spelling import did_you_mean

KEY = "key"
"""In a field's metadata: the dotted key under which plain data hold it, where that is not its own name."""


def known_keys(kind: type[Any], data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its annotation; a section with known keys of its own is followed by these.

    Args:
        kind: the dataclass of a configuration or section.
        data: the plain data, whose names say of what dataclass a section of :class:`RunSettings` is.
        prefix: what the keys begin with.

    Raises:
        ValueError: such a name is no text, or unknown.
    """
    hints = get_type_hints(kind, include_extras=True)
    named = kind.sections_by_name if issubclass(kind, RunSettings) else {}
    for item in fields(kind):
        if KEY in item.metadata:
            continue
        key, hint = prefix + item.name, hints[item.name]
        if item.name in named:
            hint = named[item.name](chosen_name(data, item.name))
        yield key, hint
        if isinstance(hint, type) and is_dataclass(hint):
            yield from known_keys(hint, {}, f"{key}.")
        if item.name in named:
            yield f"{key}.{NAME}", str


def chosen_name(data: Mapping[str, Any], section: str) -> str | None:
    """Return the name that a section gives, ``None`` where it gives none; a ValueError for one that is no text."""
    below = data.get(section)
    if not isinstance(below, Mapping) or NAME not in below:
        return None
    name: str = checked_value(str, below[NAME], f"{section}.{NAME}")
    return name


def check_keys(
    data: Mapping[str, Any], known: Mapping[str, Any], why_unknown: Callable[[str], str | None], prefix: str = ""
) -> None:
    """Raise a ValueError for a key that does not exist, and for a flag where a number is meant.

    Args:
        data: plain data.
        known: from :func:`known_keys`.
        why_unknown: says more of a key that does not exist, where more is known.
        prefix: what the keys of ``data`` begin with.
    """
    unknown = []
    for key, value in _given_settings(data, prefix, known):
        if key in known:
            check_no_flag(known[key], value, key)
        else:
            unknown.append(key)
    if unknown:
        section = unknown[0].rpartition(".")[0]
        beside = [key for key in unknown if key.rpartition(".")[0] == section]
        raise ValueError(
            why_unknown(unknown[0]) or _of_another(data, beside, known) or unknown_key(unknown[0], list(known))
        )


def read_section(kind: type[Any], data: Any, key: str) -> Any:
    """Return the dataclass that plain data stand for.

    Args:
        kind: the dataclass.
        data: a mapping, as YAML and JSON hold it.
        key: the section's dotted key, empty for a whole configuration.

    Raises:
        ValueError: no mapping, a missing key, or a bad value; the message is one line and names the key.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        known = dict(known_keys(kind, data if isinstance(data, Mapping) else {}))
        raise ValueError(explain(first, f"{key}.{_key(first['loc'], known)}".strip("."))) from error
    except TypeError as error:
        raise ValueError(f"{key or 'the configuration'} holds something that is not plain data: {error}") from error


def _of_another(data: Mapping[str, Any], keys: Sequence[str], known: Mapping[str, Any]) -> str | None:
    """Return the line about keys that mean nothing for what a section's name stands for, if the section gives one."""
    section = keys[0].rpartition(".")[0]
    if f"{section}.{NAME}" not in known or "." in section or not is_dataclass(known.get(section)):
        return None
    name = chosen_name(data, section)
    if name is None and len(keys) == 1:
        return None
    own = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == section]
    hint = did_you_mean(keys[0], list(known)) if len(keys) == 1 else ""
    of = section if name is None else f"{section} {name!r}"
    return f"{of} has no setting {', '.join(keys)}; {hint}its settings are {', '.join(own)}"


def _given_settings(data: Mapping[str, Any], prefix: str, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        yield name, value
        if is_dataclass(known.get(name)) and isinstance(value, Mapping):
            yield from _given_settings(value, f"{name}.", known)


def _key(location: Sequence[str | int], known: Mapping[str, Any]) -> str:
    """Return the dotted key of a place that pydantic names; names of types inside a union are left out."""
    key = ""
    for part in location:
        longer = f"{key}.{part}".lstrip(".")
        if longer not in known and len(kinds_of(known.get(key))) > 1 and not isinstance(part, int):
            break
        key = longer
    return key

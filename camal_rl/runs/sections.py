"""Converts configurations from plain data to dataclasses, and checks their keys."""

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
"""Key in a field's metadata: its dotted key in plain data, if that is not its name."""


def known_keys(kind: type[Any], data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its annotation; the keys of a section follow the section.

    Args:
        kind: the dataclass of a configuration or section.
        data: the plain data, whose names select the dataclass of a section of :class:`RunSettings`.
        prefix: prefix of the keys.

    Raises:
        ValueError: such a name is not a text, or unknown.
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
    """Return the name in a section, ``None`` if there is none; raise a ValueError if it is not a text."""
    below = data.get(section)
    if not isinstance(below, Mapping) or NAME not in below:
        return None
    name: str = checked_value(str, below[NAME], f"{section}.{NAME}")
    return name


def check_keys(
    data: Mapping[str, Any], known: Mapping[str, Any], why_unknown: Callable[[str], str | None], prefix: str = ""
) -> None:
    """Raise a ValueError for an unknown key, and for true or false in place of a number.

    Args:
        data: plain data.
        known: result of :func:`known_keys`.
        why_unknown: returns an explanation for an unknown key if there is a specific one.
        prefix: prefix of the keys of ``data``.
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
    """Return the dataclass made from plain data.

    Args:
        kind: the dataclass.
        data: a mapping, as in YAML and JSON.
        key: the section's dotted key, empty for a whole configuration.

    Raises:
        ValueError: the data is not a mapping, a key is missing, or a value is invalid; one line that names the key.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        known = dict(known_keys(kind, data if isinstance(data, Mapping) else {}))
        raise ValueError(explain(first, f"{key}.{_key(first['loc'], known)}".strip("."))) from error
    except TypeError as error:
        raise ValueError(f"{key or 'the configuration'} contains a value that is not plain data: {error}") from error


def _of_another(data: Mapping[str, Any], keys: Sequence[str], known: Mapping[str, Any]) -> str | None:
    """Return the error line for keys that do not apply to the thing that the section names, if it names one."""
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
    """Return the dotted key of a location in pydantic's terms, without the names of types in a union."""
    key = ""
    for part in location:
        longer = f"{key}.{part}".lstrip(".")
        if longer not in known and len(kinds_of(known.get(key))) > 1 and not isinstance(part, int):
            break
        key = longer
    return key

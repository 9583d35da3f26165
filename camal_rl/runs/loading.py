"""From a YAML file and settings on the command line to a checked configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from camal_rl.registry import import_modules
from camal_rl.runs.checks import check_no_flag, checked_value, explain, kinds_of, unknown_key
from camal_rl.runs.config_files import merged, read_layers, shipped_configs
from camal_rl.runs.overrides import paths_of, read_overrides, with_overrides
from camal_rl.runs.task import RunConfig, task_for
from camal_rl.runs.yaml_text import write_yaml

__all__ = ["config_from_dict", "dump_yaml", "load_config", "parse_overrides", "shipped_configs"]


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration; its sections say of which task it is.

    Args:
        source: name of a shipped configuration or path of a YAML file. A file whose ``_base_`` names another one
            is laid over it.
        overrides: ``key=value`` with dotted keys, or ``~key``; docs/configuration.md says how values are read.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: not YAML, an unknown key (the message names the one that may be meant), or a bad value.
    """
    data = merged(read_layers(str(source)))
    roots = dict.fromkeys([*data, *(path[0] for path in paths_of(overrides))])
    known = dict(_known_keys(task_for(roots).config_type, ""))
    return config_from_dict(with_overrides(data, read_overrides(overrides, known)))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return nested data for ``key=value`` items with dotted keys of no known type."""
    return with_overrides({}, read_overrides(overrides, {}))


def config_from_dict(data: Mapping[str, Any]) -> RunConfig:
    """Check plain data, as YAML holds it, and return the configuration."""
    kind = task_for(data).config_type
    _check_keys(data, dict(_known_keys(kind, "")))
    import_modules(checked_value(tuple[str, ...], data.get("imports", []), "imports"))
    try:
        return cast(RunConfig, TypeAdapter(kind).validate_json(json.dumps(data)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(explain(first, _key(first["loc"], dict(_known_keys(kind, ""))))) from error
    except TypeError as error:
        raise ValueError(f"the configuration holds something that is not plain data: {error}") from error


def dump_yaml(config: RunConfig) -> str:
    """Return the resolved configuration as YAML; :func:`load_config` reads it back to an equal one."""
    return write_yaml(config.as_dict())


def _check_keys(data: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in _given_settings(data, "", known):
        if key in known:
            check_no_flag(known[key], value, key)
        else:
            raise ValueError(task_for(data).why_unknown(key) or unknown_key(key, list(known)))


def _known_keys(owner: type, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its annotation; a section with known keys of its own is followed by these."""
    hints = get_type_hints(owner, include_extras=True)
    for item in fields(owner):
        yield prefix + item.name, hints[item.name]
        if is_dataclass(hints[item.name]):
            yield from _known_keys(hints[item.name], f"{prefix}{item.name}.")


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

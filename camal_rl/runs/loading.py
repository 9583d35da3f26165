"""Loads a checked configuration from a YAML file and settings on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from camal_rl.registry import import_modules
from camal_rl.runs.checks import checked_value
from camal_rl.runs.config_files import merged, read_layers, shipped_configs
from camal_rl.runs.overrides import paths_of, read_overrides, with_overrides
from camal_rl.runs.sections import check_keys, known_keys, read_section
from camal_rl.runs.settings import NAME
from camal_rl.runs.task import RunConfig, task_for
from camal_rl.runs.yaml_text import write_yaml

__all__ = ["config_from_dict", "dump_yaml", "load_config", "parse_overrides", "shipped_configs"]

_IMPORTS = tuple[str, ...]


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration; its sections determine its task.

    Args:
        source: name of a built-in configuration or path of a YAML file. A file with ``_base_`` is merged over the named
            configuration.
        overrides: ``key=value`` with dotted keys, or ``~key``; docs/configuration.md says how values are read.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: the file is not YAML, a key is unknown (the message suggests a similar one), or a value is invalid.
    """
    data = merged(read_layers(str(source)))
    return config_from_dict(with_overrides(data, read_overrides(overrides, _hints(data, overrides))))


def setting_hints(source: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the annotations of a configuration's settings by dotted key.

    Args:
        source: as for :func:`load_config`.
        overrides: settings over it; names of sections in them determine the available settings.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_config` does.
    """
    return _hints(merged(read_layers(str(source))), overrides)


def _hints(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    roots = dict.fromkeys([*data, *(path[0] for path in paths_of(overrides))])
    kind = task_for(roots).config_type
    chosen = _with_choices(data, overrides, kind)
    _import(chosen)
    return dict(known_keys(kind, chosen))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return nested data for ``key=value`` items with dotted keys of unknown types."""
    return with_overrides({}, read_overrides(overrides, {}))


def config_from_dict(data: Mapping[str, Any]) -> RunConfig:
    """Check plain data from YAML and return the configuration."""
    task = task_for(data)
    _import(data)
    known = dict(known_keys(task.config_type, data))
    check_keys(data, known, lambda key: task.why_unknown(key, data))
    return cast(RunConfig, read_section(task.config_type, data, ""))


def dump_yaml(config: RunConfig) -> str:
    """Return the resolved configuration as YAML; :func:`load_config` reads it back to an equal one."""
    return write_yaml(config.as_dict())


def _with_choices(data: Mapping[str, Any], overrides: Sequence[str], kind: type[Any]) -> dict[str, Any]:
    """Return data with the overrides that determine other settings: imports and names of sections."""
    names = {(section, NAME) for section in kind.sections_by_name}
    paths = {("imports",), *names, *((section,) for section in kind.sections_by_name)}
    chosen = [item for item, path in zip(overrides, paths_of(overrides), strict=True) if path in paths]
    hints: dict[str, Any] = {"imports": _IMPORTS, **{".".join(path): str for path in names}}
    return with_overrides(data, read_overrides(chosen, hints))


def _import(data: Mapping[str, Any]) -> None:
    import_modules(checked_value(_IMPORTS, data.get("imports", []), "imports"))

"""Configuration files: layers of plain data, each merged over its base, and the rules of merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camal_rl import configs
from camal_rl.runs.yaml_text import read_yaml
from camal_rl.spelling import did_you_mean
from camal_rl.utf8 import read_utf8

BASE, REPLACE = "_base_", "_replace_"


@dataclass(frozen=True)
class Layer:
    """The content of one file.

    Attributes:
        name: the file, or the name of a built-in configuration.
        data: its content, without its base.
    """

    name: str
    data: Mapping[str, Any]


def shipped_configs() -> tuple[str, ...]:
    """Return the names of the built-in configurations, such as ``procgen/starpilot``."""
    root = _shipped_root()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml")))


def read_layers(source: str) -> list[Layer]:
    """Return a configuration's layers: its deepest base first, itself last.

    Args:
        source: name of a built-in configuration, or path of a YAML file. ``_base_`` in a file takes the same; a path
            there is relative to the file's folder.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: the file is not a YAML mapping in UTF-8, or configurations are based on each other in a circle.
    """
    layers: list[Layer] = []
    seen: list[str] = []
    name: str | None = source
    while name is not None:
        if name in seen:
            raise ValueError(f"configurations are based on each other in a circle: {' -> '.join((*seen, name))}")
        seen.append(name)
        data = _mapping(name)
        base = data.pop(BASE, None)
        layers.insert(0, Layer(name, data))
        name = None if base is None else _base_name(base, name)
    return layers


def check_whole(source: str) -> None:
    """Raise a ValueError if a run's configuration has a base, which complete configurations never have.

    A path in it could lead out of the run folder.
    """
    if BASE in _mapping(source):
        raise ValueError(f"it has {BASE}, but the configuration of a run must contain every setting itself")


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the data of all layers, each merged over those before it."""
    data: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.data.items():
            data[key] = laid_over(data.get(key), value)
    return data


def laid_over(below: Any, value: Any) -> Any:
    """Return the value of a key after ``value`` is merged over its previous value.

    Mappings are merged key by key. An empty mapping clears the previous one, and a mapping with ``_replace_: true``
    replaces it. Everything else, including lists, replaces the previous value.

    Raises:
        ValueError: ``_replace_`` is neither true nor false.
    """
    if not isinstance(value, Mapping):
        return value
    replaces = value.get(REPLACE, False)
    if not isinstance(replaces, bool):
        raise ValueError(f"{REPLACE} must be true or false, got {replaces!r}")
    keeps = isinstance(below, Mapping) and value and not replaces
    result: dict[str, Any] = dict(below) if keeps else {}
    for key, item in value.items():
        if key != REPLACE:
            result[key] = laid_over(result.get(key), item)
    return result


def _shipped_root() -> Path:
    return Path(str(configs.__file__)).parent


def _is_file_name(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")


def _base_name(base: Any, name: str) -> str:
    if not isinstance(base, str) or not base:
        raise ValueError(f"{name}: {BASE} must be the name or the file of one configuration, got {base!r}")
    return str(Path(name).parent / base) if _is_file_name(base) and _is_file_name(name) else base


def _mapping(name: str) -> dict[str, Any]:
    text = _text(name)
    try:
        data = read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{name}: not a YAML configuration: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{name}: a configuration must be a mapping of keys to values")
    return data


def _text(name: str) -> str:
    if _is_file_name(name):
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"no configuration file {name}")
    else:
        names = shipped_configs()
        if name not in names:
            raise FileNotFoundError(
                f"no configuration {name!r}; {did_you_mean(name, names)}built-in ones are {', '.join(names)}; a "
                "file's name must end in .yaml"
            )
        path = _shipped_root() / f"{name}.yaml"
    return read_utf8(path)

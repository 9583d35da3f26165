"""From a YAML file and ``key=value`` overrides to a checked configuration."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from camal_rl import configs
from camal_rl.experiments.config import ExperimentConfig
from camal_rl.supervised.config import SupervisedConfig

AnyConfig = ExperimentConfig | SupervisedConfig
"""A run of an agent or one on images."""

_ADAPTERS: dict[type[AnyConfig], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (ExperimentConfig, SupervisedConfig)
}
_BASE_KEY = "_base_"


def shipped_configs() -> tuple[str, ...]:
    """Return the names of the configurations that come with the package, such as ``procgen/starpilot``."""
    root = _shipped_root()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml")))


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Read a configuration; one with a section ``data`` is of a run on images, any other of an agent.

    Args:
        source: name of a shipped configuration or path of a YAML file. A file whose ``_base_`` names another one
            is laid over it.
        overrides: ``key=value`` with dotted keys; the values are YAML.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: not YAML, an unknown key (the message names the nearest known one), or a bad value.
    """
    merged = OmegaConf.merge(_read(str(source)), parse_overrides(overrides))
    return config_from_dict(cast(dict[str, Any], OmegaConf.to_container(merged)))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return nested data for ``key=value`` items with dotted keys; the values are YAML."""
    for item in overrides:
        key, equals, _ = item.partition("=")
        if not equals or not key:
            raise ValueError(f"a setting is key=value, for example camal.weight=0.05, got {item!r}")
    try:
        data = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"cannot read the settings {' '.join(overrides)!r}: {_one_line(error)}") from error
    return cast(dict[str, Any], data)


def config_from_dict(data: Mapping[str, Any]) -> AnyConfig:
    """Check plain data, as YAML holds it, and return the configuration."""
    kind: type[AnyConfig] = SupervisedConfig if "data" in data and "env" not in data else ExperimentConfig
    _check_keys(data, kind)
    try:
        return cast(AnyConfig, _ADAPTERS[kind].validate_json(json.dumps(data)))
    except ValidationError as error:
        raise ValueError(_explain(error)) from error
    except TypeError as error:
        raise ValueError(f"the configuration holds something that is not plain data: {error}") from error


def agent_config(config: AnyConfig) -> ExperimentConfig:
    """Return the configuration if it is that of an agent, otherwise raise a ValueError."""
    if not isinstance(config, ExperimentConfig):
        raise ValueError("the configuration has a section data: it is for image classifiers; use camal-rl fit")
    return config


def supervised_config(config: AnyConfig) -> SupervisedConfig:
    """Return the configuration if it is that of a run on images, otherwise raise a ValueError."""
    if not isinstance(config, SupervisedConfig):
        raise ValueError("the configuration has no section data: it is for agents; use camal-rl train")
    return config


def dump_yaml(config: AnyConfig) -> str:
    """Return the resolved configuration as YAML; :func:`load_config` reads it back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(config.as_dict()))


def _shipped_root() -> Path:
    return Path(str(configs.__file__)).parent


def _read(source: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the file's data laid over that of its base."""
    if source in seen:
        raise ValueError(f"configurations are based on each other in a circle: {' -> '.join((*seen, source))}")
    try:
        data = OmegaConf.to_container(OmegaConf.create(_text(source)), resolve=True)
        if not isinstance(data, dict):
            raise ValueError(f"{source}: a configuration is a mapping of keys to values")
        base = data.pop(_BASE_KEY, None)
        if base is not None:
            data = OmegaConf.to_container(OmegaConf.merge(_read(str(base), (*seen, source)), data))
        return cast(dict[str, Any], data)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{source}: not a YAML configuration: {_one_line(error)}") from error


def _text(source: str) -> str:
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FileNotFoundError(f"no configuration file {source}")
        return path.read_text(encoding="utf-8")
    names = shipped_configs()
    if source not in names:
        near = difflib.get_close_matches(source, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FileNotFoundError(
            f"no configuration {source!r}; {hint}shipped ones are {', '.join(names)}; a file's name ends in .yaml"
        )
    return (_shipped_root() / f"{source}.yaml").read_text(encoding="utf-8")


def _check_keys(data: Mapping[str, Any], kind: type[AnyConfig]) -> None:
    known = dict(_known_keys(kind, ""))
    for key in _given_keys(data, "", known):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0) + _same_leaf(key, known)
            raise ValueError(f"unknown key {key!r}; did you mean {near[-1]!r}?")


def _same_leaf(key: str, known: Mapping[str, bool]) -> list[str]:
    """Return the known key whose last part is exactly that of ``key``, if it is the only one."""
    matches = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    return matches if len(matches) == 1 else []


def _known_keys(owner: type, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield every dotted key and whether it is a section with known keys of its own."""
    hints = get_type_hints(owner)
    for item in fields(owner):
        section = is_dataclass(hints[item.name])
        yield prefix + item.name, section
        if section:
            yield from _known_keys(hints[item.name], f"{prefix}{item.name}.")


def _given_keys(data: Mapping[str, Any], prefix: str, known: Mapping[str, bool]) -> Iterator[str]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        yield name
        if known.get(name, False) and isinstance(value, Mapping):
            yield from _given_keys(value, f"{name}.", known)


def _explain(error: ValidationError) -> str:
    """Return the first problem in one line: key, what is wrong, what came."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"{key or 'the configuration'} is missing"
    return f"{key}: {first['msg'].lower()}, got {first['input']!r}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

"""From a YAML file and settings on the command line to a checked configuration."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from camal_rl.runs.checks import check_no_flag, explain, kinds_of, unknown_key
from camal_rl.rl.config import ExperimentConfig
from camal_rl.runs.config_files import merged, read_layers, shipped_configs
from camal_rl.runs.overrides import paths_of, read_overrides, with_overrides
from camal_rl.runs.yaml_text import write_yaml
from camal_rl.supervised.config import SupervisedConfig

__all__ = [
    "AnyConfig", "agent_config", "config_from_dict", "dump_yaml", "load_config", "parse_overrides", "shipped_configs",
    "supervised_config",
]  # fmt: skip

AnyConfig = ExperimentConfig | SupervisedConfig
"""A run of an agent or one on images."""

_ADAPTERS: dict[type[AnyConfig], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (ExperimentConfig, SupervisedConfig)
}


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Read a configuration; one with a section ``data`` is of a run on images, any other of an agent.

    Args:
        source: name of a shipped configuration or path of a YAML file. A file whose ``_base_`` names another one
            is laid over it.
        overrides: ``key=value`` with dotted keys, or ``~key``; docs/configuration.md says how values are read.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: not YAML, an unknown key (the message names the one that may be meant), or a bad value.
    """
    data = merged(read_layers(str(source)))
    roots = {*data, *(path[0] for path in paths_of(overrides))}
    return config_from_dict(with_overrides(data, read_overrides(overrides, dict(_known_keys(_kind(roots), "")))))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return nested data for ``key=value`` items with dotted keys of no known type."""
    return with_overrides({}, read_overrides(overrides, {}))


def config_from_dict(data: Mapping[str, Any]) -> AnyConfig:
    """Check plain data, as YAML holds it, and return the configuration."""
    kind = _kind(data)
    _check_keys(data, dict(_known_keys(kind, "")))
    try:
        return cast(AnyConfig, _ADAPTERS[kind].validate_json(json.dumps(data)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(explain(first, _key(first["loc"], dict(_known_keys(kind, ""))))) from error
    except TypeError as error:
        raise ValueError(f"the configuration holds something that is not plain data: {error}") from error


def agent_config(config: AnyConfig) -> ExperimentConfig:
    """Return the configuration if it is that of an agent, otherwise raise a ValueError."""
    if not isinstance(config, ExperimentConfig):
        raise ValueError(
            "the configuration has a section data: it is for image classifiers, and this command is "
            "for agents; use camal-rl fit"
        )
    return config


def supervised_config(config: AnyConfig) -> SupervisedConfig:
    """Return the configuration if it is that of a run on images, otherwise raise a ValueError."""
    if not isinstance(config, SupervisedConfig):
        raise ValueError("the configuration has no section data: it is for agents; use camal-rl train")
    return config


def dump_yaml(config: AnyConfig) -> str:
    """Return the resolved configuration as YAML; :func:`load_config` reads it back to an equal one."""
    return write_yaml(config.as_dict())


def _kind(roots: Mapping[str, Any] | set[str]) -> type[AnyConfig]:
    return SupervisedConfig if "data" in roots and "env" not in roots else ExperimentConfig


def _check_keys(data: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in _given_settings(data, "", known):
        if key in known:
            check_no_flag(known[key], value, key)
        elif key.rpartition(".")[0] == "algorithm" and key.rpartition(".")[2] in _ppo_arguments():
            raise ValueError(
                f"{key} is no setting of configurations, only an argument of PPO's; give it in Python: "
                f"CAMALPPO(..., {key.rpartition('.')[2]}=...)"
            )
        else:
            raise ValueError(unknown_key(key, list(known)))


def _ppo_arguments() -> set[str]:
    """Return the arguments of PPO's that no part of a configuration stands for."""
    from stable_baselines3 import PPO

    elsewhere = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "seed", "device", "_init_setup_model"}
    return set(inspect.signature(PPO.__init__).parameters) - elsewhere


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

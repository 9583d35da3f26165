"""Settings of every configuration, and conversion of settings to plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from camal_rl.registry import import_modules

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Device = Literal["auto", "cpu", "cuda"]
Suite = Literal["quick", "full"]
"""What an evaluation measures, see :mod:`camal_rl.runs.faithfulness_suite`."""
SUITES: tuple[Suite, ...] = get_args(Suite)
NAME = "name"
"""The key by which a section selects its dataclass, see :attr:`RunSettings.sections_by_name`."""


class CheckpointSettings:
    """Settings in the section ``log`` of every task.

    Attributes:
        checkpoint_every: steps or epochs between checkpoints; 0 disables this trigger.
        checkpoint_minutes: minutes between checkpoints; 0 disables this trigger.
        checkpoint_keep: number of newest checkpoints to keep; 0 keeps all.
    """

    checkpoint_every: int
    checkpoint_minutes: float
    checkpoint_keep: int

    @property
    def writes_checkpoints(self) -> bool:
        """Whether checkpoints are written during training and at its end."""
        return self.checkpoint_every > 0 or self.checkpoint_minutes > 0


class RunSettings:
    """Base class of the configurations of all tasks, which are frozen dataclasses.

    Attributes:
        imports: modules to import before anything is checked.
        sections_by_name: sections whose ``name`` selects the dataclass of their other keys, with the function that
            returns it for a name; ``None`` is the default.
    """

    imports: tuple[str, ...]
    sections_by_name: ClassVar[Mapping[str, Callable[[str | None], type[Any]]]] = MappingProxyType({})

    @property
    def acting_note(self) -> str:
        """What this method receives beside images when it acts, unlike others; every table notes it.

        A few words; empty if nothing.
        """
        return ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled state; a worker process imports the modules that the configuration needs."""
        self.__dict__.update(state)
        import_modules(self.imports)

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as in YAML and JSON."""
        data: dict[str, Any] = plain(asdict(cast("DataclassInstance", self)))
        return data


def plain(value: Any) -> Any:
    """Return nested settings as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flat_settings(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings on one level, with the keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat.update(flat_settings(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat

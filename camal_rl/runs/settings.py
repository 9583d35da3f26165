"""Settings that every configuration has, and settings as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from camal_rl.registry import import_modules

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Device = Literal["auto", "cpu", "cuda"]
NAME = "name"
"""The key by which a section says of what dataclass it is, see :attr:`RunSettings.sections_by_name`."""


class CheckpointSettings:
    """What the sections ``log`` of all tasks say alike.

    Attributes:
        checkpoint_every: steps or epochs between checkpoints; 0 writes none by them.
        checkpoint_minutes: minutes between checkpoints; 0 writes none by minutes.
        checkpoint_keep: how many of the newest checkpoints stay; 0 keeps all.
    """

    checkpoint_every: int
    checkpoint_minutes: float
    checkpoint_keep: int

    @property
    def writes_checkpoints(self) -> bool:
        """Whether checkpoints are written while training runs, and at its end."""
        return self.checkpoint_every > 0 or self.checkpoint_minutes > 0


class RunSettings:
    """What the configurations of all tasks do alike; they are frozen dataclasses.

    Attributes:
        imports: modules that are imported before anything is checked.
        sections_by_name: sections whose ``name`` says of what dataclass their other keys are, and what finds it by that
            name; ``None`` stands for the default.
    """

    imports: tuple[str, ...]
    sections_by_name: ClassVar[Mapping[str, Callable[[str | None], type[Any]]]] = MappingProxyType({})

    @property
    def acting_note(self) -> str:
        """What is given to this method when it acts, beside images, and to others not; every table says it.

        A few words; empty where that is nothing.
        """
        return ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a pickled state; a worker process imports what the configuration needs."""
        self.__dict__.update(state)
        import_modules(self.imports)

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as YAML and JSON hold them."""
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

"""Ranges and types of settings: annotations for kinds of numbers, and one-line errors for invalid values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from camal_rl.spelling import did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic_core import ErrorDetails

Section = TypeVar("Section", bound="DataclassInstance")

_MANY = 10**12
Count = Annotated[int, Field(ge=1, le=_MANY)]
"""A count of at least 1."""
CountOrNone = Annotated[int, Field(ge=0, le=_MANY)]
"""A count of at least 0; 0 switches the thing off."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""A seed; simulators store it in 32 bits with a sign."""
Copies = Annotated[int, Field(ge=1, le=65_536)]
"""Number of environments that step together."""
Workers = Annotated[int, Field(ge=0, le=1_024)]
"""Number of threads or processes of one run."""
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
"""A coefficient or a rate, whose products must be finite in float32."""
PositiveAmount = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
"""A positive amount."""
Epsilon = Annotated[float, Field(ge=1e-30, le=1e9, allow_inf_nan=False)]
"""An epsilon in a divisor; smaller numbers are 0 in float32."""
Frames = Annotated[int, Field(ge=0, le=1_000_000)]
"""Number of pictures in memory at once; 0 switches off their use."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A share or a probability."""

MAX_NAME = 100
_NOT_ON_WINDOWS = '<>:"|?*'
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(1, 10))}


def check_section(section: DataclassInstance, name: str) -> None:
    """Raise a ValueError that names the setting unless every number of a section fits its annotation.

    Args:
        section: the settings.
        name: prefix of their dotted keys; empty at the top level.
    """
    for key, adapter in _annotated(type(section)).items():
        try:
            adapter.validate_python(getattr(section, key), strict=True)
        except ValidationError as error:
            raise ValueError(explain(error.errors(include_url=False)[0], f"{name}.{key}".lstrip("."))) from error


def check_folder_name(key: str, name: str | None) -> None:
    """Raise a ValueError unless ``name`` is a valid folder name in every file system; ``None`` is accepted."""
    if name is None:
        return
    if not name or name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        raise ValueError(f"{key} must be a plain folder name, got {name!r}")
    if any(letter in _NOT_ON_WINDOWS for letter in name) or name[-1] in ". " or name.split(".")[0].lower() in _DEVICES:
        raise ValueError(
            f"{key} must be a folder name that is also valid on Windows: without {' '.join(_NOT_ON_WINDOWS)}, no dot "
            f"or space at its end, and not the name of a device; got {name!r}"
        )
    if len(name.encode()) > MAX_NAME:
        raise ValueError(f"{key} must be a plain folder name of at most {MAX_NAME} bytes, got {len(name.encode())}")


def checked_value(hint: Any, value: Any, key: str) -> Any:
    """Convert a value from plain YAML or JSON data to the type of its setting.

    Raises:
        ValueError: the value has another type; the message names the key.
    """
    check_no_flag(hint, value, key)
    try:
        return TypeAdapter(hint).validate_json(json.dumps(value))
    except ValidationError as error:
        raise ValueError(explain(error.errors(include_url=False)[0], key)) from error


def check_no_flag(hint: Any, value: Any, key: str) -> None:
    """Raise a ValueError for ``true`` or ``false`` where the setting is a number: in Python they are 1 and 0."""
    kinds = kinds_of(hint)
    if isinstance(value, bool) and bool not in kinds and ({int, float} & set(kinds)):
        raise ValueError(f"{key} must be a number, got {str(value).lower()}")


def with_settings(section: Section, settings: Any, name: str) -> Section:
    """Return a section with some settings replaced.

    Args:
        section: the settings.
        settings: plain data by name.
        name: prefix of the dotted keys of ``settings``, for messages.

    Raises:
        ValueError: the settings are not a mapping, a key is unknown (the message suggests a similar one), or a value is
            invalid.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name} must be a mapping of keys to values, got {settings!r}")
    hints = get_type_hints(type(section), include_extras=True)
    values = {}
    for key, value in settings.items():
        if key not in hints:
            raise ValueError(unknown_key(f"{name}.{key}", [f"{name}.{each}" for each in hints]))
        values[key] = checked_value(hints[key], value, f"{name}.{key}")
    try:
        return replace(section, **values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def unknown_key(key: str, known: list[str]) -> str:
    """Return the error line for an unknown key, with a suggestion or the existing keys beside it.

    The same key in another section is suggested too, if there is only one.
    """
    same = [each for each in known if each.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = did_you_mean(key, known) or (f"did you mean {same[0]!r}?" if len(same) == 1 else "")
    if hint:
        return f"unknown key {key!r}; {hint.rstrip()}"
    section = key.rpartition(".")[0]
    beside = [each.rpartition(".")[2] for each in known if each.rpartition(".")[0] == section]
    return f"unknown key {key!r}; the keys {f'of {section}' if section else 'at the top'} are {', '.join(beside)}"


def explain(error: ErrorDetails, key: str) -> str:
    """Return one line for pydantic's error: key, expected value, given value."""
    kind, context, given = error["type"], error.get("ctx", {}), shown(error["input"])
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"{key or 'the configuration'} is missing"
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for bound, words in bounds.items():
        if bound in context:
            return f"{key} must be {words} {_number(context[bound])}, got {given}"
    if kind == "finite_number":
        return f"{key} must be a finite number, got {given}"
    if kind in ("tuple_type", "list_type"):
        return f"{key} must be a list, such as [{error['input']}], got {given}"
    if kind in ("dataclass_type", "dict_type", "mapping_type"):
        return f"{key} must be a mapping of keys to values, such as {key}.<key>=<value>, got {given}"
    hint = f"; {did_you_mean(error['input'], _choices(context))}".rstrip("; ") if kind == "literal_error" else ""
    return f"{key}: {error['msg'].lower()}, got {given}{hint}"


def shown(value: object, longest: int = 80) -> str:
    """Format a value for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the types that a setting's annotation allows, without the bounds of :data:`typing.Annotated`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return kinds_of(get_args(hint)[0])
    if origin in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in kinds_of(part))
    return (hint,)


def is_text(kind: Any) -> bool:
    """Return whether values of a type, one of :func:`kinds_of`, are texts."""
    return kind is str or (get_origin(kind) is Literal and all(isinstance(each, str) for each in get_args(kind)))


def takes_text(hint: Any) -> bool:
    """Return whether a setting is a text or a choice of texts, possibly optional."""
    kinds = [kind for kind in kinds_of(hint) if kind is not NoneType]
    return bool(kinds) and all(map(is_text, kinds))


@lru_cache
def _annotated(kind: type[Any]) -> Mapping[str, TypeAdapter[Any]]:
    """Return the checks of all settings whose annotations have bounds."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: TypeAdapter(hints[item.name]) for item in fields(kind) if _has_bounds(hints[item.name])}


def _has_bounds(hint: Any) -> bool:
    """Return whether a setting, or a member of its union, has bounds."""
    return get_origin(hint) is Annotated or any(get_origin(part) is Annotated for part in get_args(hint))


def _choices(context: Mapping[str, Any]) -> list[str]:
    """Return the choices out of pydantic's ``'a', 'b' or 'c'``."""
    return str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)

"""Converts observation and action spaces to JSON and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.runs.checks import shown

LARGEST_BOX = 2**23
"""Most numbers in an observation or action that is read: the first layer of a network is made for so many."""
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return a space as plain data; bounds of a box that are one number everywhere are that number.

    Raises:
        ValueError: a space of another kind than Box, Discrete, MultiDiscrete, MultiBinary and Dict.
    """
    if type(space) is spaces.Box:
        bounds = {"low": _bound_to_json(space.low), "high": _bound_to_json(space.high)}
        return {"type": "Box", "shape": list(space.shape), "dtype": np.dtype(space.dtype).name, **bounds}
    if type(space) is spaces.Discrete:
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if type(space) is spaces.MultiDiscrete:
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if type(space) is spaces.MultiBinary:
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(map(int, space.n))}
    if type(space) is spaces.Dict:
        return {"type": "Dict", "spaces": {name: space_to_json(each) for name, each in space.items()}}
    raise ValueError(f"a space must be a Box, Discrete, MultiDiscrete, MultiBinary or Dict, got {space}")


def space_from_json(data: Any, key: str) -> spaces.Space[Any]:
    """Return the space that plain data describes.

    Args:
        data: what :func:`space_to_json` returned, or anything else.
        key: what the data is called, for messages.

    Raises:
        ValueError: the data is no space, or one that is too large; one line that names the key.
    """
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in _READERS:
        raise ValueError(f"{key} must be a space of type {', '.join(_READERS)}, got {shown(data)}")
    keys, read = _READERS[kind]
    if set(data) != {"type", *keys}:
        raise ValueError(
            f"{key} of type {kind} must have the keys {', '.join(keys)}, got {', '.join(map(shown, data))}"
        )
    return read(data, key)


def _box(data: Mapping[str, Any], key: str) -> spaces.Space[Any]:
    shape = _counts(data["shape"], f"{key}.shape")
    if data["dtype"] not in _DTYPES:
        raise ValueError(f"{key}.dtype must be one of {', '.join(_DTYPES)}, got {shown(data['dtype'])}")
    if math.prod(shape) > LARGEST_BOX:
        raise ValueError(f"{key}.shape must have at most {LARGEST_BOX} numbers, got {list(shape)}")
    dtype = np.dtype(data["dtype"])
    low, high = (_bound(data[name], shape, dtype, f"{key}.{name}") for name in ("low", "high"))
    if not bool((low <= high).all()):
        raise ValueError(f"{key}.low must not be above {key}.high")
    return spaces.Box(low, high, shape, cast(Any, dtype))


def _discrete(data: Mapping[str, Any], key: str) -> spaces.Space[Any]:
    return spaces.Discrete(_whole(data["n"], f"{key}.n", 1), start=_whole(data["start"], f"{key}.start", None))


def _multi_discrete(data: Mapping[str, Any], key: str) -> spaces.Space[Any]:
    sizes = _whole_numbers(data["nvec"], f"{key}.nvec", 1)
    starts = _whole_numbers(data["start"], f"{key}.start", None)
    if sizes.shape != starts.shape or not sizes.size:
        raise ValueError(f"{key}.start must have the shape of {key}.nvec, {sizes.shape}, got {starts.shape}")
    return spaces.MultiDiscrete(sizes, start=starts)


def _multi_binary(data: Mapping[str, Any], key: str) -> spaces.Space[Any]:
    n = data["n"]
    sizes = _counts(n if isinstance(n, list) else [n], f"{key}.n")
    if math.prod(sizes) > LARGEST_BOX:
        raise ValueError(f"{key}.n must have at most {LARGEST_BOX} numbers, got {shown(n)}")
    return spaces.MultiBinary(list(sizes) if isinstance(n, list) else sizes[0])


def _dict(data: Mapping[str, Any], key: str) -> spaces.Space[Any]:
    if not isinstance(data["spaces"], Mapping) or not data["spaces"]:
        raise ValueError(f"{key}.spaces must be spaces by name, got {shown(data['spaces'])}")
    return spaces.Dict({name: space_from_json(each, f"{key}.{name}") for name, each in data["spaces"].items()})


_READERS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any], str], spaces.Space[Any]]]] = {
    "Box": (("shape", "dtype", "low", "high"), _box),
    "Discrete": (("n", "start"), _discrete),
    "MultiDiscrete": (("nvec", "start"), _multi_discrete),
    "MultiBinary": (("n",), _multi_binary),
    "Dict": (("spaces",), _dict),
}


def _bound_to_json(bound: npt.NDArray[Any]) -> Any:
    """Return one number where all are the same, otherwise all of them in a row."""
    numbers = [_number_to_json(each) for each in bound.ravel().tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _number_to_json(number: float) -> float | str:
    return str(number) if isinstance(number, float) and math.isinf(number) else number


def _bound(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any], key: str) -> npt.NDArray[Any]:
    given = data if isinstance(data, list) else [data]
    if isinstance(data, list) and len(data) != math.prod(shape):
        raise ValueError(f"{key} must be one number or {math.prod(shape)}, got {len(data)}")
    for each in given:
        if type(each) not in (int, float) and not (isinstance(each, str) and each in _INFINITIES):
            raise ValueError(f"{key} must be a number or '-inf', 'inf', got {shown(each)}")
    numbers = [_INFINITIES[each] if isinstance(each, str) else each for each in given]
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not all(type(each) is int and limits.min <= each <= limits.max for each in numbers):
            raise ValueError(f"{key} must be of {dtype}, got {shown(data)}")
    try:
        array = np.array(numbers, dtype=dtype)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise ValueError(f"{key} must be of {dtype}, got {shown(data)}") from error
    return np.broadcast_to(array, shape).copy() if len(given) == 1 else array.reshape(shape)


def _whole(value: Any, key: str, least: int | None) -> int:
    if type(value) is not int or abs(value) >= 2**31 or (least is not None and value < least):
        raise ValueError(
            f"{key} must be a whole number{'' if least is None else f' from {least} on'}, got {shown(value)}"
        )
    return value


def _counts(value: Any, key: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 8:
        raise ValueError(f"{key} must be a list of at most 8 sizes, got {shown(value)}")
    return tuple(_whole(each, key, 1) for each in value)


def _whole_numbers(value: Any, key: str, least: int | None) -> npt.NDArray[np.int64]:
    """Return a nested list of whole numbers as an array."""
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind != "i" or not isinstance(value, list):
        raise ValueError(f"{key} must be a list of whole numbers, got {shown(value)}")
    for each in array.ravel().tolist():
        _whole(each, key, least)
    return array.astype(np.int64)

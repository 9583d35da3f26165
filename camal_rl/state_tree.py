"""Nested training states as tensors and JSON: the content of checkpoints, written and read without pickle.

A state consists of dictionaries, lists, tuples, numbers, texts, bytes, ``None``, NumPy arrays and tensors, as in the
``state_dict`` of optimizers, random generators and simulators. :func:`pack` separates its tensors from the rest, and
:func:`unpack` combines them again with identical types and bits; tensors are returned on the CPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TENSOR, _ARRAY, _SCALAR, _BYTES = "$tensor", "$array", "$scalar", "$bytes"
_REST = "$rest"
_TUPLE, _PAIRS, _FLOAT = "$tuple", "$pairs", "$float"


def pack(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a state by name, and the rest as JSON data with these names in place of the tensors.

    Raises:
        TypeError: the state contains another type; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _packed(tree, "state", tensors)


def unpack(tensors: Mapping[str, Tensor], data: Any) -> Any:
    """Return the state that was given to :func:`pack`.

    Raises:
        ValueError: the two parts do not match, or are not from :func:`pack`.
    """
    if isinstance(data, list):
        return [unpack(tensors, item) for item in data]
    if not isinstance(data, Mapping):
        return data
    marks = [key for key in data if key.startswith("$")]
    if not marks:
        return {key: unpack(tensors, value) for key, value in data.items()}
    if len(data) != 1:
        raise ValueError(f"expected {marks[0]!r} alone, got {sorted(data)}")
    return _marked(tensors, marks[0], data[marks[0]])


def to_bytes(tree: Any) -> bytes:
    """Return a state as bytes.

    Raises:
        TypeError: as for :func:`pack`.
    """
    from safetensors.torch import save

    tensors, data = pack(tree)
    rest = json.dumps(data, allow_nan=False).encode()
    return save({**tensors, _REST: torch.from_numpy(np.frombuffer(rest, dtype=np.uint8).copy())})


def from_bytes(data: bytes) -> Any:
    """Return the state that :func:`to_bytes` was given.

    Raises:
        ValueError: the bytes are damaged, or not from :func:`to_bytes`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        return unpack(tensors, json.loads(tensors.pop(_REST).numpy().tobytes()))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected bytes of to_bytes(), got something else: {error}") from error


def _packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return _stored(tensors, _TENSOR, place, value.detach().cpu().clone(memory_format=torch.contiguous_format))
    if isinstance(value, np.ndarray | np.generic):
        mark = _ARRAY if isinstance(value, np.ndarray) else _SCALAR
        return _stored(tensors, mark, place, _tensor_of(np.asarray(value), place))
    if isinstance(value, bytes | bytearray):
        return _stored(tensors, _BYTES, place, torch.from_numpy(np.frombuffer(value, dtype=np.uint8).copy()))
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return _packed_mapping(value, place, tensors)
    if isinstance(value, list | tuple):
        items = [_packed(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    raise TypeError(
        f"{place} is a {type(value).__name__}, which a checkpoint cannot store; use numbers, texts, bytes, arrays, "
        "tensors, or lists, tuples and dictionaries of them"
    )


def _stored(tensors: dict[str, Tensor], mark: str, place: str, tensor: Tensor) -> dict[str, str]:
    name = place
    while name in tensors:  # {"a.b": ..., "a": {"b": ...}}
        name += "'"
    tensors[name] = tensor
    return {mark: name}


def _packed_mapping(value: Mapping[Any, Any], place: str, tensors: dict[str, Tensor]) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _packed(item, f"{place}.{key}", tensors) for key, item in value.items()}
    pairs = [
        [_packed(key, f"{place}.key{index}", tensors), _packed(item, f"{place}.value{index}", tensors)]
        for index, (key, item) in enumerate(value.items())
    ]
    return {_PAIRS: pairs}


def _tensor_of(array: np.ndarray[Any, Any], place: str) -> Tensor:
    try:
        # A copy is contiguous, writable and in native byte order.
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise TypeError(f"{place} is an array of {array.dtype}, which a checkpoint cannot store: {error}") from error


def _marked(tensors: Mapping[str, Tensor], mark: str, content: Any) -> Any:
    if mark in (_TENSOR, _ARRAY, _SCALAR, _BYTES):
        if not isinstance(content, str) or content not in tensors:
            raise ValueError(f"the tensor {content!r} is missing")
        found = tensors[content]
        if mark == _TENSOR:
            return found
        array = found.cpu().numpy()
        if mark == _SCALAR:
            return array[()]
        return array.tobytes() if mark == _BYTES else array
    if mark == _FLOAT and content in ("nan", "inf", "-inf"):
        return float(content)
    if mark == _TUPLE and isinstance(content, list):
        return tuple(unpack(tensors, item) for item in content)
    if (
        mark == _PAIRS
        and isinstance(content, list)
        and all(isinstance(each, list) and len(each) == 2 for each in content)
    ):
        return {unpack(tensors, key): unpack(tensors, item) for key, item in content}
    raise ValueError(f"{mark!r} with {type(content).__name__} is not part of a state")

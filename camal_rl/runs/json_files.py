"""JSON files of a run: written atomically, and checked when they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from camal_rl.atomic import write_text
from camal_rl.runs.checks import shown
from camal_rl.runs.folders import sha256_of_text
from camal_rl.utf8 import read_utf8

MODEL_SUM = "model_sha256"
"""In ``train.json``: the SHA-256 of the model that training wrote."""
POLICY_SUM = "policy_sha256"
"""In ``train.json``: the SHA-256 of the description of an agent's policy, which contains that of the weights."""
CONTENT_SUM = "content_sha256"
"""In the JSON files of a run: the SHA-256 of the rest of the file, which detects damage that leaves it readable."""


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON atomically; non-finite numbers become null, since JSON has none."""
    write_text(path, json.dumps(finite(data), indent=2, allow_nan=False) + "\n")


def write_record(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON like :func:`write_json`, with a checksum of its content."""
    write_json(path, with_sum(data))


def with_sum(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON data with the SHA-256 of its content as an additional key."""
    content = finite(data)
    return {**content, CONTENT_SUM: content_sum(content)}


def content_sum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain data; independent of whitespace and the order of keys in a file."""
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return sha256_of_text(text)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; ``NaN`` and ``Infinity``, which are not JSON, become ``None``.

    The checksum added by :func:`write_record` is removed; :func:`has_sum` verifies it.

    Raises:
        ValueError: the file holds something else; one line that names it.
    """
    data = _parsed(path)
    data.pop(CONTENT_SUM, None)
    return data


def has_sum(path: Path) -> bool:
    """Return whether the content of a JSON file matches its checksum; a file without one is accepted."""
    data = _parsed(path)
    expected = data.pop(CONTENT_SUM, None)
    return expected is None or expected == content_sum(data)


def _parsed(path: Path) -> dict[str, Any]:
    text = read_utf8(path)
    try:
        data = finite(json.loads(text))
    except ValueError as error:
        what = "it is empty" if not text.strip() else f"it is not JSON: {error}"
        raise ValueError(f"{path} cannot be read: {what}; create it again, or remove it") from error
    except RecursionError as error:
        raise ValueError(f"{path} cannot be read: brackets nested too deeply; create it again, or remove it") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} cannot be read: it does not contain a JSON object; create it again, or remove it")
    return data


def read_training(path: Path) -> dict[str, Any]:
    """Read a ``train.json``.

    Raises:
        ValueError: the file holds something else; one line that names it.
    """
    data = read_json(path)
    kinds: Mapping[str, tuple[tuple[type, ...], str, bool]] = {
        "interrupted": ((bool,), "true or false", True),
        "timesteps": ((int,), "a whole number", True),
        "seconds": ((int, float, NoneType), "a number or null", False),
        "steps_per_second": ((int, float, NoneType), "a number or null", False),
        MODEL_SUM: ((str,), "a text", False),
        POLICY_SUM: ((str,), "a text", False),
    }
    for key, (types, words, needed) in kinds.items():
        if (key in data or needed) and type(data.get(key)) not in types:
            got = shown(data[key]) if key in data else "nothing"
            raise ValueError(f"{path} is not the summary of a training: {key} must be {words}, got {got}; train again")
    return data


def read_provenance(path: Path) -> dict[str, Any]:
    """Read a ``provenance.json``.

    Raises:
        ValueError: the file holds something else; one line that names it.
    """
    data = read_json(path)
    for key, texts in (("versions", True), ("machine", False), ("computing", True)):
        part = data.get(key, {})
        if not isinstance(part, dict) or (texts and not all(isinstance(each, str) for each in part.values())):
            raise ValueError(f"{path} is not the provenance of a run: {key} is {shown(part)}; remove it")
    computing = data.get("computing")
    if computing and not {"device", "precision"} <= computing.keys():
        raise ValueError(f"{path} is not the provenance of a run: computing is {shown(computing)}; remove it")
    return data


def finite(value: Any) -> Any:
    """Return plain data with null in place of non-finite numbers; keys become texts."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

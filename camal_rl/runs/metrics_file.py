"""The file ``metrics.json``: the results of an evaluation as records, with its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camal_rl.atomic import write_text
from camal_rl.runs.former_results import former_metrics
from camal_rl.runs.json_files import finite, read_json, with_sum
from camal_rl.runs.results import Results, check_fields

VERSION = 2
"""Files without a version contain nested dictionaries and can still be read."""

_FIELDS = ("version", "run", "suite", "settings", "maps", "results")
_MAP_FIELDS = ("map", "score", "grid")


@dataclass(frozen=True)
class MapDescription:
    """How a target's maps were computed, and for which output their faithfulness was measured.

    Attributes:
        map: method and rectification in words.
        score: the output of the network in words; ``None`` if unknown.
        grid: rows and columns of the map; ``None`` if unknown.
    """

    map: str
    score: str | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class RunMetrics:
    """The content of ``metrics.json``.

    Attributes:
        run: ``env``, ``name``, ``method``, ``seed``, and in ``training`` the content of ``train.json``.
        suite: ``quick`` or ``full``.
        settings: the evaluation settings of the configuration.
        results: all measured numbers.
        maps: how the maps were computed, by target.
    """

    run: Mapping[str, Any]
    suite: str
    settings: Mapping[str, Any]
    results: Results
    maps: Mapping[str, MapDescription]

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers."""
        maps = {target: {**vars(each), "grid": each.grid and list(each.grid)} for target, each in self.maps.items()}
        return {
            "version": VERSION,
            "run": finite(self.run),
            "suite": self.suite,
            "settings": finite(self.settings),
            "maps": maps,
            "results": self.results.to_json(),
        }

    def text(self, checksum: bool = False) -> str:
        """Return the text of the file, with one line for each result and an optional checksum of its content."""
        data = with_sum(self.to_json()) if checksum else self.to_json()
        lines = ",\n    ".join(json.dumps(each, allow_nan=False) for each in data.pop("results"))
        head = json.dumps(data, indent=2, allow_nan=False).removesuffix("\n}")
        return f'{head},\n  "results": [\n    {lines}\n  ]\n}}\n'


def write_metrics(path: Path, metrics: RunMetrics) -> None:
    """Write a ``metrics.json`` atomically."""
    write_text(path, metrics.text(checksum=True))


def read_metrics(path: Path) -> RunMetrics:
    """Read a ``metrics.json``, including those of earlier versions.

    Raises:
        ValueError: the file has unexpected content; one line that names it.
    """
    data = read_json(path)
    try:
        found = _from_json(data) if "version" in data else RunMetrics(**_described(former_metrics(data)))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"{path} does not contain the results of an evaluation: {_one_line(error)}") from error
    return found


def _from_json(data: Mapping[str, Any]) -> RunMetrics:
    if data["version"] != VERSION:
        raise ValueError(
            f"it has version {data['version']!r}, but this camal-rl reads versions up to {VERSION}; update camal-rl"
        )
    check_fields(data, _FIELDS, _FIELDS, "the file")
    for name in ("run", "settings", "maps"):
        if not isinstance(data[name], Mapping):
            raise TypeError(f"{name} must be an object, got {data[name]!r}")
    if not isinstance(data["suite"], str):
        raise TypeError(f"suite must be a name, got {data['suite']!r}")
    parts = {name: data[name] for name in ("run", "suite", "settings", "maps")}
    return RunMetrics(**_described({**parts, "results": Results.from_json(data["results"])}))


def _described(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a file with typed descriptions of its maps."""
    maps = {}
    for target, each in parts["maps"].items():
        if not isinstance(each, Mapping):
            raise TypeError(f"maps: {target} must be an object, got {each!r}")
        check_fields(each, _MAP_FIELDS, ("map",), f"maps: {target}")
        grid = each.get("grid")
        maps[target] = MapDescription(each["map"], each.get("score"), None if grid is None else (grid[0], grid[1]))
    return {**parts, "maps": maps}


def _one_line(error: Exception) -> str:
    told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return " ".join(told.split())

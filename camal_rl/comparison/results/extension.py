"""Joins the result files of two comparisons that differ in their seeds or methods alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camal_rl.comparison.estimates import Estimate
from camal_rl.comparison.figure_statistics import figure_statistics
from camal_rl.comparison.results.sources import points_of_each, thinned

_ALIKE = ("version", "env", "length", "evaluation")


def extended(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the ``comparison.json`` that both comparisons would have written together.

    Statistics are computed anew from the values of every seed. Curves are thinned further if together they have too
    many points for a file.

    Args:
        first: the content of one file; its first method stays the one that others are compared with.
        second: the content of another, with further seeds or methods.

    Raises:
        ValueError: the comparisons differ in environment, length of training, evaluation or a method's settings, or a
            run is in both; one line.
    """
    _check(first, second)
    methods = list(dict.fromkeys([*first["methods"], *second["methods"]]))
    judged = list(dict.fromkeys([*_judged(first), *_judged(second)]))
    origins, runs = _runs(first, second)
    return {
        **first,
        "methods": methods,
        "acting_notes": {**first.get("acting_notes", {}), **second.get("acting_notes", {})},
        "seeds": sorted({*first["seeds"], *second["seeds"]}),
        "runs": sorted(runs, key=lambda run: (methods.index(run["method"]), run["seed"])),
        "provenance": origins,
        "words": {**first["words"], **second["words"]},
        "judged": judged,
        "figures": figure_statistics(_figures(first, second, methods), methods, judged),
        "curves": _curves(first["curves"], second["curves"]),
    }


def _check(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    for key in _ALIKE:
        if first.get(key) != second.get(key):
            raise ValueError(f"the comparisons cannot be joined: {key} is {first.get(key)} and {second.get(key)}")
    kept = {(run["method"], run["seed"]) for run in first["runs"]}
    twice = next((run for run in second["runs"] if (run["method"], run["seed"]) in kept), None)
    if twice is not None:
        raise ValueError(f"the comparisons cannot be joined: both have {twice['method']} seed {twice['seed']}")
    sums: dict[str, str] = {}
    for run in (*first["runs"], *second["runs"]):
        known = run.get("settings")
        if known is not None and sums.setdefault(run["method"], known) != known:
            raise ValueError(f"the comparisons cannot be joined: their settings of {run['method']} differ")


def _judged(data: Mapping[str, Any]) -> list[str]:
    """Return the judged figures; earlier files name them by their corrected p alone."""
    tested = (
        name for name, of in data["figures"].items() if any(each.get("p_holm") is not None for each in of.values())
    )
    return list(data.get("judged", tested))


def _runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    origins: list[Any] = []
    runs = []
    for data in (first, second):
        for run in data["runs"]:
            origin = data["provenance"][run["provenance"]]
            if origin not in origins:
                origins.append(origin)
            runs.append({**run, "provenance": origins.index(origin)})
    return origins, runs


def _figures(
    first: Mapping[str, Any], second: Mapping[str, Any], methods: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for name in dict.fromkeys([*first["figures"], *second["figures"]]):
        both = [data["figures"].get(name, {}) for data in (first, second)]
        parts = {method: [each[method] for each in both if method in each] for method in methods}
        found[name] = {method: _joined(each) for method, each in parts.items() if each}
    return found


def _joined(parts: Sequence[Mapping[str, Any]]) -> Estimate:
    seeds = {seed: value for part in parts for seed, value in part["seeds"].items()}
    errors = [(part.get("measuring_error"), len(part["seeds"])) for part in parts if part["seeds"]]
    known = [error * count for error, count in errors if error is not None]
    complete = bool(known) and len(known) == len(errors)
    ordered = dict(sorted(seeds.items(), key=lambda each: int(each[0])))
    return Estimate(ordered, math.hypot(*known) / len(seeds) if complete else None)


def _curves(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag in dict.fromkeys([*first, *second]):
        parts = [curves[tag] for curves in (first, second) if tag in curves]
        methods: dict[str, dict[str, Any]] = {}
        for part in parts:
            for method, seeds in part["methods"].items():
                methods.setdefault(method, {}).update(seeds)
        found[tag] = {**parts[0], "methods": methods}
    points = points_of_each(sum(len(seeds) for each in found.values() for seeds in each["methods"].values()))
    for each in found.values():
        for seeds in each["methods"].values():
            for seed, (steps, values) in seeds.items():
                seeds[seed] = thinned((np.array(steps), np.array(values)), points)
    return found

"""The rest of a comparison's result file: the origin of every run, and thinned learning curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from camal_rl.comparison.groups import FoundRun, Group, essential_settings
from camal_rl.runs.curves import Curve, read_curves
from camal_rl.runs.folders import sha256_of_text
from camal_rl.runs.json_files import with_sum
from camal_rl.runs.origin import origin

POINTS, ALL_POINTS, FEWEST_POINTS = 100, 4000, 8
"""Maximum points of a thinned curve, of all curves of a file together, and minimum points of each curve."""
_DIGITS = 5
_SUM_LENGTH = 12
_ONE_LINE_EACH = ("runs", "provenance", "figures", "curves")


def sources(group: Group) -> dict[str, Any]:
    """Return how the runs were evaluated, the runs, and their origins; shared origins are stored once.

    ``runs`` holds ``method``, ``seed``, ``steps`` and ``seconds`` of training, in ``settings`` a checksum of the
    settings that affect learning, and in ``provenance`` the index of its origin in the list ``provenance``; see
    :data:`camal_rl.runs.origin.FACTS`.
    """
    origins: list[dict[str, Any]] = []
    runs = []
    for run in group.runs:
        found, training = origin(run.command, run.provenance), run.training or {}
        if found not in origins:
            origins.append(found)
        runs.append(
            {
                "method": group.plain_name(run.method),
                "seed": run.seed,
                "steps": training.get("timesteps"),
                "seconds": training.get("seconds"),
                "settings": _settings_sum(run),
                "provenance": origins.index(found),
            }
        )
    evaluated = next((run.metrics for run in group.runs if run.metrics), None)
    evaluation = None if evaluated is None else {"suite": evaluated.suite, **evaluated.settings}
    return {"evaluation": evaluation, "runs": runs, "provenance": origins}


def _settings_sum(run: FoundRun) -> str:
    settings = json.dumps(essential_settings(run), sort_keys=True, default=str)
    return sha256_of_text(settings)[:_SUM_LENGTH]


def group_curves(group: Group) -> dict[str, Any]:
    """Return the thinned learning curves of a group's runs: by tag ``title``, ``steps``, ``same_axis`` and ``methods``.

    ``steps`` is the unit of the steps, ``same_axis`` lists the tags that share an axis, and ``methods`` holds a list of
    steps and one of values by method and seed.
    """
    task = group.task
    found = {run: read_curves(run.folder.tensorboard, list(task.curves)) for run in group.runs}
    points = points_of_each(sum(map(len, found.values())))
    curves: dict[str, Any] = {}
    for tag, title in task.curves.items():
        methods: dict[str, Any] = {}
        for run, of_run in found.items():
            if tag in of_run:
                methods.setdefault(group.plain_name(run.method), {})[str(run.seed)] = thinned(of_run[tag], points)
        if methods:
            beside = next((sorted(tags) for tags in task.same_axis if tag in tags), [tag])
            steps = group.runs[0].config.step_name
            curves[tag] = {"title": title, "steps": steps, "same_axis": beside, "methods": methods}
    return curves


def points_of_each(count: int) -> int:
    """Return how many points each of ``count`` curves of a file may have."""
    return max(FEWEST_POINTS, min(POINTS, ALL_POINTS // max(1, count)))


def thinned(curve: Curve, points: int) -> list[list[float]]:
    """Return steps and values at evenly spaced points of a curve, including the first and the last.

    Args:
        curve: steps and values, each ``(n,)``.
        points: maximum number of points.
    """
    steps, values = curve
    places = np.unique(np.linspace(0, len(steps) - 1, min(points, len(steps))).round().astype(int))
    kept = [float(f"{value:.{_DIGITS}g}") for value in values[places]]
    return [[int(step) for step in steps[places]], kept]


def comparison_text(data: Mapping[str, Any]) -> str:
    """Return the text of a ``comparison.json`` with a checksum: one line for each run, figure and curve."""
    lines = []
    for key, value in with_sum(data).items():
        if key in _ONE_LINE_EACH and value:
            named = isinstance(value, Mapping)
            parts = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in value.items()] if named else []
            parts = parts if named else [json.dumps(each) for each in value]
            joined = ",\n    ".join(parts)
            text = f"{{\n    {joined}\n  }}" if named else f"[\n    {joined}\n  ]"
        else:
            text = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"

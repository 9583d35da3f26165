"""The YAML metadata of a model card for the Hugging Face Hub: tags, license, results by level set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.groups import FoundRun
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.results import Result
from camal_rl.runs.yaml_text import write_yaml

LIBRARY = "camal-rl"
_TYPES: Mapping[str, str] = {
    "return": "mean_reward",
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst_group_accuracy",
    "epg": "epg",
}
"""Figures in the metadata, and their names on the Hub."""
# The Hub accepts only data set names of this form: an optional owner, and a name.
_DATA_SET = re.compile(r"(?:[\w-]+/)?[\w.-]+")
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def front_matter(run: FoundRun, model: HubModel, title: str) -> str:
    """Return the YAML of a card between its two ``---`` lines; without results there is no ``model-index``."""
    data: dict[str, Any] = {
        "library_name": LIBRARY,
        "license": "mit",
        "pipeline_tag": model.pipeline,
        "tags": list(dict.fromkeys([model.pipeline, "camal", *model.tags])),
    }
    results = _results(run, model)
    if results:
        data["model-index"] = [{"name": title, "results": results}]
    return f"---\n{write_yaml(data)}---\n\n"


def _results(run: FoundRun, model: HubModel) -> list[dict[str, Any]]:
    """Return one entry for each level set or split of the images, with every defined figure."""
    metrics: dict[str, list[dict[str, Any]]] = {}
    for each in run.results:
        if each.figure in _TYPES and each.level_set is not None and each.value is not None and _is_told(each):
            metrics.setdefault(each.level_set, []).append(_metric(each))
    task = run.config.task
    kind = task if _DATA_SET.fullmatch(task) else _NOT_IN_NAMES.sub("-", task).strip("-") or "environment"
    return [
        {
            "task": {"type": model.pipeline, "name": model.pipeline.replace("-", " ")},
            "dataset": {"name": task, "type": kind, "split": level_set},
            "metrics": found,
        }
        for level_set, found in metrics.items()
    ]


def _is_told(result: Result) -> bool:
    """Return whether a result covers all episodes or images, and the model's own maps."""
    if result.target is not None:
        return (result.map, result.control) == ("own", None)
    return result.control in (None, "stochastic", "deterministic")


def _metric(result: Result) -> dict[str, Any]:
    known = {"count": result.count, "standard_error": result.error}
    arguments = {name: value for name, value in known.items() if value is not None}
    metric = {"type": _TYPES[result.figure], "value": result.value, "name": figure_words(result.key)}
    return {**metric, "args": arguments} if arguments else metric

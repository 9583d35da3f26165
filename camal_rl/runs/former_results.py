"""Converts the nested dictionaries in ``metrics.json`` of earlier versions to the current records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from camal_rl.metrics.counterfactual import RankAgreement
from camal_rl.metrics.definition import FORMER_NAMES
from camal_rl.runs.attention_results import (
    MAP_COUNTS,
    agreement_results,
    curve_results,
    faithfulness_results,
    intervention_name,
    undefined_maps,
)
from camal_rl.runs.results import Result, Results

_SWAPS = {
    "flips": ("background_flips", None, "pairs"),
    "flips_any": ("background_flips", "any", "n"),
    "flips_same_texture": ("background_flips", "same_texture", "n"),
    "accuracy_swapped": ("accuracy_swapped", None, "pairs"),
}
_INTERVENTIONS: Mapping[str, tuple[str, str | None, str | None]] = {
    "area": ("changed_area", None, None),
    "value_change": ("value_change", "value", None),
    "policy_drop": ("policy_drop", "policy", None),
    "policy_kl": ("policy_kl", "policy", None),
    "flips": ("flips", "policy", None),
    "value_mass": ("attention_mass", "value", "own"),
    "policy_mass": ("attention_mass", "policy", "own"),
}
"""Figure, target and map of the intervention results in earlier files."""
_RANKED = {"rank_correlation": "remove", "rank_correlation_all": "all"}
_OF_THE_CURVE = ("average_drop", "increase_in_confidence", "faithfulness_correlation")
"""Figures whose number of undefined frames is not in earlier files."""


def former_metrics(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``run``, ``suite``, ``settings``, ``maps`` and ``results`` of a file without a version.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: it is not such a file.
    """
    data = _renamed(data)
    if not {"returns", "accuracy", "attention"} & data.keys():
        raise ValueError("it has neither results nor the entries of earlier versions: returns, accuracy and attention")
    maps: dict[str, Any] = {}
    for targets in data.get("attention", {}).values():
        for target, found in targets.items():
            if "map" in found:
                maps.setdefault(target, {name: found.get(name) for name in ("map", "score", "grid")})
    return {
        "run": data.get("run", {}),
        "suite": data.get("suite", "quick"),
        "settings": data.get("settings", {}),
        "maps": maps,
        "results": Results(_results(data)),
    }


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {FORMER_NAMES.get(key, key): _renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value


def _results(data: Mapping[str, Any]) -> Iterator[Result]:
    for name, found in data.get("returns", {}).items():
        for actions, each in found.items():
            yield from _returns(each, name, actions)
    for name, found in data.get("gap", {}).items():
        for actions, gap in found.items():
            yield Result(figure="gap", level_set=name, control=actions, value=gap)
    for name, found in data.get("accuracy", {}).items():
        yield from _accuracies(found, name)
    for name, found in data.get("masks", {}).items():
        yield Result(figure="masked_images", level_set=name, value=found["marked"], count=found["n"])
        yield Result(figure="lost_masks", level_set=name, value=found["lost"], count=found["n"])
    for name, found in data.get("background_swap", {}).items():
        for key, (figure, control, count) in _SWAPS.items():
            if key in found:
                yield Result(figure=figure, level_set=name, control=control, value=found[key], count=found.get(count))
    for name, targets in data.get("attention", {}).items():
        for target, found in targets.items():
            yield from _map(found, name, target)
    for name, found in data.get("counterfactuals", {}).items():
        yield from _counterfactuals(found, name)


def _returns(found: Mapping[str, Any], name: str, actions: str) -> Iterator[Result]:
    count, std = found.get("episodes"), found.get("std")
    error = std / math.sqrt(count) if std is not None and count else None
    yield Result(figure="return", level_set=name, control=actions, value=found["mean"], count=count, error=error)
    if "normalized" in found:
        value = found["normalized"]
        yield Result(figure="normalized_return", level_set=name, control=actions, value=value, count=count)
    if "mean_length" in found:
        value = found["mean_length"]
        yield Result(figure="episode_length", level_set=name, control=actions, value=value, count=count)
    if "excluded" in found:
        played = None if count is None else count + found["excluded"]
        value = found["excluded"]
        yield Result(figure="excluded_episodes", level_set=name, control=actions, value=value, count=played)


def _accuracies(found: Mapping[str, Any], name: str) -> Iterator[Result]:
    share, count = found["average"], found.get("n")
    error = math.sqrt(share * (1 - share) / count) if count else None
    yield Result(figure="accuracy", level_set=name, value=share, count=count, error=error)
    yield Result(figure="worst_group_accuracy", level_set=name, value=found["worst_group"])
    for group, each in found.get("groups", {}).items():
        yield Result(figure="accuracy", level_set=name, control=group, value=each["accuracy"], count=each["n"])


def _map(found: Mapping[str, Any], name: str, target: str) -> Iterator[Result]:
    frames, undefined = found.get("frames"), found.get("undefined", {})
    for figure, value in found["alignment"].items():
        count = None if frames is None or figure not in undefined else frames - undefined[figure]
        yield Result(figure=figure, level_set=name, target=target, map="own", value=value, count=count)
    for figure in MAP_COUNTS:
        if figure in found:
            value = found[figure]
            yield Result(figure=figure, level_set=name, target=target, map="own", value=value, count=frames)
    for fill, maps in {"mean": found.get("faithfulness", {}), **found.get("fills", {})}.items():
        for map_, each in maps.items():
            yield from _faithfulness(each, frames, name, target, map_, fill)
    for measure, maps in found.get("changes", {}).items():
        for map_, each in maps.items():
            named = {f"{figure}_{measure}": value for figure, value in each.items()}
            yield from _faithfulness(named, frames, name, target, map_, "mean")
    for map_, curves in found.get("curves", {}).items():
        undefined_of_map = found.get("faithfulness", {}).get(map_, {}).get("undefined")
        count = None if frames is None or undefined_of_map is None else frames - undefined_of_map
        yield from curve_results(curves, count, name, target, map_)
    for key, value in found.get("consistency", {}).items():
        change, _, measure = key.rpartition("_")
        figure, control = f"consistency_{measure}", change or key
        yield Result(figure=figure, level_set=name, target=target, map="own", control=control, value=value)
    for layer, value in found.get("randomization", {}).items():
        figure = "randomized_spearman"
        yield Result(figure=figure, level_set=name, target=target, map="own", control=layer, value=value)


def _faithfulness(
    found: Mapping[str, Any], frames: int | None, name: str, target: str, map_: str, fill: str
) -> list[Result]:
    means = {figure: value for figure, value in found.items() if figure != "undefined"}
    counts: dict[str, int | None] = {}
    if frames is not None and found.get("undefined") is not None:
        counts = {figure: frames - found["undefined"] for figure in means if figure not in _OF_THE_CURVE}
    return faithfulness_results(means, counts, name, target, map_, fill)


def _counterfactuals(found: Mapping[str, Any], name: str) -> Iterator[Result]:
    frames = found.get("frames")
    for map_, value in found.get("undefined_maps", {}).items():
        yield undefined_maps(map_, value, frames, name)
    for each in found.get("interventions", ()):
        control = intervention_name(each["name"], each.get("kind"), each.get("class_name"))
        for key, (figure, target, map_) in _INTERVENTIONS.items():
            if key in each:
                yield Result(
                    figure=figure, level_set=name, target=target, map=map_, control=control, value=each[key],
                    count=each.get("frames"),
                )  # fmt: skip
    if found.get("agreements"):
        for each in found["agreements"]:
            known: dict[str, Any] = {key: math.nan if value is None else value for key, value in each.items()}
            yield from agreement_results([RankAgreement(**known)], name)
        return
    for key, control in _RANKED.items():
        for target, maps in found.get(key, {}).items():
            for map_, value in maps.items():
                yield Result(
                    figure="rank_correlation", level_set=name, target=target, map=map_, control=control, value=value
                )

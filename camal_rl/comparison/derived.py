"""Results computed from other results: figures net of a random map, and counts of undefined frames."""

from __future__ import annotations

import re

from camal_rl.metrics import METRICS_BY_NAME
from camal_rl.runs.results import Result, ResultKey, Results

_NET_OF_RANDOM = ("deletion_effect", "insertion_change_auc")
_CONTROL_MAPS = ("random", "mask")
OTHER_BACKGROUNDS = {
    "policy_kl": "background_kl",
    "value_change": "background_value_change",
    "flips": "background_action_flips",
}
"""Means over the backgrounds that the simulator paints in place of the present one, by the figure of each of them."""
_BACKGROUND = re.compile(r"background_\d+")


def derived_results(results: Results) -> list[Result]:
    """Return the results that are computed from a run's measured results.

    ``deletion_effect_net`` and ``insertion_change_auc_net``: how much better the own map is than a random map on the
    same frames (mean fill). ``undefined_frames``: number of frames for which the deletion effect of a map is undefined.
    """
    found = [*_over_backgrounds(results)]
    for each in results.select(control="mean"):
        if each.figure in _NET_OF_RANDOM and each.map not in _CONTROL_MAPS:
            net = _net_of_random(each, results.find(each.key._replace(map="random")))
            if net is not None:
                found.append(Result(**each.key._replace(figure=f"{each.figure}_net")._asdict(), value=net))
    for each in results.select(figure="deletion_effect"):
        counted = results.find(ResultKey("zero_maps", each.level_set, each.target, "own"))
        if each.count is not None and counted is not None and counted.count is not None:
            key = each.key._replace(figure="undefined_frames")
            found.append(Result(**key._asdict(), value=counted.count - each.count, count=counted.count))
    return found


def _over_backgrounds(results: Results) -> list[Result]:
    """Return how much other backgrounds change the decision, on average over them; nothing if there are none."""
    values: dict[ResultKey, list[float | None]] = {}
    for figure, mean in OTHER_BACKGROUNDS.items():
        for each in results.select(figure=figure):
            if each.control is not None and _BACKGROUND.fullmatch(each.control):
                values.setdefault(ResultKey(mean, each.level_set), []).append(each.value)
    return [
        Result(**key._asdict(), value=sum(known) / len(known))
        for key, found in values.items()
        if (known := [value for value in found if value is not None])
    ]


def _net_of_random(own: Result, random: Result | None) -> float | None:
    if own.value is None or random is None or random.value is None:
        return None
    higher_is_better = METRICS_BY_NAME[own.figure].higher_is_better
    return own.value - random.value if higher_is_better else random.value - own.value

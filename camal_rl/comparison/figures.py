"""The figures that a comparison shows, and their names in ``comparison.json``."""

from __future__ import annotations

from collections.abc import Mapping

from camal_rl.comparison.derived import OTHER_BACKGROUNDS
from camal_rl.comparison.estimates import keys
from camal_rl.comparison.groups import Group
from camal_rl.metrics import ALIGNMENT_METRICS
from camal_rl.runs.attention_results import MAP_COUNTS
from camal_rl.runs.results import ResultKey

COUNTS = (*MAP_COUNTS, "undefined_maps", "undefined_frames")
"""Counts of frames; neither direction is better."""
TRAIN = "train"
SUCCESS = "success_"
"""What begins the names of success rates: shares of the episodes in which something was reached."""

_PLAIN = ("stochastic", "mean")
"""Default variants, which are omitted from the name of a figure: sampled actions, the mean fill."""
_SHORT = {"normalized_return": "normalized"}
_VARIANTS: Mapping[str, tuple[str | None, ...]] = {
    "return": ("stochastic", "deterministic"),
    "normalized_return": ("stochastic",),
    "score": ("stochastic", "deterministic"),
    "gap": ("stochastic",),
    "accuracy": (None,),
    "worst_group_accuracy": (None,),
    "accuracy_swapped": (None,),
    "background_flips": (None, "same_texture"),
    **dict.fromkeys(OTHER_BACKGROUNDS.values(), (None,)),
}
"""The figures of a run itself (not of a map) that are compared."""
_EFFECTS = ("deletion_effect", "insertion_change_auc", "deletion_effect_net", "insertion_change_auc_net")
_HEADLINE_ALIGNMENT = ("epg", "pointing_game", "iou")
_HEADLINE_EFFECTS = (
    ("deletion_effect", "own"),
    ("deletion_effect", "random"),
    ("deletion_effect_net", "own"),
    ("insertion_change_auc_net", "own"),
)
_JUDGED = ("return", "score", "accuracy", "worst_group_accuracy", "accuracy_swapped")


def figure_name(key: ResultKey) -> str:
    """Return the name of a figure: ``return/train``, ``epg/value/held_out``, ``deletion_effect_random/class/test``.

    It is ``<figure>/<level set>`` or ``<figure>/<target>/<level set>``. A variant other than the default, such as
    preferred actions or another fill, is appended to the figure, followed by the kind of map unless it is the model's
    own.
    """
    parts = [_SHORT.get(key.figure, key.figure)]
    parts += [key.control] if key.control is not None and key.control not in _PLAIN else []
    parts += [key.map] if key.map is not None and key.map != "own" else []
    return "/".join(["_".join(parts), *(each for each in (key.target, key.level_set) if each is not None)])


def is_alignment(key: ResultKey) -> bool:
    """Return whether a figure measures how well the own map agrees with the masks; custom metrics always count."""
    return key.target is not None and (key.map, key.control) == ("own", None) and key.figure not in COUNTS


def compared_keys(group: Group) -> list[ResultKey]:
    """Return the figures that ``comparison.json`` holds: results, alignment, deletion and insertion."""
    return [key for key in keys(group) if _is_compared(key)]


def _is_compared(key: ResultKey) -> bool:
    if key.target is None:
        return key.control in _VARIANTS.get(key.figure, ())
    return is_alignment(key) or (key.figure in _EFFECTS and key.control == "mean")


def headline_keys(group: Group) -> list[ResultKey]:
    """Return the headline figures: results with sampled actions, and attention on the last level set."""
    found = [key for key in compared_keys(group) if key.target is None and _is_headline(key)]
    measured = last_maps(group)
    if measured is None:
        return found
    level_set, targets = measured
    shipped = {metric.name for metric in ALIGNMENT_METRICS}
    own = dict.fromkeys(key.figure for key in keys(group) if is_alignment(key) and key.figure not in shipped)
    found += [
        ResultKey(figure, level_set, target, "own") for figure in (*_HEADLINE_ALIGNMENT, *own) for target in targets
    ]
    found += [
        ResultKey(figure, level_set, target, map_, "mean") for target in targets for figure, map_ in _HEADLINE_EFFECTS
    ]
    known = set(keys(group))
    return [key for key in found if key in known]


def _is_headline(key: ResultKey) -> bool:
    if key.figure == "gap":
        return key.level_set is not None and key.level_set.startswith("held_out")
    return key.figure != "normalized_return" and key.control in (None, "stochastic")


def judged_keys(group: Group) -> list[ResultKey]:
    """Return the judged figures, by which methods are compared; higher is better for all of them."""
    found = [key for figure in _JUDGED for key in keys(group, figure=figure) if key.control in (None, "stochastic")]
    measured = last_maps(group)
    for target in () if measured is None else measured[1]:
        found += keys(group, figure="epg", level_set=measured[0], target=target)  # type: ignore[index]
        found += keys(
            group, figure="deletion_effect", level_set=measured[0], target=target, map="own", control="mean"  # type: ignore[index]
        )  # fmt: skip
    return found


def last_maps(group: Group) -> tuple[str, list[str]] | None:
    """Return the last level set on which maps were measured and the targets of these maps; ``None`` without any."""
    measured = keys(group, figure="epg", map="own")
    if not measured or measured[-1].level_set is None:
        return None
    last = measured[-1].level_set
    return last, [key.target for key in measured if key.level_set == last and key.target is not None]

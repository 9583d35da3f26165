"""Results of attention maps as records, the same for agents, classifiers, and files of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from camal_rl.metrics.alignment import AlignmentSummary
from camal_rl.metrics.counterfactual import RankAgreement
from camal_rl.runs.results import Result

MAP_COUNTS = ("zero_maps", "nonfinite_maps", "empty_targets")
"""Figures that count frames; their ``count`` is the total number of frames."""
FAITHFULNESS_MAPS = ("own", "random", "mask")
"""The model's own map and its controls."""
RANK_CORRELATION = {"mass": "rank_correlation", "density": "rank_correlation_density"}
"""Figures of rank correlation, by the ranked quantity of the attention."""

_HEADS = {"value": "value", "divergence": "policy"}
"""The target that each change belongs to; for a Q-network it is ``q``."""
_TARGETS = (*_HEADS.values(), "q")


def alignment_results(summary: AlignmentSummary, level_set: str | None, target: str) -> list[Result]:
    """Return the agreement of a model's own maps with the masks, and the numbers of frames without map or mask."""
    found = [(name, mean, summary.frames - summary.undefined[name]) for name, mean in summary.means.items()]
    found += [(name, getattr(summary, name), summary.frames) for name in MAP_COUNTS]
    return [
        Result(figure=name, level_set=level_set, target=target, map="own", value=value, count=count)
        for name, value, count in found
    ]


def faithfulness_results(
    means: Mapping[str, float | None],
    counts: Mapping[str, int | None],
    level_set: str | None,
    target: str,
    map_: str,
    fill: str = "mean",
) -> list[Result]:
    """Return the effect of removing pixels in the order of a map; ``counts`` are the defined frames of each figure."""
    return [
        Result(
            figure=name, level_set=level_set, target=target, map=map_, control=fill, value=mean, count=counts.get(name)
        )
        for name, mean in means.items()
    ]


def curve_results(
    curves: Mapping[str, Sequence[float | None]], count: int | None, level_set: str | None, target: str, map_: str
) -> list[Result]:
    """Return curves as one result for each point, with the share of the pixels as control.

    Args:
        curves: ``fractions``, and the changes of the output at these by kind of curve.
        count: number of frames.
        level_set: the levels or images.
        target: the target of the map.
        map_: the map that orders the pixels.
    """
    return [
        Result(
            figure=f"{kind}_curve", level_set=level_set, target=target, map=map_, control=str(float(share)),
            value=change, count=count,
        )
        for kind, changes in curves.items()
        if kind != "fractions"
        for share, change in zip(curves["fractions"], changes, strict=True)
        if share is not None
    ]  # fmt: skip


def intervention_name(name: str, kind: str | None, class_name: str | None) -> str:
    """Return the name of an intervention, with kind and class unless they are in the name."""
    for part in (kind, class_name):
        if part and part.casefold() not in name.casefold():
            name = f"{name}, {part}"
    return name


def undefined_maps(name: str, count: int, frames: int | None, level_set: str | None) -> Result:
    """Return the numbers of frames without a map to compare with interventions.

    Args:
        name: name of the map, a target or a control.
        count: number of frames without it.
        frames: number of all frames.
        level_set: the levels.
    """
    target, map_ = (name, "own") if name in _TARGETS else (None, name)
    return Result(figure="undefined_maps", level_set=level_set, target=target, map=map_, value=count, count=frames)


def agreement_results(
    agreements: Iterable[RankAgreement], level_set: str | None, heads: Mapping[str, str] = _HEADS
) -> list[Result]:
    """Return the rank correlation of interventions between attention and change of the decision.

    ``rank_correlation`` is the mean over frames, ``rank_correlation_of_means`` the correlation of the interventions'
    means. Names with ``_density`` use the attention per changed pixel. ``heads`` maps each change of the decision to
    its target.
    """
    found = []
    for each in agreements:
        target, figure = heads[each.decision], RANK_CORRELATION[each.attention]
        map_ = "own" if each.map == target else each.map
        for name, value, count in (
            (figure, each.per_frame, each.frames),
            (f"{figure}_of_means", each.overall, each.interventions),
        ):
            found.append(
                Result(
                    figure=name, level_set=level_set, target=target, map=map_, control=each.group, value=value,
                    count=count,
                )
            )  # fmt: skip
    return found

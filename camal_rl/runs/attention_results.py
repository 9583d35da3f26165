"""Results of attention maps as records: agents and classifiers, and files of earlier versions, have the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from camal_rl.metrics.alignment import AlignmentSummary
from camal_rl.metrics.counterfactual import RankAgreement
from camal_rl.runs.results import Result

MAP_COUNTS = ("zero_maps", "nonfinite_maps", "empty_targets")
"""Figures that count frames; the count beside them is the number of frames."""
FAITHFULNESS_MAPS = ("own", "random", "mask")
"""The model's own map and its controls."""
RANK_CORRELATION = {"mass": "rank_correlation", "density": "rank_correlation_density"}
"""Figures of rank correlation by what of the attention is ranked."""

_HEADS = {"value": "value", "divergence": "policy"}
"""The target whose decision changes, by the change; that of a Q-network is ``q``."""
_TARGETS = (*_HEADS.values(), "q")


def alignment_results(summary: AlignmentSummary, level_set: str | None, target: str) -> list[Result]:
    """Return how well a model's own maps agree with the masks, and how many frames have no map or no mask."""
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
    """Return what removing pixels in the order of a map does; ``counts`` are frames where a figure is defined."""
    return [
        Result(
            figure=name, level_set=level_set, target=target, map=map_, control=fill, value=mean, count=counts.get(name)
        )
        for name, mean in means.items()
    ]


def curve_results(
    curves: Mapping[str, Sequence[float | None]], count: int | None, level_set: str | None, target: str, map_: str
) -> list[Result]:
    """Return curves as one result for each point, whose control is the share of the pixels.

    Args:
        curves: ``fractions``, and by kind of curve as many changes of the output.
        count: frames.
        level_set: the levels or images.
        target: whose map it is.
        map_: which map the pixels are ordered by.
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
    """Return the name of an intervention, with its kind and class where the name does not say them."""
    for part in (kind, class_name):
        if part and part.casefold() not in name.casefold():
            name = f"{name}, {part}"
    return name


def undefined_maps(name: str, count: int, frames: int | None, level_set: str | None) -> Result:
    """Return on how many frames there is no map to compare with interventions.

    Args:
        name: of the map, a target's or a control's.
        count: frames without it.
        frames: all frames.
        level_set: the levels.
    """
    target, map_ = (name, "own") if name in _TARGETS else (None, name)
    return Result(figure="undefined_maps", level_set=level_set, target=target, map=map_, value=count, count=frames)


def agreement_results(
    agreements: Iterable[RankAgreement], level_set: str | None, heads: Mapping[str, str] = _HEADS
) -> list[Result]:
    """Return whether the interventions that change the decision more are those that hold more attention.

    ``rank_correlation`` is the mean over frames, ``rank_correlation_of_means`` that of the interventions' means; the
    same with ``_density`` of the attention for each changed pixel. ``heads`` gives the target of each change of the
    decision.
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

"""Counterfactual faithfulness: whether attention is on the pixels whose change by the simulator matters.

A simulator can redraw a state with another background or without an object, so the change of the decision is caused by
exactly that, in an image that the simulator itself can draw. Attention is faithful if interventions with a larger
effect on the decision are those whose pixels have more of the attention. (Atrey et al. 2020, arXiv 1912.05743,
recommend such interventions as tests of saliency maps.)

``I`` is the number of interventions, ``N`` of frames. NaN marks an undefined pair: the intervention changes nothing in
this frame, or the map is zero or not finite. NaN is excluded everywhere, and its frequency is reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, upsample_cam, zero_maps
from camal_rl.metrics.decision_change import DecisionChange

MIN_INTERVENTIONS = 3
"""A rank correlation needs at least this many interventions."""

UNIFORM = "uniform"
_DECISIONS = {"value": "value", "policy": "divergence", "q": "value"}
"""The change of the decision with which the maps of each attention target are compared."""
_ALL = "all"


def changed_area(changed: Tensor) -> Tensor:
    """Return the share of each frame that each intervention changes.

    It is also the :func:`attention_mass` of a uniform map, which is the control for every other map.

    Args:
        changed: ``bool (I, N, H, W)``, the pixels that differ.

    Returns:
        ``(I, N)`` in (0, 1]; NaN where nothing differs.
    """
    _check_changed(changed)
    area = changed.float().mean(dim=(2, 3))
    return torch.where(area > 0, area, torch.nan)


def attention_mass(cam: Tensor, changed: Tensor) -> Tensor:
    """Return the share of each map on the pixels that each intervention changes: ``sum(m c) / sum(m)``.

    Divided by :func:`changed_area` it is a density: 1 for a uniform map, and independent of the changed area.

    Args:
        cam: ``(N, h, w)``, non-negative, of any scale; upsampled to the frames as for display.
        changed: ``bool (I, N, H, W)``.

    Returns:
        ``(I, N)`` in [0, 1]; NaN where nothing is changed, and where the map is zero or not finite.

    Raises:
        TypeError: ``cam`` is not floating point, or ``changed`` not bool.
        ValueError: the numbers of frames differ, or the map has negative values.
    """
    _check_changed(changed)
    undefined = zero_maps(cam) | nonfinite_maps(cam)
    if len(cam) != changed.shape[1]:
        raise ValueError(f"need one map per frame, got {len(cam)} maps and {changed.shape[1]} frames")
    if bool((cam < 0).any()):
        raise ValueError("an attention map must be non-negative, got negative values; rectify it first")
    usable = torch.where(undefined[:, None, None], 1.0, cam.detach())
    height, width = changed.shape[2:]
    maps = upsample_cam(usable, (height, width))
    total = maps.sum(dim=(1, 2))
    mass = torch.stack([(maps * region).sum(dim=(1, 2)) / total for region in changed.to(cam.device)])
    nothing = ~changed.to(cam.device).any(dim=3).any(dim=2)
    return torch.where(nothing | undefined, torch.nan, mass)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation down each column, over the rows where both are defined.

    Ties get the mean of their ranks; the result is Pearson's correlation of the ranks.

    Args:
        first: ``(I, N)``; NaN rows are excluded for each column.
        second: ``(I, N)``.

    Returns:
        ``(N,)`` in [-1, 1]; NaN with fewer than :data:`MIN_INTERVENTIONS` rows, or where one side is constant.
    """
    if first.dim() != 2 or first.shape != second.shape:
        raise ValueError(
            f"need two tensors of the same shape (I, N), got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    defined = ~(first.isnan() | second.isnan())
    count = defined.sum(dim=0)
    x, y = (_centered_ranks(side, defined, count) for side in (first, second))
    spread = (x.square().sum(dim=0) * y.square().sum(dim=0)).sqrt()
    usable = (count >= MIN_INTERVENTIONS) & (spread > 0)
    return torch.where(usable, (x * y).sum(dim=0) / torch.where(usable, spread, 1.0), torch.nan)


def _centered_ranks(values: Tensor, defined: Tensor, count: Tensor) -> Tensor:
    """Return ranks minus their mean, 0 where undefined."""
    others = defined.unsqueeze(0)
    below = ((values.unsqueeze(0) < values.unsqueeze(1)) & others).sum(dim=1)
    equal = ((values.unsqueeze(0) == values.unsqueeze(1)) & others).sum(dim=1)
    # Doubled ranks minus their doubled mean are integers, so that ties and constant columns are exact.
    doubled = 2 * below + equal + 1 - (count + 1)
    return torch.where(defined, doubled, 0).to(torch.float64 if values.dtype == torch.float64 else torch.float32)


@dataclass(frozen=True)
class InterventionEffect:
    """One intervention, averaged over the frames where it applies.

    Attributes:
        name: name of the intervention.
        kind: kind of the intervention.
        frames: number of frames in which it changes anything.
        area: mean share of the frame that it changes.
        value, drop, divergence, flip: mean change of the decision, see :class:`DecisionChange`.
        mass: mean of :func:`attention_mass`, by map.
        density: mean of attention mass over area, by map; 1 for a uniform map.
    """

    name: str
    kind: str
    frames: int
    area: float
    value: float
    drop: float
    divergence: float
    flip: float
    mass: Mapping[str, float]
    density: Mapping[str, float]


@dataclass(frozen=True)
class RankAgreement:
    """Rank agreement between the change of the decision and the attention on the changed pixels.

    Attributes:
        map: name of the map.
        attention: ``mass`` or ``density``.
        decision: ``value`` or ``divergence``.
        group: ``all`` interventions, or one kind.
        per_frame: mean over frames of Spearman's correlation over the interventions; the headline figure.
        frames: number of frames where it is defined.
        undefined: number of frames where it is not (fewer than three interventions apply, there is no map, or all
            values are equal).
        overall: the same correlation between the interventions' means over frames.
        interventions: number of interventions in ``overall``.
    """

    map: str
    attention: str
    decision: str
    group: str
    per_frame: float
    frames: int
    undefined: int
    overall: float
    interventions: int


@dataclass(frozen=True)
class CounterfactualSummary:
    """Counterfactual faithfulness over a set of frames.

    Attributes:
        frames: number of frames.
        undefined_maps: number of frames, by map, where something changes but the map is zero or not finite.
        effects: one entry per intervention.
        agreements: one entry per map (controls included), attention, decision and group.
    """

    frames: int
    undefined_maps: Mapping[str, int]
    effects: tuple[InterventionEffect, ...]
    agreements: tuple[RankAgreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


def summarize_counterfactuals(
    names: Sequence[str], kinds: Sequence[str], change: DecisionChange, area: Tensor, mass: Mapping[str, Tensor]
) -> CounterfactualSummary:
    """Summarize the effects of interventions on the decision, and the attention on the pixels they change.

    Args:
        names: names of the ``I`` interventions.
        kinds: their kinds; rank correlations are computed over all, and over each kind with three or more.
        change: result of :func:`decision_change`.
        area: result of :func:`changed_area`, ``(I, N)``.
        mass: results of :func:`attention_mass` by name of the map, ``(I, N)`` each. ``value`` and ``q`` are compared
            with the change of the value and ``policy`` with the divergence of the policies; any other name, such as
            ``random`` for a control, with both (for a Q-network, only with the value). The control ``uniform`` is
            added.

    Raises:
        ValueError: the numbers of interventions differ, or a map is named ``uniform``.
    """
    count, frames = area.shape
    if not len(names) == len(kinds) == count == len(change.value):
        raise ValueError(f"expected {count} names, kinds and changes, got {len(names)}, {len(kinds)}")
    if UNIFORM in mass:
        raise ValueError(f"the map {UNIFORM!r} is added automatically; omit it")
    area = area.to(change.value.device)
    maps = {**{name: shares.to(area.device) for name, shares in mass.items()}, UNIFORM: area}
    both = ("value",) if "q" in mass else ("value", "divergence")
    return CounterfactualSummary(
        frames=frames,
        undefined_maps={key: int((shares.isnan() & ~area.isnan()).any(dim=0).sum()) for key, shares in maps.items()},
        effects=tuple(_effects(names, kinds, change, area, maps)),
        agreements=tuple(
            _agreement(name, attention, decision, group, shares[rows], getattr(change, decision)[rows])
            for name, weights in maps.items()
            for attention, shares in _attentions(name, weights, area).items()
            for decision in ((_DECISIONS[name],) if name in _DECISIONS else both)
            for group, rows in _groups(kinds).items()
        ),
    )


def _effects(
    names: Sequence[str], kinds: Sequence[str], change: DecisionChange, area: Tensor, maps: Mapping[str, Tensor]
) -> list[InterventionEffect]:
    means = change.means()
    return [
        InterventionEffect(
            name=name,
            kind=kind,
            frames=int((~area[row].isnan()).sum()),
            area=float(area[row].nanmean()),
            **{field: float(values[row]) for field, values in means.items()},
            mass={key: float(shares[row].nanmean()) for key, shares in maps.items()},
            density={key: float((shares[row] / area[row]).nanmean()) for key, shares in maps.items()},
        )
        for row, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]


def _attentions(name: str, mass: Tensor, area: Tensor) -> dict[str, Tensor]:
    """Return the attentions to rank; the density of a uniform map is constant and has no ranks."""
    return {"mass": mass} if name == UNIFORM else {"mass": mass, "density": mass / area}


def _groups(kinds: Sequence[str]) -> dict[str, list[int]]:
    groups = {_ALL: list(range(len(kinds)))}
    for kind in dict.fromkeys(kinds):
        groups[kind] = [row for row, other in enumerate(kinds) if other == kind]
    return {name: rows for name, rows in groups.items() if name == _ALL or len(rows) >= MIN_INTERVENTIONS}


def _agreement(name: str, attention: str, decision: str, group: str, shares: Tensor, change: Tensor) -> RankAgreement:
    per_frame = rank_correlation(shares, change)
    defined = ~(shares.isnan() | change.isnan())
    means = [torch.where(defined, side, torch.nan).nanmean(dim=1, keepdim=True) for side in (shares, change)]
    frames = int((~per_frame.isnan()).sum())
    return RankAgreement(
        map=name,
        attention=attention,
        decision=decision,
        group=group,
        per_frame=float(per_frame.nanmean()) if frames else math.nan,
        frames=frames,
        undefined=len(per_frame) - frames,
        overall=float(rank_correlation(means[0], means[1])),
        interventions=int(defined.any(dim=1).sum()),
    )


def _check_changed(changed: Tensor) -> None:
    if changed.dtype != torch.bool:
        raise TypeError(f"changed must be bool, got {changed.dtype}")
    if changed.dim() != 4:
        raise ValueError(f"changed must be (I, N, H, W), got {tuple(changed.shape)}")

"""Agreement of attention maps with target regions, for each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, zero_maps
from camal_rl.metrics.custom import CUSTOM_METRICS, custom_metric
from camal_rl.metrics.definition import ALIGNMENT_METRICS
from camal_rl.metrics.ranking import auroc, average_precision

IOU_THRESHOLD = 0.5
IOU_SWEEP = tuple(step / 20 for step in range(1, 20))


def alignment(cam: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return every alignment metric of each frame; :mod:`camal_rl.metrics.definition` defines them.

    NaN marks an undefined frame: an empty target; an all-zero or non-finite map (all but ``area_fraction``); a full
    target (AUROC and AUPRC). ``epg``, ``area_fraction``, ``soft_dice`` and ``mae`` use the weights of a soft
    target; for the others every cell above 0 is inside.
    ``iou``, ``iou_auc``, ``soft_dice`` and ``mae`` use the map scaled to [0, 1] by its minimum and maximum;
    a constant map counts as 1 everywhere.

    Args:
        cam: ``(B, h, w)``, non-negative, of any scale.
        target: ``(B, h, w)`` in [0, 1].

    Returns:
        For each name in :data:`camal_rl.metrics.definition.ALIGNMENT_METRICS` a tensor ``(B,)``, then for each metric
        added by :func:`camal_rl.metrics.register_metric`.

    Raises:
        TypeError: ``cam`` or ``target`` is not floating point.
        ValueError: shapes differ, the map has negative values, or the target is outside [0, 1].
    """
    frames = _prepared(cam, target)
    epg, area = _epg(frames), frames.weight.mean(dim=1)
    one_sided = frames.inside.all(dim=1)
    values = {
        "epg": epg,
        "epg_over_area": epg / area,
        "pointing_game": _pointing_game(frames),
        "iou": _iou(frames, IOU_THRESHOLD),
        "iou_auc": torch.stack([_iou(frames, threshold) for threshold in IOU_SWEEP]).mean(dim=0),
        "soft_dice": _soft_dice(frames),
        "mae": (frames.stretched - frames.weight).abs().mean(dim=1),
        "auroc": auroc(frames.attention, frames.inside),
        "auprc": torch.where(one_sided, torch.nan, average_precision(frames.attention, frames.inside)),
    }
    defined = {name: torch.where(frames.undefined, torch.nan, value) for name, value in values.items()}
    defined["area_fraction"] = torch.where(area > 0, area, torch.nan)
    shipped = {metric.name: defined[metric.name] for metric in ALIGNMENT_METRICS}
    attention, weight = frames.attention.view_as(cam), frames.weight.view_as(cam)
    own = {name: custom_metric(name).of(attention, weight) for name in CUSTOM_METRICS}
    return {**shipped, **{name: torch.where(frames.undefined, torch.nan, value) for name, value in own.items()}}


def energy_pointing_game(cam: Tensor, target: Tensor) -> Tensor:
    """Return ``sum(m t) / sum m`` of each frame, ``(B,)``; arguments and NaN as in :func:`alignment`."""
    frames = _prepared(cam, target)
    return torch.where(frames.undefined, torch.nan, _epg(frames))


def iou(cam: Tensor, target: Tensor, threshold: float = IOU_THRESHOLD) -> Tensor:
    """Return the intersection over union of ``min-max map >= threshold`` with the target, ``(B,)``.

    Arguments and NaN as in :func:`alignment`.
    """
    frames = _prepared(cam, target)
    return torch.where(frames.undefined, torch.nan, _iou(frames, threshold))


def undefined_frames(cam: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return which frames are undefined: ``zero_map``, ``nonfinite_map``, ``empty_target``, ``bool (B,)`` each."""
    return {
        "zero_map": zero_maps(cam),
        "nonfinite_map": nonfinite_maps(cam),
        "empty_target": target.sum(dim=(1, 2)) == 0,
    }


@dataclass(frozen=True)
class AlignmentSummary:
    """Alignment over a set of frames.

    Attributes:
        frames: number of frames.
        zero_maps: frames whose map is zero everywhere.
        nonfinite_maps: frames whose map holds a NaN or an infinite value.
        empty_targets: frames with nothing relevant in sight.
        means: mean of each metric over the frames where it is defined; NaN if there is none.
        undefined: number of frames where each metric is not defined.
    """

    frames: int
    zero_maps: int
    nonfinite_maps: int
    empty_targets: int
    means: Mapping[str, float]
    undefined: Mapping[str, int]

    @classmethod
    def of(cls, cam: Tensor, target: Tensor) -> AlignmentSummary:
        """Summarize maps ``(B, h, w)`` against targets ``(B, h, w)``, as :func:`alignment` takes them."""
        values = alignment(cam, target)
        reasons = undefined_frames(cam, target)
        return cls(
            frames=len(cam),
            zero_maps=int(reasons["zero_map"].sum()),
            nonfinite_maps=int(reasons["nonfinite_map"].sum()),
            empty_targets=int(reasons["empty_target"].sum()),
            means={name: float(value.nanmean()) for name, value in values.items()},
            undefined={name: int(value.isnan().sum()) for name, value in values.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Frames:
    """Checked input, one row per frame; the map of an undefined frame is replaced by ones."""

    attention: Tensor
    stretched: Tensor
    weight: Tensor
    inside: Tensor
    undefined: Tensor


def _prepared(cam: Tensor, target: Tensor) -> _Frames:
    _check(cam, target)
    reasons = undefined_frames(cam, target)
    unusable = reasons["zero_map"] | reasons["nonfinite_map"]
    attention = torch.where(unusable[:, None, None], 1.0, cam.detach()).flatten(1)
    weight = target.to(cam.dtype).flatten(1)
    low = attention.amin(dim=1, keepdim=True)
    span = attention.amax(dim=1, keepdim=True) - low
    stretched = torch.where(span > 0, (attention - low) / span, 1.0)
    return _Frames(attention, stretched, weight, weight > 0, unusable | reasons["empty_target"])


def _epg(frames: _Frames) -> Tensor:
    return (frames.attention * frames.weight).sum(dim=1) / frames.attention.sum(dim=1)


def _pointing_game(frames: _Frames) -> Tensor:
    """Return 1 if the maximum is inside, else 0; for tied maxima, the share of them that is inside."""
    is_peak = frames.attention == frames.attention.amax(dim=1, keepdim=True)
    return (is_peak & frames.inside).sum(dim=1) / is_peak.sum(dim=1)


def _iou(frames: _Frames, threshold: float) -> Tensor:
    attended = frames.stretched >= threshold
    return (attended & frames.inside).sum(dim=1) / (attended | frames.inside).sum(dim=1)


def _soft_dice(frames: _Frames) -> Tensor:
    overlap = (frames.stretched * frames.weight).sum(dim=1)
    return 2 * overlap / (frames.stretched + frames.weight).sum(dim=1)


def _check(cam: Tensor, target: Tensor) -> None:
    for name, tensor in (("cam", cam), ("target", target)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}; target_tensor converts masks")
    if cam.dim() != 3 or cam.shape != target.shape:
        raise ValueError(
            f"cam and target must have the same shape (B, h, w), got {tuple(cam.shape)} and {tuple(target.shape)}"
        )
    if bool((cam < 0).any()):
        raise ValueError("an attention map must be non-negative, got negative values; rectify it first")
    if not bool(((target >= 0) & (target <= 1)).all()):
        raise ValueError("a target must be in [0, 1]; camal_rl.targets.target_tensor converts uint8 masks")

"""Losses that pull an attention map towards a target region: CAMAL's loss and published alternatives.

Every loss takes a map ``cam (B, h, w)`` in [0, 1] (:func:`camal_rl.attention.normalize_cam`) and a target
``(B, h, w)`` in [0, 1] (:func:`camal_rl.targets.target_tensor`), hard or soft, and returns a
:class:`CamalLoss`. Several maps of the same frames, ``(K, B, h, w)``, give K losses at once. For comparability all
losses follow one rule: frames with an empty target are ignored, and the loss is the mean over the other frames (0, with
a graph, if there are none). Values are not range-checked, since a check would synchronize with the GPU in every
training step. A NaN in the map therefore reaches the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor

from camal_rl.registry import Registry

Loss = TypeVar("Loss", bound=Callable[[Tensor, Tensor], "CamalLoss"])

PPCE_FLOOR = 1e-3
"""Added to the map before the logarithm: bounds the gradient of :func:`ppce_loss` at ``1 / PPCE_FLOOR``."""


@dataclass(frozen=True)
class CamalLoss:
    """A loss and its parts, scalars for maps ``(B, h, w)`` and ``(K,)`` for ``(K, B, h, w)``.

    Attributes:
        total: ``inside + outside``; minimize this.
        inside: contribution of the target region.
        outside: contribution of the rest of the frame.
        valid_fraction: scalar without gradient, share of frames whose target is not empty.
    """

    total: Tensor
    inside: Tensor
    outside: Tensor
    valid_fraction: Tensor


class AttentionLoss(Protocol):
    """A loss function of a normalized map and its target."""

    def __call__(self, cam: Tensor, target: Tensor) -> CamalLoss:
        """Return the loss of ``cam (B, h, w)``, or ``(K, B, h, w)``, against ``target (B, h, w)``, all in [0, 1]."""


def camal_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """CAMAL: encourage attention inside the target, suppress it elsewhere (arXiv 2605.08325; our formula).

    Per frame, with map ``m`` and target ``t``::

        inside  = sum t (1 - m)^2 / sum t              in [0, 1]
        outside = sum (1 - t) m / sum m                in [0, 1]

    The inside part is averaged over the target, so that small objects count as much as large ones. The outside part is
    the share of the attention outside, ``1 - EPG``: many faint cells cost as much as one bright cell. (A squared mean,
    :func:`camal_square_loss`, hardly penalizes either: docs/results/toy_grid.md.) A frame with a full target has only
    the inside part; a map that is zero everywhere has the loss 1 + 1. Gradients flow through ``cam``.
    """
    valid = _valid_frames(cam, target)
    inside = _region_mean((1 - cam).square(), target)
    return _mean_over_valid(inside, _share_outside(cam, target), valid)


def camal_square_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """CAMAL with a squared outside part: like :func:`camal_loss`, but with the mean of the squared map outside.

    ``outside = sum (1 - t) m^2 / sum (1 - t)``, in [0, 1], averaged over its own region.
    """
    valid = _valid_frames(cam, target)
    inside = _region_mean((1 - cam).square(), target)
    outside = _region_mean(cam.square(), 1 - target)
    return _mean_over_valid(inside, outside, valid)


def energy_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """Energy: ``1 - sum t m / sum m`` (Rao et al., ICCV 2023, arXiv 2303.11932). The whole loss counts as outside part.

    A map that is zero everywhere has no energy inside: its loss is 1, with a gradient of 0 at the map's ReLU.
    """
    valid = _valid_frames(cam, target)
    outside = _share_outside(cam, target)
    return _mean_over_valid(torch.zeros_like(outside), outside, valid)


def l1_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """L1: ``mean |m - t|`` over the frame (GRADIA, Gao et al. 2022)."""
    valid = _valid_frames(cam, target)
    return _split_frame_mean((cam - target).abs(), target, valid)


def mse_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """Squared error: ``mean (m - t)^2`` over the frame, as in segmentation-guided attention."""
    valid = _valid_frames(cam, target)
    return _split_frame_mean((cam - target).square(), target, valid)


def ppce_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """PPCE: cross-entropy of the map against 1, inside the target only (HAICS, Shen et al. 2021).

    ``sum t (-log m') / sum t`` with ``m' = (m + f) / (1 + f)`` and ``f =`` :data:`PPCE_FLOOR`, our
    addition: without it the gradient is unbounded where the map is 0. Attention outside the target is not penalized.
    """
    valid = _valid_frames(cam, target)
    inside = _region_mean(-torch.log((cam + PPCE_FLOOR) / (1 + PPCE_FLOOR)), target)
    return _mean_over_valid(inside, torch.zeros_like(inside), valid)


def rrr_loss(cam: Tensor, target: Tensor) -> CamalLoss:
    """RRR-style: ``sum (1 - t) m^2``, in [0, h w] (Ross et al. 2017, arXiv 1703.03717).

    It is a sum, not a mean, so it grows with the grid. Missing attention inside the target is not penalized.
    """
    valid = _valid_frames(cam, target)
    outside = ((1 - target) * cam.square()).sum(dim=(-2, -1))
    return _mean_over_valid(torch.zeros_like(outside), outside, valid)


LOSSES: Registry[AttentionLoss] = Registry(
    "attention loss",
    {
        "camal": camal_loss,
        "camal_square": camal_square_loss,
        "energy": energy_loss,
        "l1": l1_loss,
        "ppce": ppce_loss,
        "rrr": rrr_loss,
        "mse": mse_loss,
    },
    "camal_rl.losses",
)
"""Losses by name; :func:`register_loss` adds to them."""
_SHIPPED = tuple(LOSSES.values())


def register_loss(name: str) -> Callable[[Loss], Loss]:
    """Register a function as an attention loss that configurations can select by name; a decorator.

    Args:
        name: as in ``camal.loss: NAME`` and ``--methods ppo,NAME``.

    Example:
        >>> from camal_rl.losses import CamalLoss, register_loss
        >>> @register_loss("largest_outside")
        ... def largest_outside(cam, target):
        ...     valid = (target.sum(dim=(-2, -1)) > 0).float()
        ...     outside = (((1 - target) * cam).amax(dim=(-2, -1)) * valid).sum() / valid.sum().clamp_min(1)
        ...     return CamalLoss(outside, torch.zeros_like(outside), outside, valid.mean())
    """
    return cast(Callable[[Loss], Loss], LOSSES.register(name))


def attention_loss(name: str) -> AttentionLoss:
    """Return the loss of that name, or the loss at a path ``package.module:name``.

    A user's loss may be limited to maps ``(B, h, w)``; the returned function also accepts ``(K, B, h, w)``. The loss is
    checked once on two small frames.

    Raises:
        ValueError: the name is unknown, with the nearest known name and a list in the message; or the loss does not
            meet the requirements.
    """
    loss = LOSSES.find(name)
    if any(loss is shipped for shipped in _SHIPPED):
        return loss
    known = _custom_losses.get(name)
    if known is None or known[0] is not loss:
        _check_loss(loss, name)
        known = _custom_losses[name] = (loss, _of_each_map(loss))
    return known[1]


_custom_losses: dict[str, tuple[AttentionLoss, AttentionLoss]] = {}
"""Checked losses of users by name: the original, and the function that :func:`attention_loss` returns."""


def _of_each_map(loss: AttentionLoss) -> AttentionLoss:
    """Return a version of ``loss`` that accepts several maps per frame."""

    def of_each_map(cam: Tensor, target: Tensor) -> CamalLoss:
        if cam.dim() == 3:
            return loss(cam, target)
        found = [loss(each, target) for each in cam]
        total, inside, outside = (
            torch.stack([getattr(each, part) for each in found]) for part in ("total", "inside", "outside")
        )
        return CamalLoss(total, inside, outside, found[0].valid_fraction)

    return of_each_map


def _check_loss(loss: AttentionLoss, name: str) -> None:
    """Check a loss on a frame with a target and on one without; the maps are neither perfect nor zero."""
    asked = f"the attention loss {name!r} must take maps and targets (B, h, w) and return a CamalLoss of finite scalars"
    if not callable(loss) or isinstance(loss, type):
        raise ValueError(f"{asked}; got {loss!r}, which is not a function")
    cam = torch.tensor([[[0.9, 0.2, 0.1], [0.4, 0.3, 0.6]]]).repeat(2, 1, 1).requires_grad_()
    target = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0] * 3] * 2])
    try:
        found = loss(cam, target)
    except Exception as error:  # a user's loss may raise anything
        raise ValueError(f"{asked}; on two frames of 2x3 cells it raised {type(error).__name__}: {error}") from error
    if not isinstance(found, CamalLoss):
        raise ValueError(f"{asked}; it returned {type(found).__name__}")
    for part in (each.name for each in fields(CamalLoss)):
        value = getattr(found, part)
        if not isinstance(value, Tensor) or value.dim() != 0:
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise ValueError(f"{asked}; its {part} is a {type(value).__name__}{shape}")
        if not bool(torch.isfinite(value)):
            raise ValueError(
                f"{asked}; its {part} is {value.item()} on a frame with a target and one without, which must not count"
            )
    if not torch.isclose(found.total, found.inside + found.outside, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"{asked}; its total is {found.total.item():g} and not inside + outside = "
            f"{(found.inside + found.outside).item():g}, the two parts that training adds up (inside may be 0)"
        )
    if not (found.inside + found.outside).requires_grad:
        raise ValueError(f"{asked}; no gradient flows from it to the maps, so it cannot be trained")


def _valid_frames(cam: Tensor, target: Tensor) -> Tensor:
    """Check types and shapes and return which targets are not empty, ``bool (B,)``."""
    for name, tensor in (("cam", cam), ("target", target)):
        if not tensor.is_floating_point():
            remedy = "; camal_rl.targets.target_tensor converts a stored mask" if name == "target" else ""
            raise TypeError(f"{name} must be floating point in [0, 1], got {tensor.dtype}{remedy}")
    if target.dim() != 3 or cam.dim() not in (3, 4) or cam.shape[-3:] != target.shape:
        raise ValueError(
            "cam and target must have the same shape (B, h, w), or (K, B, h, w) for several maps in cam, got "
            f"{tuple(cam.shape)} and {tuple(target.shape)}; compute the target on the map's grid"
        )
    return target.sum(dim=(-2, -1)) > 0


def _region_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean ``(..., B)`` of ``values (..., B, h, w)``; 0 where the weights are all 0."""
    area = weight.sum(dim=(-2, -1))
    return (values * weight).sum(dim=(-2, -1)) / area.masked_fill(area <= 0, 1)


def _share_outside(cam: Tensor, target: Tensor) -> Tensor:
    """Return ``1 - sum t m / sum m``, the share ``(..., B)`` of the attention outside; 1 where the map is all zero."""
    energy = cam.sum(dim=(-2, -1))
    return 1 - (cam * target).sum(dim=(-2, -1)) / energy.masked_fill(energy == 0, 1)


def _split_frame_mean(values: Tensor, target: Tensor, valid: Tensor) -> CamalLoss:
    """Return the mean over the whole frame, split into the contributions of the target and of the rest."""
    inside = (target * values).mean(dim=(-2, -1))
    outside = ((1 - target) * values).mean(dim=(-2, -1))
    return _mean_over_valid(inside, outside, valid)


def _mean_over_valid(inside: Tensor, outside: Tensor, valid: Tensor) -> CamalLoss:
    """Average the frames' parts ``(..., B)`` over the valid frames."""
    weight = valid.to(inside.dtype)
    number = weight.sum()
    count = number.clamp_min(1)
    inside_mean = (inside * weight).sum(dim=-1) / count
    outside_mean = (outside * weight).sum(dim=-1) / count
    return CamalLoss(inside_mean + outside_mean, inside_mean, outside_mean, number / max(len(weight), 1))

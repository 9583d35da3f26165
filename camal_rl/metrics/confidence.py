"""Average drop and increase in confidence: what a model recognizes if it sees only the marked pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from camal_rl.attention import normalize_cam


def explanation_images(images: Tensor, saliency: Tensor) -> Tensor:
    """Return each image times its map: the explanation map of ADCC (Poppi et al. 2021, arXiv 2104.10252).

    The map is first divided by its own maximum (:func:`camal_rl.attention.normalize_cam`), so that the image is
    unchanged at the map's peak and black where the map is 0 (the value 0, which is the mean color of standardized
    images). A map of ones changes nothing and thus has the best possible average drop: compare with controls.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``, non-negative.

    Returns:
        ``(N, C, H, W)`` of the images' dtype.
    """
    weight = normalize_cam(saliency).unsqueeze(1).to(images.device)
    if images.is_floating_point():
        return images * weight.to(images.dtype)
    return (images * weight).round().to(images.dtype)


def average_drop(before: Tensor, after: Tensor) -> Tensor:
    """Return ``max(0, before - after) / before``, Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063).

    The paper reports the mean over the images in per cent; here each image has its own value in [0, 1].

    Args:
        before: ``(N,)``, probability of the class for the image.
        after: ``(N,)``, probability of the same class for the image's explanation map.

    Returns:
        ``(N,)`` in [0, 1], lower is better; NaN where ``before`` is not positive.
    """
    _check(before, after)
    return torch.where(before > 0, (before - after).clamp_min(0) / before, torch.nan)


def increase_in_confidence(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 where ``after > before`` and 0 elsewhere, ``(N,)``; arguments, source and NaN as in ``average_drop``."""
    _check(before, after)
    defined = (before > 0) & ~after.isnan()
    return torch.where(defined, (after > before).to(before.dtype), torch.nan)


def _check(before: Tensor, after: Tensor) -> None:
    if before.dim() != 1 or before.shape != after.shape:
        raise ValueError(f"before and after must both be (N,), got {tuple(before.shape)} and {tuple(after.shape)}")

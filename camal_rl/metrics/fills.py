"""Fills: the values that replace removed pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from camal_rl.metrics.road import impute

Fill = Literal["mean", "blur", "zero", "road"]
FILLS: tuple[str, ...] = get_args(Fill)


def fill_images(images: Tensor, kind: Fill = "mean") -> Tensor:
    """Return fill images, for the fills that do not depend on which pixels are removed.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        kind: ``"mean"``: each image's own mean color (not that of the set, so that results do not depend on other
            images); ``"blur"``: the image blurred by a Gaussian of ``min(H, W) / 8`` pixels, mirrored at the border;
            ``"zero"``: black.

    Returns:
        ``(N, C, H, W)`` of the images' dtype.
    """
    check_images(images)
    _check_fill(kind)
    if kind == "road":
        raise ValueError("the fill 'road' depends on which pixels are removed; use remove_pixels")
    if kind == "zero":
        return torch.zeros_like(images)
    real = images if images.is_floating_point() else images.float()
    filled = real.mean(dim=(2, 3), keepdim=True).expand_as(real) if kind == "mean" else _blur(real)
    return filled.clone() if images.is_floating_point() else filled.round().to(images.dtype)


def remove_pixels(
    images: Tensor, removed: Tensor, fill: Fill = "mean", generator: torch.Generator | None = None
) -> Tensor:
    """Return images with all channels of the removed pixels replaced.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        removed: ``bool (N, H, W)``.
        fill: as in :func:`fill_images`, or ``"road"``: :func:`camal_rl.metrics.road.impute`.
        generator: source of ROAD's noise; ``None`` means a new CPU generator with seed 0.

    Returns:
        ``(N, C, H, W)`` of the images' dtype.
    """
    check_images(images)
    _check_fill(fill)
    if removed.dtype != torch.bool:
        raise TypeError(f"removed must be bool, got {removed.dtype}")
    if removed.shape != (len(images), *images.shape[2:]):
        raise ValueError(f"removed must be (N, H, W) of images {tuple(images.shape)}, got {tuple(removed.shape)}")
    noise = imputation_noise(images, fill, generator or torch.Generator().manual_seed(0))
    return pixel_remover(images, fill, noise)(removed)


def imputation_noise(images: Tensor, fill: Fill, generator: torch.Generator) -> Tensor | None:
    """Return the noise ``(N, C, H, W)`` of a fill, on the images' device; ``None`` if it uses none.

    It is drawn once for all images, so that neither chunks nor the removed fraction change it.
    """
    if fill != "road":
        return None
    return torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)


def pixel_remover(images: Tensor, fill: Fill, noise: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return a function that turns ``removed``, ``bool (N, H, W)``, into the images without these pixels.

    A fill that does not depend on ``removed`` is computed once, not once per call.
    """
    if noise is not None:
        return lambda removed: impute(images, removed, noise)
    filled = fill_images(images, fill)
    return lambda removed: torch.where(removed.unsqueeze(1), filled, images)


def check_images(images: Tensor) -> None:
    """Raise unless images are ``(N, C, H, W)``, uint8 or floating point."""
    if images.dim() != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")


def _check_fill(kind: str) -> None:
    if kind not in FILLS:
        raise ValueError(f"unknown fill {kind!r}; choose one of {', '.join(FILLS)}")


def _blur(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    sigma = min(height, width) / 8
    radius = min(math.ceil(3 * sigma), min(height, width) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = kernel / kernel.sum()
    flat = images.reshape(-1, 1, height, width)
    padded = functional.pad(flat, (radius,) * 4, mode="reflect")
    blurred = functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return blurred.view_as(images)

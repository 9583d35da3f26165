"""Remove or show the most attended pixels of images, and record what a model answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from camal_rl.attention import nonfinite_maps

Fill = Literal["mean", "blur", "zero"]
PerturbationMode = Literal["deletion", "insertion"]
FILLS: tuple[str, ...] = get_args(Fill)
MODES: tuple[str, ...] = get_args(PerturbationMode)
FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


def fill_images(images: Tensor, kind: Fill = "mean") -> Tensor:
    """Return what removed pixels are replaced by.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        kind: ``"mean"``: each image's own mean colour (of that image alone, not of the set, so that a
            result does not depend on its neighbours); ``"blur"``: the image under a Gaussian of ``min(H, W)
            / 8`` pixels, mirrored at the border; ``"zero"``: black.

    Returns:
        ``(N, C, H, W)`` of the images' dtype.
    """
    _check_images(images)
    if kind not in FILLS:
        raise ValueError(f"unknown fill {kind!r}; choose one of {', '.join(FILLS)}")
    if kind == "zero":
        return torch.zeros_like(images)
    real = images if images.is_floating_point() else images.float()
    filled = real.mean(dim=(2, 3), keepdim=True).expand_as(real) if kind == "mean" else _blur(real)
    return filled.clone() if images.is_floating_point() else filled.round().to(images.dtype)


def perturbation_curve(
    images: Tensor,
    saliency: Tensor,
    evaluate: Callable[[Tensor], Tensor],
    mode: PerturbationMode = "deletion",
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "mean",
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a model's outputs while pixels are removed (or shown), most salient first.

    Deletion starts from the image and replaces the given fraction of its pixels by the fill; insertion
    starts from the fill and shows the given fraction of the image's pixels. Equally salient pixels are
    taken in random order: otherwise a constant map would be ranked by pixel index, from the top left
    corner. A frame whose saliency holds a NaN or an infinite value has no ranking: its outputs are NaN.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``; enlarge coarse maps with :func:`camal_rl.attention.upsample_cam`.
        evaluate: takes ``(n, C, H, W)`` of the images' dtype, returns ``(n, K)``: probabilities, values, ...
        mode: ``"deletion"`` or ``"insertion"``.
        fractions: F shares of the pixels, each in [0, 1].
        fill: see :func:`fill_images`.
        chunk_size: largest number of images given to ``evaluate`` at once; does not change the result.
        generator: orders equally salient pixels; ``None`` means a new CPU generator with seed 0.

    Returns:
        ``(F, N, K)``.

    Raises:
        TypeError: images that are neither uint8 nor floating point.
        ValueError: wrong shapes, fractions outside [0, 1], or an unknown mode or fill.
    """
    _check_curve(images, saliency, mode, fractions, chunk_size)
    rank = _ranks(saliency, generator or torch.Generator().manual_seed(0)).to(images.device)
    counts = [round(fraction * rank[0].numel()) for fraction in fractions]
    curves = []
    with torch.no_grad():
        for image, place in zip(images.split(chunk_size), rank.split(chunk_size), strict=True):
            filled = fill_images(image, fill)
            before, after = (image, filled) if mode == "deletion" else (filled, image)
            perturbed = (torch.where((place < count).unsqueeze(1), after, before) for count in counts)
            curves.append(torch.stack([_evaluated(evaluate, batch) for batch in perturbed]))
    curve = torch.cat(curves, dim=1)
    unranked = nonfinite_maps(saliency).to(curve.device)
    return torch.where(unranked[None, :, None], torch.nan, curve)


def _ranks(saliency: Tensor, generator: torch.Generator) -> Tensor:
    """Return each pixel's place ``(N, H, W)`` by decreasing saliency, 0 first, equal ones in random order."""
    flat = saliency.detach().flatten(1)
    noise = torch.rand(flat.shape, generator=generator, device=generator.device)
    shuffle = noise.argsort(dim=1).to(flat.device)
    order = shuffle.gather(1, flat.gather(1, shuffle).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(saliency.shape)


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


def _evaluated(evaluate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    output = evaluate(images)
    if output.dim() != 2 or len(output) != len(images):
        raise ValueError(f"evaluate must return ({len(images)}, K), got shape {tuple(output.shape)}")
    if not output.is_floating_point():
        raise TypeError(f"evaluate must return floating point numbers, got {output.dtype}")
    return output


def _check_images(images: Tensor) -> None:
    if images.dim() != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")


def _check_curve(images: Tensor, saliency: Tensor, mode: str, fractions: Sequence[float], chunk_size: int) -> None:
    _check_images(images)
    expected = (images.shape[0], *images.shape[2:])
    if tuple(saliency.shape) != expected:
        raise ValueError(
            f"saliency must be (N, H, W) = {expected}, got {tuple(saliency.shape)}; enlarge coarse maps with "
            "camal_rl.attention.upsample_cam"
        )
    if len(images) == 0:
        raise ValueError("at least one image is needed, got none")
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must be one or more numbers in [0, 1], got {tuple(fractions)}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")

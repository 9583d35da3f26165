"""Removes or shows the most (or least) attended pixels of images, and records a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps
from camal_rl.metrics.fills import Fill, check_images, imputation_noise, pixel_remover

PerturbationMode = Literal["deletion", "insertion"]
PixelOrder = Literal["morf", "lerf"]
MODES: tuple[str, ...] = get_args(PerturbationMode)
ORDERS: tuple[str, ...] = get_args(PixelOrder)
FRAMES_PER_CHUNK = 64
"""Number of frames for which orders and subsets of pixels are drawn at once, which bounds the memory."""

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)

Evaluate = Callable[[Tensor], Tensor]
"""Turns images ``(n, C, H, W)`` into outputs ``(n, K)``: probabilities, values, ..."""


def perturbation_curve(
    images: Tensor,
    saliency: Tensor,
    evaluate: Evaluate,
    mode: PerturbationMode = "deletion",
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "mean",
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
    order: PixelOrder = "morf",
) -> Tensor:
    """Return a model's outputs while pixels are removed (or shown), by default most salient first.

    Deletion starts from the image and replaces the given fraction of its pixels by the fill; insertion
    starts from the fill and shows the given fraction of the image's pixels. Equally salient pixels are
    taken in random order: otherwise a constant map would be ranked by pixel index, from the top left
    corner. A frame whose saliency contains a NaN or an infinite value has no ranking: its outputs are NaN. Deletion in
    one order equals insertion in the reverse order, read backwards: removing the fraction f of the least salient pixels
    shows the fraction 1 - f of the most salient.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``; enlarge coarse maps with :func:`camal_rl.attention.upsample_cam`.
        evaluate: takes ``(n, C, H, W)`` of the images' dtype, returns ``(n, K)``: probabilities, values, ...
        mode: ``"deletion"`` or ``"insertion"``.
        fractions: F shares of the pixels, each in [0, 1].
        fill: see :func:`camal_rl.metrics.fills.remove_pixels`.
        chunk_size: largest number of images given to ``evaluate`` at once; does not change the result.
        generator: source of the order of equally salient pixels and of ROAD's noise; ``None`` means a new CPU generator
            with seed 0.
        order: ``"morf"``: most relevant first; ``"lerf"``: least relevant first.

    Returns:
        ``(F, N, K)``.

    Raises:
        TypeError: images that are neither uint8 nor floating point.
        ValueError: wrong shapes, fractions outside [0, 1], or an unknown mode, order or fill.
    """
    check_perturbation(images, saliency, fractions, chunk_size)
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}; choose one of {', '.join(ORDERS)}")
    source = generator or torch.Generator().manual_seed(0)
    place = saliency_ranks(saliency, source).to(images.device)
    pixels = place[0].numel()
    ranges = [removed_ranks(mode, order, round(fraction * pixels), pixels) for fraction in fractions]
    noise = imputation_noise(images, fill, source)
    curve = outputs_without(images, lambda frames: rank_masks(place[frames], ranges), evaluate, fill, noise, chunk_size)
    unranked = nonfinite_maps(saliency).to(curve.device)
    return torch.where(unranked[None, :, None], torch.nan, curve)


def saliency_ranks(saliency: Tensor, generator: torch.Generator) -> Tensor:
    """Return each pixel's rank ``int32 (N, H, W)`` by decreasing saliency, from 0; ties are in random order."""
    return torch.cat([_ranks(part, generator) for part in saliency.detach().split(FRAMES_PER_CHUNK)])


def _ranks(saliency: Tensor, generator: torch.Generator) -> Tensor:
    flat = saliency.flatten(1)
    noise = torch.rand(flat.shape, generator=generator, device=generator.device)
    shuffle = noise.argsort(dim=1).to(flat.device)
    order = shuffle.gather(1, flat.gather(1, shuffle).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(flat.shape[1], device=flat.device, dtype=torch.int32).expand_as(order)
    return (
        torch.empty(order.shape, dtype=torch.int32, device=flat.device).scatter_(1, order, places).view(saliency.shape)
    )


def removed_ranks(mode: PerturbationMode, order: PixelOrder, count: int, pixels: int) -> tuple[int, int]:
    """Return the range of ranks (end exclusive) that is removed when ``count`` of ``pixels`` are changed.

    Equal images have equal ranges: if nothing is removed, it is always ``(0, 0)``.
    """
    removed = count if mode == "deletion" else pixels - count
    if removed == 0:
        return 0, 0
    from_the_top = (mode == "deletion") == (order == "morf")
    return (0, removed) if from_the_top else (pixels - removed, pixels)


def rank_masks(place: Tensor, ranges: Sequence[tuple[int, int]]) -> Iterable[Tensor]:
    """Yield the removed pixels, ``bool (n, H, W)``, of each range of ranks."""
    return ((place >= first) & (place < last) for first, last in ranges)


def outputs_without(
    images: Tensor,
    removals: Callable[[slice], Iterable[Tensor]],
    evaluate: Evaluate,
    fill: Fill,
    noise: Tensor | None,
    chunk_size: int,
) -> Tensor:
    """Return the outputs ``(P, N, K)`` for the images with each of P sets of pixels removed.

    Args:
        images: ``(N, C, H, W)``.
        removals: returns the P masks ``bool (n, H, W)`` of removed pixels for a slice of the frames.
        evaluate: as in :func:`perturbation_curve`.
        fill: as in :func:`perturbation_curve`.
        noise: from :func:`camal_rl.metrics.fills.imputation_noise`.
        chunk_size: largest number of images given to ``evaluate`` at once.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), chunk_size):
            frames = slice(start, start + chunk_size)
            remove = pixel_remover(images[frames], fill, None if noise is None else noise[frames])
            parts.append(torch.stack([checked_outputs(evaluate, remove(removed)) for removed in removals(frames)]))
    return torch.cat(parts, dim=1)


def checked_outputs(evaluate: Evaluate, images: Tensor) -> Tensor:
    """Return ``evaluate(images)`` after checking that it is floating point ``(n, K)``."""
    output = evaluate(images)
    if output.dim() != 2 or len(output) != len(images):
        raise ValueError(f"evaluate must return ({len(images)}, K), got shape {tuple(output.shape)}")
    if not output.is_floating_point():
        raise TypeError(f"evaluate must return floating point numbers, got {output.dtype}")
    return output


def check_perturbation(images: Tensor, saliency: Tensor, fractions: Sequence[float], chunk_size: int) -> None:
    """Raise unless images and saliency match, fractions are in [0, 1] and the chunk size is at least 1."""
    check_images(images)
    expected = (images.shape[0], *images.shape[2:])
    if tuple(saliency.shape) != expected:
        raise ValueError(
            f"saliency must be (N, H, W) = {expected}, got {tuple(saliency.shape)}; enlarge coarse maps with "
            "camal_rl.attention.upsample_cam"
        )
    if len(images) == 0:
        raise ValueError("at least one image is needed, got none")
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must be one or more numbers in [0, 1], got {tuple(fractions)}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")

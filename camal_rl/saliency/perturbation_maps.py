"""Perturbation map: where covering the image changes a model's decision. No method is trained on it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camal_rl.metrics import fill_images
from camal_rl.metrics.changes import Change
from camal_rl.saliency.attribution import Baseline, check_score_input

WINDOW = 8
STRIDE = 4


def window_for(images: Tensor) -> tuple[int, int]:
    """Return window and stride for images ``(N, C, H, W)``: an eighth of the smaller side, and half of that."""
    window = max(1, min(images.shape[2:]) // 8)
    return window, max(1, window // 2)


def perturbation_map(
    images: Tensor,
    evaluate: Callable[[Tensor], Tensor],
    change: Change,
    window: int = WINDOW,
    stride: int = STRIDE,
    fill: Baseline = "mean",
    chunk_size: int = 256,
) -> Tensor:
    """Return the mean change of the decision when a square window over a pixel is covered.

    With ``W(p)`` the windows that cover pixel ``p``, and ``x_w`` the image whose pixels in ``w`` are replaced by
    the fill::

        map(p) = mean over w in W(p) of max(0, change(f(x), f(x_w)))

    Occlusion after Zeiler and Fergus 2014, arXiv 1311.2901, with a change of the whole decision (a divergence, a
    magnitude) instead of a drop of one score; this combination is ours. A negative change (the probability of the
    preferred action rises) counts as 0. Nothing is differentiated, so the map does not depend on gradients, on layers,
    or on the maps that a method was trained on.

    Windows start at every multiple of ``stride``; the last windows are moved back to end at the border, so that all
    have full size and every pixel is covered. A NaN change makes every pixel of its window NaN.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        evaluate: takes ``(n, C, H, W)`` of the images' dtype, returns ``(n, K)``: action probabilities or values.
        change: such as :func:`camal_rl.metrics.policy_divergence`, :func:`camal_rl.metrics.preferred_action_drop` or
            :func:`camal_rl.metrics.value_change` (whose unit is the spread over all N images).
        window: side of the square in pixels.
        stride: pixels between neighboring windows, at most ``window``.
        fill: see :func:`camal_rl.metrics.fill_images`.
        chunk_size: largest number of images given to ``evaluate`` at once; does not change the result.

    Returns:
        ``(N, H, W)``, non-negative, not normalized, on the images' device.

    Raises:
        TypeError: images that are neither uint8 nor floating point, or outputs that are not floating point.
        ValueError: wrong shapes, an unknown fill, no image, or windows that do not fit.
    """
    _check(images, window, stride, chunk_size)
    height, width = images.shape[2:]
    corners = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    with torch.no_grad():
        reference = torch.cat([_outputs(evaluate, part, 1)[0] for part in images.split(chunk_size)])
        at_once = max(1, chunk_size // len(images))
        filled = torch.cat([fill_images(part, fill) for part in images.split(chunk_size)])
        groups = (corners[start : start + at_once] for start in range(0, len(corners), at_once))
        total = torch.zeros(len(images), height, width, dtype=reference.dtype, device=images.device)
        covered = torch.zeros(height, width, dtype=reference.dtype, device=images.device)
        for group in groups:
            chunks = zip(images.split(chunk_size), filled.split(chunk_size), strict=True)
            parts = [_outputs(evaluate, _covered(*chunk, group, window), len(group)) for chunk in chunks]
            effects = change(reference, torch.cat(parts, dim=1)).clamp_min(0).to(images.device)
            for (top, left), effect in zip(group, effects, strict=True):
                total[:, top : top + window, left : left + window] += effect[:, None, None]
                covered[top : top + window, left : left + window] += 1
    return total / covered


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Return where windows start along an axis; the last one ends at the border."""
    last = size - window
    return sorted({*range(0, last + 1, stride), last})


def _covered(images: Tensor, filled: Tensor, corners: list[tuple[int, int]], window: int) -> Tensor:
    """Return n images under each of F windows, ``(F * n, C, H, W)``, window by window."""
    batch = images.repeat(len(corners), 1, 1, 1)
    for (top, left), copy in zip(corners, batch.split(len(images)), strict=True):
        rows, columns = slice(top, top + window), slice(left, left + window)
        copy[:, :, rows, columns] = filled[:, :, rows, columns]
    return batch


def _outputs(evaluate: Callable[[Tensor], Tensor], batch: Tensor, windows: int) -> Tensor:
    """Return the outputs ``(F, n, K)`` for images ``(F * n, C, H, W)``."""
    output = evaluate(batch)
    if output.dim() != 2 or len(output) != len(batch):
        raise ValueError(f"evaluate must return ({len(batch)}, K), got shape {tuple(output.shape)}")
    if not output.is_floating_point():
        raise TypeError(f"evaluate must return floating point numbers, got {output.dtype}")
    return output.view(windows, -1, output.shape[1])


def _check(images: Tensor, window: int, stride: int, chunk_size: int) -> None:
    check_score_input(images, (), chunk_size)
    if not 1 <= window <= min(images.shape[2:]):
        raise ValueError(f"window must be in 1 .. {min(images.shape[2:])}, the images' smaller side, got {window}")
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be in 1 .. {window}, the window, or some pixels would be skipped; got {stride}")

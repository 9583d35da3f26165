"""Attributions of a score to pixels by Captum: maps for evaluation, on which no method is trained."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from camal_rl.extras import install_command
from camal_rl.metrics import fill_images

Baseline = Literal["mean", "blur", "zero"]
CaptumMethod = Literal["integrated_gradients", "occlusion"]
CAPTUM_METHODS: tuple[str, ...] = get_args(CaptumMethod)

Score = Callable[..., Tensor]
"""``score(images (n, C, H, W), *context) -> (n,)``: one number per image; differentiable in floating point images."""


def captum_map(
    method: CaptumMethod,
    score: Score,
    images: Tensor,
    context: Sequence[Tensor] = (),
    baseline: Baseline = "mean",
    steps: int = 50,
    window: int = 8,
    stride: int = 4,
    chunk_size: int = 64,
) -> Tensor:
    """Return the magnitude of each pixel's attribution, ``sum over channels of |attribution|``.

    * integrated_gradients: Sundararajan et al. 2017, arXiv 1703.01365, eq. 1, by Gauss-Legendre quadrature with
      ``steps`` points between baseline and image. Before magnitudes are taken, an image's attributions add up to
      ``score(image) - score(baseline)``. A pixel that looks like its baseline gets 0.
    * occlusion: Zeiler and Fergus 2014, arXiv 1311.2901: ``score(image) - score(image under the baseline in a
      square window)``, averaged over the windows that cover a pixel (cut off at the border), all channels at once.

    Args:
        method: one of :data:`CAPTUM_METHODS`.
        score: see :data:`Score`; called with images in floating point on their original scale (uint8 becomes 0 .. 255;
            Stable-Baselines3 policies divide by 255 themselves).
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        context: further inputs of ``score``, tensors with one row per image, such as the actions to explain. They are
            repeated along with their images, so that the action chosen for the image stays fixed while the image is
            perturbed.
        baseline: the value of an absent pixel, see :func:`camal_rl.metrics.fill_images`. By default the image's mean
            color; with black, dark pixels could never matter.
        steps: number of points of the integral, for integrated_gradients.
        window: side of the square in pixels, for occlusion.
        stride: pixels between neighboring windows, at most ``window``, for occlusion.
        chunk_size: largest number of images given to ``score`` at once; does not change the result.

    Returns:
        ``(N, H, W)``, non-negative, not normalized, detached, on the images' device. NaN or infinite attributions are
        kept.

    Raises:
        ImportError: Captum is not installed.
        TypeError: images that are neither uint8 nor floating point.
        ValueError: wrong shapes, an unknown method or baseline, no image, or numbers out of range.
    """
    check_score_input(images, context, chunk_size)
    _check_options(method, images, steps, window, stride)
    attr = _captum()
    parts = []
    for real, rest in score_chunks(images, context, chunk_size):
        arguments: dict[str, Any] = {
            "inputs": real,
            "baselines": fill_images(real, baseline),
            "additional_forward_args": rest or None,
        }
        if method == "integrated_gradients":
            arguments.update(n_steps=steps, internal_batch_size=chunk_size)
            attribution = attr.IntegratedGradients(checked_score(score)).attribute(**arguments)
        else:
            square = (images.shape[1], window, window)
            arguments.update(sliding_window_shapes=square, strides=(images.shape[1], stride, stride))
            arguments["perturbations_per_eval"] = chunk_size // len(real)
            attribution = attr.Occlusion(checked_score(score)).attribute(**arguments)
        parts.append(attribution.detach().abs().sum(dim=1))
    return torch.cat(parts)


def checked_score(score: Score) -> Score:
    """Return the score with a check of its return value."""

    def with_check(images: Tensor, *context: Tensor) -> Tensor:
        scores = score(images, *context)
        if scores.shape != images.shape[:1]:
            raise ValueError(
                f"score must return one number per image, shape ({len(images)},), got {tuple(scores.shape)}; "
                "select one output per image first"
            )
        return scores

    return with_check


def score_chunks(
    images: Tensor, context: Sequence[Tensor], chunk_size: int
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Yield images, detached and in floating point (uint8 as 0 .. 255), with their rows of the context."""
    rows = [each.split(chunk_size) for each in context]
    for part, *rest in zip(images.split(chunk_size), *rows, strict=True):
        yield (part.detach() if part.is_floating_point() else part.float()), tuple(rest)


def check_score_input(images: Tensor, context: Sequence[Tensor], chunk_size: int) -> None:
    """Raise a TypeError or ValueError for invalid images, context or chunk size."""
    if images.dim() != 4 or len(images) == 0:
        raise ValueError(f"images must be (N, C, H, W) with at least one image, got shape {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")
    for tensor in context:
        if tensor.dim() == 0 or len(tensor) != len(images):
            raise ValueError(f"context needs one row per image ({len(images)}), got shape {tuple(tensor.shape)}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")


def _check_options(method: str, images: Tensor, steps: int, window: int, stride: int) -> None:
    if method not in CAPTUM_METHODS:
        raise ValueError(f"unknown attribution method {method!r}; choose one of {', '.join(CAPTUM_METHODS)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if method == "occlusion" and not 1 <= stride <= window <= min(images.shape[2:]):
        raise ValueError(
            f"occlusion needs 1 <= stride <= window <= {min(images.shape[2:])}, the images' smaller side; "
            f"got stride {stride} and window {window}"
        )


def _captum() -> Any:
    """Return ``captum.attr``, or raise an ImportError with the install line."""
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise ImportError(f"Captum is not installed; install it with: {install_command('explain')}") from error

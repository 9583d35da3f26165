"""Training batches: images, classes, and the masks on the grid of the model's maps."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from camal_rl.failures import check_fits_memory
from camal_rl.supervised.data.listing import listing_of
from camal_rl.supervised.data.samples import Batch, ImageSet, Sample, collate
from camal_rl.targets import Coverage, grid_target, marked_pixels


class TrainingBatch(NamedTuple):
    """The data of one training step.

    Attributes:
        images: ``uint8 (B, 3, H, W)``.
        labels: ``int64 (B,)``.
        targets: ``uint8 (B, h, w)``, all 0 for an image without a mask; ``None`` if no image has a mask, or if targets
            are not needed.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor | None


@dataclass(frozen=True)
class TrainingCollate:
    """Stacks samples for training; it can be pickled for worker processes.

    Attributes:
        grid: ``(h, w)`` of the maps; ``None`` omits the targets.
        coverage: see :func:`camal_rl.targets.grid_target`.
    """

    grid: tuple[int, int] | None
    coverage: Coverage = "any"

    def __call__(self, samples: Sequence[Sample]) -> TrainingBatch:
        """Return the batch of samples of one size."""
        batch = collate(samples)
        targets = None if self.grid is None else mask_targets(batch, self.grid, self.coverage)
        if targets is not None and not bool(targets.any()):
            targets = None
        return TrainingBatch(batch.images, batch.labels, targets)


def leave_signals_to_the_main_process(_: int) -> None:
    """Let processes that load images ignore Ctrl-C, which reaches them too: the current step needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def mask_targets(batch: Batch, grid: tuple[int, int], coverage: Coverage = "any") -> Tensor:
    """Return the masks of a batch on a grid, ``uint8 (B, h, w)`` in 0 .. 255; all 0 for an image without a mask."""
    if batch.masks.shape[-2:] != batch.images.shape[-2:]:
        raise ValueError(
            f"a mask must have its image's size {tuple(batch.images.shape[-2:])}, got {tuple(batch.masks.shape[-2:])}"
        )
    marked = (batch.masks & batch.has_mask[:, None, None]).numpy().astype(np.uint8)
    return torch.from_numpy(grid_target(marked, marked_pixels(), grid, coverage))


def evenly_spaced_indices(images: ImageSet, count: int) -> list[int]:
    """Return up to ``count`` indices, evenly spaced over a set, which may be sorted by class or group."""
    number = min(count, len(images))
    return np.linspace(0, len(images) - 1, number).round().astype(int).tolist() if number else []


def load_batch(images: ImageSet, indices: Sequence[int]) -> Batch:
    """Return the samples at ``indices`` as one batch."""
    return collate([images[index] for index in indices])


def to_unit_range(images: Tensor) -> Tensor:
    """Convert ``uint8`` images to the input of a model, floating point in [0, 1]."""
    return images.float() / 255


def check_training_set(images: ImageSet, needs_masks: bool) -> None:
    """Check that a set can be used for training.

    Raises:
        ValueError: the set is empty, an image or a mask has the wrong type or shape, or masks are needed but no image
            has one.
    """
    if len(images) == 0:
        raise ValueError("the training set is empty; it must contain at least one image")
    image, mask = images[0].image, images[0].mask
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(f"an image must be uint8 (3, H, W), got {image.dtype} of shape {tuple(image.shape)}")
    if mask.dtype != torch.bool or mask.shape != image.shape[1:]:
        raise ValueError(
            f"a mask must be bool and have its image's size {tuple(image.shape[1:])}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    if needs_masks and not listing_of(images).has_mask.any():
        raise ValueError("camal.weight above 0 needs masks, but no training image has one; add masks, or use weight 0")


def check_batch_size(images: ImageSet, batch_size: int) -> None:
    """Raise a ValueError if a batch of images, in floating point, is larger than the memory."""
    count, pixels = min(batch_size, len(images)), images[0].image.numel()
    check_fits_memory(f"a batch of {count:,} images", 4 * count * pixels, "lower optimization.batch_size")

"""The samples of image sets: an image, its class, and a mask of the relevant pixels if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from camal_rl.failures import RunFailure


class BadImageFile(RunFailure, ValueError):
    """A file of an image set turned out to be unusable when it was read; the message names it and a remedy."""


class UnusedDataWarning(UserWarning):
    """Some of the user's data is unused; the message names it in one line."""


class Sample(NamedTuple):
    """One image with its ground truth.

    Attributes:
        image: ``uint8 (3, H, W)``, RGB.
        label: index into :attr:`ImageSet.classes`.
        mask: ``bool (H, W)``, the pixels that decide the class; all False where ``has_mask`` is False.
        has_mask: whether the image has a mask. An image without a mask is only used for classification.
        group: index into :attr:`ImageSet.groups`.
    """

    image: Tensor
    label: int
    mask: Tensor
    has_mask: bool
    group: int


class Batch(NamedTuple):
    """Samples, stacked: ``uint8 (B, 3, H, W)``, ``int64 (B,)``, ``bool (B, H, W)``, ``bool (B,)``, ``int64 (B,)``."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    has_mask: Tensor
    groups: Tensor


class ImageSet(Protocol):
    """Images of fixed classes, as a map-style dataset for :class:`torch.utils.data.DataLoader`.

    ``groups`` names the subsets for which results are reported, ``("all",)`` if there is only one. For data with a
    spurious correlation these are the combinations of class and background.
    """

    classes: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index``, the same at every call."""


@runtime_checkable
class VariesByEpoch(Protocol):
    """An image set with newly drawn samples in every epoch, deterministic for each epoch and index."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the samples of another epoch."""


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size; the ``collate_fn`` of a data loader."""
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.tensor([sample.label for sample in samples]),
        torch.stack([sample.mask for sample in samples]),
        torch.tensor([sample.has_mask for sample in samples]),
        torch.tensor([sample.group for sample in samples]),
    )

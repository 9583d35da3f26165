"""The input of a network: images in [0, 1], checked and normalized."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PLAIN_MEAN = (0.5, 0.5, 0.5)
PLAIN_STD = (0.25, 0.25, 0.25)
"""For networks that are trained from scratch."""


class Normalize(nn.Module):
    """``(image - mean) / std`` per channel, for images ``(B, 3, H, W)`` in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = PLAIN_MEAN, std: Sequence[float] = PLAIN_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalized images.

        Raises:
            TypeError: the images are not floating point.
            ValueError: they are not ``(B, 3, H, W)``.
        """
        if not images.is_floating_point():
            raise TypeError(f"images must be floating point in [0, 1], got {images.dtype}; use images.float() / 255")
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W), got shape {tuple(images.shape)}")
        return (images - self.mean) / self.std

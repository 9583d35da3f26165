"""Embeds patches of pixels as tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_VARIANCE = 1e-3
"""Added to a patch's variance, so that steps of less than 2 of 255 gray levels are not amplified to full contrast (for
images of :class:`~camal_rl.supervised.ifam.images.Normalize`)."""


class PatchEmbedding(nn.Module):
    """Embeds pattern and color of each patch separately: ``t = W_2 GELU(W_1 z) + V mean``, with biases.

    ``z = (x - mean) / sqrt(var + SMALLEST_VARIANCE)``, with the mean of each channel over the patch and one variance
    for all channels. The pattern therefore does not depend on a patch's contrast and brightness; a linear embedding has
    to learn this from examples of every color. A patch of one color has ``z = 0``. A token depends only on the pixels
    of its own patch.
    """

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.pattern = nn.Sequential(
            nn.Linear(3 * patch_size**2, 2 * dim),
            nn.GELU(),
            nn.Linear(2 * dim, dim),
        )
        self.color = nn.Linear(3, dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens ``(B, h w, C)``, row by row, of normalized images ``(B, 3, H, W)``."""
        size = self.patch_size
        pixels = functional.unfold(images, size, stride=size).transpose(1, 2).unflatten(2, (3, size**2))
        mean = pixels.mean(dim=3)
        centered = pixels - mean.unsqueeze(3)
        variance = centered.square().mean(dim=(2, 3), keepdim=True)
        pattern = centered * torch.rsqrt(variance + SMALLEST_VARIANCE)
        tokens: Tensor = self.pattern(pattern.flatten(2)) + self.color(mean)
        return tokens

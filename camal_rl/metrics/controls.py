"""Control maps without information, with which the figures of any map must be compared."""

from __future__ import annotations

import torch
from torch import Tensor

from camal_rl.attention import upsample_cam


def random_saliency(shape: tuple[int, int, int], size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return random maps with the resolution of a class activation map: the control for perturbation figures.

    Independent noise per pixel would remove scattered pixels, while a coarse map removes blobs. A control should differ
    from the map only in the location of its attention.

    Args:
        shape: ``(N, h, w)`` of the class activation maps.
        size: ``(H, W)`` of the images; the random maps are upsampled to it like class activation maps.
        generator: source of randomness, whose device the result is on.

    Returns:
        ``(N, H, W)`` in [0, 1].
    """
    return upsample_cam(torch.rand(shape, generator=generator, device=generator.device), size)

"""Maps that know nothing: what any map's figures must be compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from camal_rl.attention import upsample_cam


def random_saliency(shape: tuple[int, int, int], size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return random maps as coarse as a class activation map: the control for perturbation figures.

    Independent noise per pixel would remove scattered single pixels, another kind of damage than the blobs
    that a coarse map removes; a control must differ from the map only in where it points.

    Args:
        shape: ``(N, h, w)`` of the class activation maps.
        size: ``(H, W)`` of the images; the random maps are enlarged to it just as class activation maps are.
        generator: source of randomness, whose device the result is on.

    Returns:
        ``(N, H, W)`` in [0, 1].
    """
    return upsample_cam(torch.rand(shape, generator=generator, device=generator.device), size)

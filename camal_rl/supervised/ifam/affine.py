"""Random affine transforms of images, and their inverse for maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_DEGREES = 90.0
MAX_SHIFT = 0.11
MIN_ZOOM = 0.8
MAX_ZOOM = 1.4
"""Largest rotation and shift (a fraction of the image) in each direction, and zoom, as in iFAM's released settings."""


def random_affine(count: int, image_size: tuple[int, int], generator: torch.Generator | None = None) -> Tensor:
    """Draw a rotation, a shift and a zoom for every image, uniformly.

    Args:
        count: number of transforms, B.
        image_size: ``(H, W)``, so that rotations do not shear images that are not square.
        generator: source of the random numbers; by default torch's default generator, as for dropout.

    Returns:
        ``(B, 2, 3)`` on the CPU: maps a position in the result to its position in the image, in coordinates of -1 to 1.
    """
    angle, shift_x, shift_y, zoom = torch.rand(4, count, generator=generator)
    angle = (2 * angle - 1) * math.radians(MAX_DEGREES)
    scale = 1 / (MIN_ZOOM + zoom * (MAX_ZOOM - MIN_ZOOM))
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    ratio = image_size[0] / image_size[1]
    # The coordinates of an image span 2, and the shift is a fraction of the image.
    shift = 2 * MAX_SHIFT * torch.stack([2 * shift_x - 1, 2 * shift_y - 1])
    rows = (torch.stack([cosine, -sine * ratio, shift[0]], dim=1), torch.stack([sine / ratio, cosine, shift[1]], dim=1))
    return torch.stack(rows, dim=1)


def warp(images: Tensor, affine: Tensor) -> Tensor:
    """Return ``images (B, C, H, W)`` transformed by ``affine (B, 2, 3)``, bilinear; 0 outside of the image."""
    grid = _grid(affine.to(images), images)
    return functional.grid_sample(images, grid, align_corners=False)


def warp_back(maps: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Undo :func:`warp` on maps of the transformed images.

    Args:
        maps: ``(B, C, h, w)``.
        affine: ``(B, 2, 3)``, the argument of :func:`warp`.

    Returns:
        The maps at their original positions, and ``bool (B, h, w)``, the cells that the transform kept in the image.
    """
    affine = affine.to(maps)
    linear = torch.linalg.inv(affine[:, :, :2])
    inverse = torch.cat([linear, -linear @ affine[:, :, 2:]], dim=2)
    grid = _grid(inverse, maps)
    return functional.grid_sample(maps, grid, padding_mode="border", align_corners=False), (grid.abs() <= 1).all(dim=3)


def _grid(affine: Tensor, images: Tensor) -> Tensor:
    return functional.affine_grid(affine, list(images.shape), align_corners=False)

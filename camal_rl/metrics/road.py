"""ROAD's noisy linear imputation: replaces removed pixels by values predicted from their neighbors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

NOISE = 0.01
"""Standard deviation of the noise, as a share of each image's range of values."""

_NEIGHBORS = ((0, 1, 1 / 6), (1, 0, 1 / 6), (1, 1, 1 / 12), (1, -1, 1 / 12))
"""Row offset, column offset and weight of four neighbors; the other four are opposite."""

_OUTSIDE, _KEPT = -2, -1


def impute(images: Tensor, removed: Tensor, noise: Tensor) -> Tensor:
    """Return images whose removed pixels carry no information beyond their surroundings.

    Every removed pixel equals the weighted mean of its eight neighbors (direct ones 1/6, diagonal ones 1/12),
    removed neighbors included: a linear system per image, the same for all channels. Added Gaussian noise keeps a model
    from recognizing imputed pixels by their smoothness. Source: Rong et al. 2022, arXiv 2202.00449, section
    on noisy linear imputation. Our own choices: at the border, the weights of the existing neighbors are scaled to a
    sum of 1; the noise is relative to the range of each image; an entirely removed image becomes its mean color,
    since no pixel is left to predict from.

    The system is symmetric, positive definite and banded: one Cholesky factorization on the CPU in float64,
    ``O(pixels * width^2)``.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        removed: ``bool (N, H, W)``.
        noise: ``(N, C, H, W)``, standard normal.

    Returns:
        ``(N, C, H, W)`` of the images' dtype; uint8 is rounded and clipped to 0 .. 255.
    """
    real = images.double()
    solved = real.cpu().numpy().copy()
    for image, mask in zip(solved, removed.cpu().numpy(), strict=True):
        _solve(image, mask)
    spread = real.amax(dim=(1, 2, 3), keepdim=True) - real.amin(dim=(1, 2, 3), keepdim=True)
    imputed = torch.from_numpy(solved).to(images.device) + NOISE * spread * noise.to(images.device)
    if not images.is_floating_point():
        imputed = imputed.round().clamp(0, 255)
    return torch.where(removed.unsqueeze(1), imputed.to(images.dtype), images)


def _solve(image: npt.NDArray[np.float64], removed: npt.NDArray[np.bool_]) -> None:
    """Write the solution, without noise, over the removed pixels ``(H, W)`` of an image ``(C, H, W)``."""
    if removed.all():
        image[:] = image.mean(axis=(1, 2), keepdims=True)
    elif removed.any():
        band, right = _system(image, removed)
        solution = solveh_banded(band, right, lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False)
        image[:, removed] = solution.T


def _system(
    image: npt.NDArray[np.float64], removed: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lower bands ``(K, n)`` and the right sides ``(n, C)`` of the system of n removed pixels.

    Row by row: (sum of the weights) x - sum of weight * removed neighbor = sum of weight * kept neighbor.
    Unknowns are numbered row by row, so the indices of neighbors differ by at most ``W + 1``.
    """
    unknown = np.arange(removed.sum())
    index = np.full((removed.shape[0] + 2, removed.shape[1] + 2), _OUTSIDE)
    index[1:-1, 1:-1] = _KEPT
    index[1:-1, 1:-1][removed] = unknown
    framed = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    rows, columns = np.nonzero(index >= 0)
    band = np.zeros((removed.shape[1] + 2, len(unknown)))
    right = np.zeros((len(unknown), len(image)))
    for row, column, weight in _NEIGHBORS:
        for sign in (1, -1):
            there = rows + sign * row, columns + sign * column
            neighbor = index[there]
            band[0] += weight * (neighbor != _OUTSIDE)
            kept = neighbor == _KEPT
            right[kept] += weight * framed[:, there[0][kept], there[1][kept]].T
            if sign == 1:
                linked = neighbor >= 0
                band[(neighbor - unknown)[linked], unknown[linked]] = -weight
    used = np.flatnonzero(band.any(axis=1))[-1] + 1
    return band[:used], right

"""Target regions on the grid of a class activation map, computed from label maps."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Coverage = Literal["any", "soft"]
COVERAGES: tuple[str, ...] = get_args(Coverage)


def grid_target(
    labels: npt.NDArray[np.uint8],
    relevant: npt.NDArray[np.bool_],
    grid: tuple[int, int],
    coverage: Coverage = "any",
) -> npt.NDArray[np.uint8]:
    """Return which cells of a map's grid contain relevant pixels.

    Cell ``i`` of ``h`` covers the pixel rows ``floor(i H / h)`` to ``ceil((i + 1) H / h)`` (exclusive),
    columns alike: cells share border pixels where the grid does not divide the image, as in adaptive
    pooling.

    Args:
        labels: label maps ``uint8 (N, H, W)``.
        relevant: ``bool (256,)``, whether a class id is relevant (``SegmentationSpec.relevant_lookup()``).
        grid: ``(h, w)`` of the class activation map.
        coverage: ``"any"``: 255 where any pixel of the cell is relevant, so that small objects do not vanish;
            ``"soft"``: the relevant share of the cell times 255, rounded, at least 1 where any pixel is
            relevant.

    Returns:
        ``uint8 (N, h, w)`` in 0 .. 255; :func:`target_tensor` converts it to [0, 1].

    Raises:
        TypeError: ``labels`` is not uint8 or ``relevant`` not bool.
        ValueError: wrong shapes, an image smaller than the grid, or an unknown coverage.
    """
    _check(labels, relevant, grid, coverage)
    if coverage == "any" and len(labels) and not (labels.shape[1] % grid[0] or labels.shape[2] % grid[1]):
        return _any_in_blocks(labels, relevant, grid)
    rows = _cell_matrix(labels.shape[1], grid[0])
    columns = _cell_matrix(labels.shape[2], grid[1])
    is_relevant = relevant.astype(np.float32).take(labels)
    # Two matrix products count each cell's relevant pixels; float32 is exact for counts below 2^24.
    counts = rows @ (is_relevant @ columns.T)
    if coverage == "any":
        return np.where(counts > 0, np.uint8(255), np.uint8(0))
    areas = np.outer(rows.sum(axis=1), columns.sum(axis=1))
    share = np.rint(255 * counts / areas)
    return np.where(counts > 0, np.maximum(share, 1), 0).astype(np.uint8)


def marked_pixels() -> npt.NDArray[np.bool_]:
    """Return the lookup ``bool (256,)`` of label maps that are masks: 1 is relevant."""
    return np.arange(256) == 1


def _any_in_blocks(
    labels: npt.NDArray[np.uint8], relevant: npt.NDArray[np.bool_], grid: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Return 255 where a block contains a relevant pixel, for blocks that divide the image."""
    count, height, width = labels.shape
    table = np.where(relevant, 255, 0).astype(np.uint8)
    shown = np.asarray(cv2.LUT(np.ascontiguousarray(labels).reshape(-1, width), table), dtype=np.uint8)
    # Adjacent bytes of a cell are compared as one integer.
    word = math.gcd(width // grid[1], 8)
    words = (shown.view(f"u{word}") != 0).view(np.uint8).reshape(count, grid[0], height // grid[0], width // word)
    joined = words[:, :, 0].copy()
    for row in range(1, words.shape[2]):
        np.bitwise_or(joined, words[:, :, row], out=joined)
    columns = joined.reshape(count, *grid, -1)
    blocks = columns[..., 0].copy()
    for column in range(1, columns.shape[3]):
        np.bitwise_or(blocks, columns[..., column], out=blocks)
    return blocks * np.uint8(255)


def target_tensor(target: Tensor) -> Tensor:
    """Convert a stored target, uint8 in 0 .. 255, to float32 in [0, 1], on its device."""
    if target.dtype != torch.uint8:
        raise TypeError(f"a stored target must be uint8 in 0 .. 255, got {target.dtype}")
    return target.float() / 255


@lru_cache(maxsize=32)
def _cell_matrix(size: int, cells: int) -> npt.NDArray[np.float32]:
    """Return 0/1 ``(cells, size)``: which of ``size`` pixels each cell covers."""
    matrix = np.zeros((cells, size), dtype=np.float32)
    for cell in range(cells):
        matrix[cell, cell * size // cells : -(-(cell + 1) * size // cells)] = 1
    matrix.setflags(write=False)
    return matrix


def _check(
    labels: npt.NDArray[np.uint8], relevant: npt.NDArray[np.bool_], grid: tuple[int, int], coverage: str
) -> None:
    if labels.dtype != np.uint8:
        raise TypeError(f"label maps must be uint8, got {labels.dtype}")
    if labels.ndim != 3:
        raise ValueError(f"label maps must be (N, H, W), got shape {labels.shape}")
    if relevant.dtype != np.bool_:
        raise TypeError(f"relevant must be bool, got {relevant.dtype}; SegmentationSpec.relevant_lookup() returns it")
    if relevant.shape != (256,):
        raise ValueError(f"relevant must have one entry per label, shape (256,), got {relevant.shape}")
    if min(grid) < 1 or grid[0] > labels.shape[1] or grid[1] > labels.shape[2]:
        raise ValueError(
            f"the grid must be between (1, 1) and the label maps' size {labels.shape[1:]}, got {tuple(grid)}"
        )
    if coverage not in COVERAGES:
        raise ValueError(f"unknown coverage {coverage!r}; choose one of {', '.join(COVERAGES)}")

"""Masks with one 64-bit integer for each row of 64 pixels, so that bit operations process a whole row at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WIDTH = 64
BitRows = npt.NDArray[np.uint64]
_ALL = (1 << WIDTH) - 1


def bit_rows(mask: npt.NDArray[np.bool_]) -> BitRows:
    """Return ``uint64 (...)`` of a mask ``bool (..., 64)``; bit ``x`` of a row is its column ``x``.

    Raises:
        ValueError: the rows are not 64 pixels wide.
    """
    if mask.shape[-1] != WIDTH:
        raise ValueError(f"Procgen's frames must be {WIDTH} pixels wide, got {mask.shape[-1]}")
    packed = np.packbits(mask.reshape(-1), bitorder="little").view("<u8")
    return packed.reshape(mask.shape[:-1])


def pixels(rows: BitRows) -> npt.NDArray[np.uint8]:
    """Return the mask ``uint8 (..., 64)`` of rows, 1 where it is set."""
    flat = np.unpackbits(rows.reshape(-1).view(np.uint8), bitorder="little")
    return flat.reshape(*rows.shape, WIDTH)


def set_everywhere_nearby(rows: BitRows, distance: int) -> BitRows:
    """Return which pixels of ``rows (n, H)`` have a set pixel, or the border, at a distance in all four directions."""
    step = np.uint64(distance)
    at_left, at_right = np.uint64((1 << distance) - 1), np.uint64(_ALL << (WIDTH - distance) & _ALL)
    nearby = ((rows << step) | at_left) & ((rows >> step) | at_right)
    nearby[:, distance:] &= rows[:, :-distance]
    nearby[:, :-distance] &= rows[:, distance:]
    return nearby

"""Masks that are worse than the true ones, for studies of how exact masks have to be.

Annotators and detectors give masks that are too large, too small, displaced, boxes, or incomplete. What happens to a
mask depends on the mask and on ``amount`` alone. The same mask is always changed in the same way, so a training run
that goes on after an interruption sees the same masks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_number
from camal_rl.spelling import check_names

MaskChange = Literal["none", "dilated", "eroded", "shifted", "boxes", "noisy"]
MASK_CHANGES: tuple[MaskChange, ...] = get_args(MaskChange)

Mask = npt.NDArray[np.bool_]
_Change = Callable[[Mask, float, np.random.Generator], Mask]


def changed_masks(masks: Mask, change: MaskChange, amount: float = 0.0) -> Mask:
    """Return masks that are worse than those given.

    A region is a set of marked pixels that touch each other, also at their corners.

    Args:
        masks: ``bool (N, H, W)``, the relevant pixels.
        change: what is wrong with the masks:

            - ``none``: nothing.
            - ``dilated``: every region grows to ``1 + amount`` times its area, nearest pixels first.
            - ``eroded``: every region shrinks to ``1 - amount`` times its area, at least one pixel, outermost pixels
              first.
            - ``shifted``: the whole mask is displaced in a random direction by ``amount`` times the side of a square of
              its regions' mean area, rounded to pixels.
            - ``boxes``: every region becomes its bounding box; ``amount`` has no meaning.
            - ``noisy``: every region is missed with probability ``amount``. With the same probability a copy of it
              appears at a random place of the image.
        amount: how much, in [0, 1].

    Returns:
        ``bool (N, H, W)``. An empty mask stays empty.

    Raises:
        TypeError: ``masks`` is not bool, or ``amount`` is not a number.
        ValueError: an unknown change, an amount out of range, or another shape.
    """
    check_mask_change(change, amount)
    if masks.dtype != np.bool_:
        raise TypeError(f"masks must be bool, got {masks.dtype}")
    if masks.ndim != 3:
        raise ValueError(f"masks must be (N, H, W), got shape {masks.shape}")
    if change == "none":
        return masks
    function = _CHANGES[change]
    changed = [function(mask, amount, _generator(mask)) if mask.any() else mask for mask in masks]
    return np.stack(changed) if changed else masks


def kept_masks(masks: Mask, fraction: float) -> Mask:
    """Return the masks of a share of the frames; the others are empty, and so contribute nothing to an attention loss.

    Args:
        masks: ``bool (N, H, W)``.
        fraction: the probability in [0, 1] that a frame keeps its mask. It depends on the mask alone: what is kept at
            10 % is kept at 50 %.
    """
    check_number("mask_fraction", fraction, 0.0, 1.0)
    if fraction == 1:
        return masks
    keeps = np.array([_digest(mask) / 2**32 < fraction for mask in masks], dtype=np.bool_)
    return masks & keeps[:, None, None]


def check_mask_change(change: object, amount: object) -> None:
    """Raise a ValueError or TypeError unless these are a change of masks and an amount."""
    check_names([str(change)], MASK_CHANGES, "change of masks")
    check_number("mask_amount", amount, 0.0, 1.0)


def _digest(mask: Mask) -> int:
    return zlib.crc32(np.packbits(mask).tobytes())


def _generator(mask: Mask) -> np.random.Generator:
    return np.random.default_rng((_digest(mask), *mask.shape))


def _regions(mask: Mask) -> list[Mask]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == region for region in range(1, count)]


def _distance(mask: Mask) -> npt.NDArray[np.float32]:
    """Return the distance of every marked pixel to the nearest one that is not; outside the image none is marked."""
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1], dtype=np.float32)


def _dilated(mask: Mask, amount: float, generator: np.random.Generator) -> Mask:
    grown = mask.copy()
    for region in _regions(mask):
        # The distance to the region: the image's border must not count as one.
        distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        wanted = round(float(region.sum()) * (1 + amount))
        grown |= _first(distance, wanted, generator)
    return grown


def _eroded(mask: Mask, amount: float, generator: np.random.Generator) -> Mask:
    left = np.zeros_like(mask)
    for region in _regions(mask):
        wanted = max(1, round(float(region.sum()) * (1 - amount)))
        left |= _first(np.where(region, -_distance(region), np.float32(1)), wanted, generator)
    return left


def _first(order: npt.NDArray[Any], count: int, generator: np.random.Generator) -> Mask:
    """Return the ``count`` pixels of the lowest order; ties are broken at random, so that no side is preferred."""
    ranked = np.lexsort((generator.permutation(order.size), order.ravel()))
    chosen = np.zeros(order.size, dtype=np.bool_)
    chosen[ranked[:count]] = True
    return chosen.reshape(order.shape)


def _shifted(mask: Mask, amount: float, generator: np.random.Generator) -> Mask:
    distance = amount * np.sqrt(mask.sum() / len(_regions(mask)))
    angle = generator.uniform(0, 2 * np.pi)
    return _moved(mask, round(distance * np.sin(angle)), round(distance * np.cos(angle)))


def _moved(mask: Mask, rows: int, columns: int) -> Mask:
    """Return a mask displaced down and to the right; what leaves the image is lost."""
    moved = np.zeros_like(mask)
    places = np.argwhere(mask) + np.array([rows, columns])
    inside = ((places >= 0) & (places < mask.shape)).all(axis=1)
    moved[tuple(places[inside].T)] = True
    return moved


def _boxes(mask: Mask, amount: float, generator: np.random.Generator) -> Mask:
    boxes = np.zeros_like(mask)
    for region in _regions(mask):
        top, left, bottom, right = _box(region)
        boxes[top:bottom, left:right] = True
    return boxes


def _noisy(mask: Mask, amount: float, generator: np.random.Generator) -> Mask:
    noisy = np.zeros_like(mask)
    for region in _regions(mask):
        missed, invented = generator.random(2) < amount
        if not missed:
            noisy |= region
        if invented:
            top, left, bottom, right = _box(region)
            row = generator.integers(mask.shape[0] - (bottom - top) + 1)
            column = generator.integers(mask.shape[1] - (right - left) + 1)
            noisy |= _moved(region, int(row) - top, int(column) - left)
    return noisy


def _box(region: Mask) -> tuple[int, int, int, int]:
    """Return the bounding box: top, left, bottom and right, the last two exclusive."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


_CHANGES: Mapping[str, _Change] = MappingProxyType(
    {"dilated": _dilated, "eroded": _eroded, "shifted": _shifted, "boxes": _boxes, "noisy": _noisy}
)

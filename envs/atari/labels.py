"""Label maps of raw screens: filled boxes, or only the pixels in the object's colors inside each box."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from camal_rl.envs.atari.boxes import Box
from camal_rl.envs.segmentation import LabelMap

Screen = npt.NDArray[np.uint8]
Region = tuple[slice, slice]

RING = 3
"""Width in pixels of the ring around a box; the colors in the ring count as background."""
DENSER = 1.5
"""How many times as dense a color must be in the box as in the ring.

Of 1, 1.5, 2, 3 and 5 this value gave the best balance of precision and recall in seven games.
"""
_CACHE_SIZE = 20_000


def silhouette(screen: Screen, box: Region, around: Region) -> npt.NDArray[np.bool_]:
    """Return the pixels of a box whose color is clearly denser inside the box than in the ring around it.

    A color's density is its share of the pixels. Parts of an object that have the color of its surroundings are not
    found.

    Args:
        screen: palette indices ``uint8[H, W]``.
        box: rows and columns of the box.
        around: rows and columns of the box with its ring.

    Returns:
        ``bool`` in the shape of the box.
    """
    inside = screen[box]
    inner = np.bincount(inside.ravel(), minlength=256)
    ring = np.bincount(screen[around].ravel(), minlength=256) - inner
    return (inner * ring.sum() > DENSER * ring * inside.size)[inside]


class LabelPainter:
    """Paints label maps of the raw screen.

    Args:
        mode: ``box`` fills each box, ``silhouette`` labels the pixels that :func:`silhouette` finds in it.
    """

    def __init__(self, mode: Literal["box", "silhouette"]) -> None:
        self._mode = mode
        # These are caches: most objects do not move, or look as they did in the previous frame.
        self._regions: dict[Box, tuple[Region, Region]] = {}
        self._silhouettes: dict[tuple[Box, bytes], npt.NDArray[np.bool_]] = {}

    def paint(self, screen: Screen, boxes: Iterable[Box]) -> LabelMap:
        """Return the label map ``uint8[H, W]`` of a screen; small objects are painted over large ones.

        Args:
            screen: palette indices ``uint8[H, W]``; every screen must have the same size.
            boxes: boxes of the objects; duplicates are ignored.
        """
        labels = np.zeros(screen.shape, dtype=np.uint8)
        for box in sorted(set(boxes), key=_large_first):
            regions = self._regions.get(box)
            if regions is None:
                _make_room(self._regions)
                regions = self._regions[box] = _region(box, 0, screen.shape), _region(box, RING, screen.shape)
            inside, around = regions
            if self._mode == "box":
                labels[inside] = box.label
            else:
                labels[inside][self._silhouette(screen, box, inside, around)] = box.label
        return labels

    def _silhouette(self, screen: Screen, box: Box, inside: Region, around: Region) -> npt.NDArray[np.bool_]:
        key = (box, screen[around].tobytes())
        found = self._silhouettes.get(key)
        if found is None:
            _make_room(self._silhouettes)
            found = self._silhouettes[key] = silhouette(screen, inside, around)
        return found


def _large_first(box: Box) -> tuple[int, Box]:
    return -box.width * box.height, box


def _region(box: Box, margin: int, shape: tuple[int, ...]) -> Region:
    """Return the part of a box and its margin that lies on the screen; it may be empty."""
    top, bottom = (min(max(edge, 0), shape[0]) for edge in (box.top - margin, box.top + box.height + margin))
    left, right = (min(max(edge, 0), shape[1]) for edge in (box.left - margin, box.left + box.width + margin))
    return slice(top, bottom), slice(left, right)


def _make_room(cache: dict[Any, Any]) -> None:
    if len(cache) >= _CACHE_SIZE:
        cache.clear()

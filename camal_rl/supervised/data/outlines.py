"""Shapes as polygons of the same area, and their pixels in an image."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]

_SUBPIXEL_BITS = 6


def shape_pixels(
    name: str, side: int, center: tuple[float, float], radius: float, angle: float
) -> npt.NDArray[np.bool_]:
    """Return the pixels of a shape, ``bool (side, side)``, without anti-aliasing: each pixel is inside or outside.

    Args:
        name: one of :data:`SHAPES`.
        side: height and width of the image.
        center: ``(x, y)`` in pixels.
        radius: radius of the disc of the same area, in pixels.
        angle: rotation in radians.
    """
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = radius * np.array([[cosine, sine], [-sine, cosine]])
    scale = 1 << _SUBPIXEL_BITS
    contours = [np.rint((outline @ turn + center) * scale).astype(np.int32) for outline in _OUTLINES[name]]
    pixels = np.zeros((side, side), dtype=np.uint8)
    cv2.fillPoly(pixels, contours, (1,), lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return pixels.view(np.bool_)


def _regular(corners: int, radius: float = 1.0) -> Outline:
    """Return the corners of a regular polygon, ``(corners, 2)``."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.sin(angles), -np.cos(angles)], axis=1)


def _star() -> Outline:
    """Return a star with five points, whose inner corners have .45 of the radius of the outer ones."""
    points = _regular(10)
    points[1::2] *= 0.45
    return points


def _cross() -> Outline:
    """Return a cross with four equal arms, .7 wide and 2 long from tip to tip."""
    arm, tip = 0.35, 1.0
    quarter = np.array([[-arm, -tip], [arm, -tip], [arm, -arm]])
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in np.arange(4) * np.pi / 2]
    return np.concatenate([quarter @ turn for turn in turns])


def _area(outline: Outline) -> float:
    """Return the area inside a polygon (shoelace formula)."""
    x, y = outline.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _of_unit_disc(*contours: Outline) -> tuple[Outline, ...]:
    """Scale a shape to the area of the unit disc; contours after the first are holes."""
    area = _area(contours[0]) - sum(_area(hole) for hole in contours[1:])
    return tuple(contour * np.sqrt(np.pi / area) for contour in contours)


_OUTLINES: Mapping[str, tuple[Outline, ...]] = MappingProxyType(
    {
        "circle": _of_unit_disc(_regular(48)),
        "triangle": _of_unit_disc(_regular(3)),
        "square": _of_unit_disc(_regular(4)),
        "star": _of_unit_disc(_star()),
        "cross": _of_unit_disc(_cross()),
        "ring": _of_unit_disc(_regular(48), _regular(48, 0.55)),
    }
)
SHAPES: tuple[str, ...] = tuple(_OUTLINES)
REACH = max(float(np.linalg.norm(outline, axis=1).max()) for shape in _OUTLINES.values() for outline in shape)
"""Largest distance of a corner of any shape from its center, in radii of the disc of the same area."""

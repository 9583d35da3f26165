"""Two-colored background textures with clearly different statistics, drawn from a random generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Pattern = npt.NDArray[np.bool_]

_PERIOD = (0.10, 0.14)  # Relative to the image's side: finer than every shape, coarser than a pixel.
_FINE_CELLS = 32
_COARSE_CELLS = 9


def texture_pattern(name: str, side: int, generator: np.random.Generator) -> Pattern:
    """Return which of its two colors each pixel of a texture has, ``bool (side, side)``.

    Orientation, period and phase are random, so every drawing differs.
    """
    return _TEXTURES[name](side, generator)


def _stripes(side: int, generator: np.random.Generator) -> Pattern:
    """Parallel stripes, as wide as the gaps."""
    along, _ = _waves(side, generator, 1.0)
    return np.sin(along) > 0


def _checks(side: int, generator: np.random.Generator) -> Pattern:
    """A chessboard."""
    along, across = _waves(side, generator, 1.5)
    return (np.sin(along) > 0) != (np.sin(across) > 0)


def _dots(side: int, generator: np.random.Generator) -> Pattern:
    """Round dots on a square lattice, which cover about a fifth of the area."""
    along, across = _waves(side, generator, 1.0)
    return np.cos(along) + np.cos(across) > 0.8


def _coarse_noise(side: int, generator: np.random.Generator) -> Pattern:
    """Blobs without orientation, some as large as a shape."""
    noise = generator.standard_normal((_COARSE_CELLS, _COARSE_CELLS), dtype=np.float32)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC) > 0


def _fine_noise(side: int, generator: np.random.Generator) -> Pattern:
    """Independent cells, 32 along each side."""
    cells = generator.integers(0, 2, (_FINE_CELLS, _FINE_CELLS), dtype=np.uint8)
    return cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST) > 0


def _grid(side: int, generator: np.random.Generator) -> Pattern:
    """Thin crossing lines."""
    along, across = _waves(side, generator, 1.5)
    return np.maximum(np.cos(along), np.cos(across)) > 0.8


def _waves(side: int, generator: np.random.Generator, stretch: float) -> tuple[npt.NDArray[np.float32], ...]:
    """Return the phases of two plane waves at right angles, each ``float32 (side, side)``."""
    angle, first, second = generator.uniform(0, 2 * np.pi, 3)
    frequency = 2 * np.pi / (side * stretch * generator.uniform(*_PERIOD))
    rows, columns = _positions(side)
    sine, cosine = np.float32(frequency * np.sin(angle)), np.float32(frequency * np.cos(angle))
    return cosine * columns + sine * rows + np.float32(first), cosine * rows - sine * columns + np.float32(second)


@lru_cache(maxsize=8)
def _positions(side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the pixels' rows ``(side, 1)`` and columns ``(1, side)``."""
    steps = np.arange(side, dtype=np.float32)
    steps.setflags(write=False)
    return steps[:, None], steps[None]


_TEXTURES: Mapping[str, Callable[[int, np.random.Generator], Pattern]] = MappingProxyType(
    {
        "stripes": _stripes,
        "checks": _checks,
        "dots": _dots,
        "coarse_noise": _coarse_noise,
        "fine_noise": _fine_noise,
        "grid": _grid,
    }
)
TEXTURES: tuple[str, ...] = tuple(_TEXTURES)

"""The noise that Crafter's worlds are made of, for all of their cells at once.

OpenSimplex noise in three dimensions is a sum over the points of a lattice that are nearer than sqrt(2): a fourth power
that falls with the distance, times a gradient that a permutation draws for the point. The package ``opensimplex`` looks
at eight points only, chosen by many comparisons, and so leaves a few very small terms out. Here all points are summed:
the two differ by less than :data:`DIFFERENCE`, and whoever decides by a threshold asks the package where it is closer.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DIFFERENCE = 2e-4
"""Bound of the difference from the package's values, which lie in [-1, 1]."""
_STRETCH, _SQUISH, _NORM, _RADIUS_SQUARED = -1 / 6, 1 / 3, 103.0, 2.0
_LONG, _SHORT = 11, 4
# One long and two short components: the axis of the long one changes fastest, then the signs of x, y and z.
_GRADIENTS: Floats = np.array(
    [
        [sign * (_LONG if axis == along else _SHORT) for axis, sign in enumerate((x, y, z))]
        for z, y, x, along in product((1, -1), (1, -1), (-1, 1), range(3))
    ],
    dtype=np.float64,
)
# Points of the lattice that are near enough to some point of a cell.
_NEAR = tuple(
    point
    for point in product((-1, 0, 1, 2), repeat=3)
    if sorted(point)
    in (
        [0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1], [-1, 0, 1], [-1, 1, 1], [0, 0, 2], [0, 1, 2],
    )
)  # fmt: skip


def simplex_noise(permutation: npt.NDArray[np.int64], x: Floats, y: Floats, z: Floats) -> Floats:
    """Return the noise at points, ``float64[N]`` in [-1, 1].

    Args:
        permutation: of 0 to 255, which the seed fixes.
        x: first coordinates ``[N]``.
        y: second coordinates.
        z: third coordinates.
    """
    stretch = (x + y + z) * _STRETCH
    cells = [np.floor(each + stretch).astype(np.int64) for each in (x, y, z)]
    squish = (cells[0] + cells[1] + cells[2]) * _SQUISH
    inside = [each - (cell + squish) for each, cell in zip((x, y, z), cells, strict=True)]
    total: Floats = np.zeros(len(x))
    for point in _NEAR:
        shift = sum(point) * _SQUISH
        away = [each - step - shift for each, step in zip(inside, point, strict=True)]
        weight = _RADIUS_SQUARED - away[0] * away[0] - away[1] * away[1] - away[2] * away[2]
        near = np.flatnonzero(weight > 0)
        drawn: npt.NDArray[np.int64] = np.zeros(len(near), dtype=np.int64)
        for cell, step in zip(cells, point, strict=True):
            drawn = permutation[(drawn + cell[near] + step) & 255]
        gradient = _GRADIENTS[drawn % len(_GRADIENTS)].T
        slope = sum(part * each[near] for part, each in zip(gradient, away, strict=True))
        total[near] += weight[near] ** 4 * slope
    return total / _NORM

"""The noise from which Crafter's worlds are generated, for all cells at once.

OpenSimplex noise in three dimensions is the sum of (2 - |d|^2)^4 (g . d) / 103 over the lattice points within sqrt(2).
Here d is the offset from the lattice point and g a gradient that a permutation chooses for it. The package
``opensimplex`` sums only eight points, chosen by many comparisons, and so omits a few very small terms. This module
sums all points. The results differ by less than :data:`DIFFERENCE`. Where the noise is that close to a threshold,
callers use the package.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DIFFERENCE = 2e-4
"""Upper bound of the difference from the package's values, which lie in [-1, 1]."""
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
# Lattice points, relative to a cell, that lie within sqrt(2) of some point of the cell.
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
        permutation: ``int64[256]``, a permutation of 0 to 255 that the seed determines.
        x: first coordinates ``[N]``.
        y: second coordinates ``[N]``.
        z: third coordinates ``[N]``.
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

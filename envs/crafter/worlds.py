"""Crafter's worlds, equal to those of its own generator but twenty times as fast, and worlds with other proportions.

The noise of all cells is computed at once. It differs from Crafter's by less than a known bound. Where the noise is
that close to a threshold, Crafter's own function decides on the cell. Importing this module needs Crafter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import opensimplex
from crafter import worldgen
from crafter.engine import World
from crafter.objects import Cow, Player, Skeleton, Zombie

from camal_rl.envs.crafter.classes import MATERIALS, NAMES
from camal_rl.envs.crafter.noise import DIFFERENCE, Floats, simplex_noise

Cells = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
_ID = {name: NAMES.index(name) for name in NAMES}
# Distance from a threshold within which a decision is doubtful: decisions compare sums of noise with weights up to 2.
_CLOSE = 5 * DIFFERENCE
_WORLDS_KEPT = 512


@dataclass(frozen=True)
class Proportions:
    """The proportions of a world's terrain; the defaults are Crafter's.

    Attributes:
        mountain: added to the height of the mountains.
        water: added to the height of the water.
        cave: threshold of the cave noise; a lower threshold gives more caves.
        trees: share of the cells in woods that have a tree.
    """

    mountain: float = 0.0
    water: float = 0.0
    cave: float = 0.15
    trees: float = 0.2


PROPORTIONS: Mapping[str, Proportions] = {
    "crafter": Proportions(),
    "rugged": Proportions(mountain=0.1, water=0.1, cave=0.05, trees=0.1),
}


@dataclass(frozen=True, eq=False)
class Terrain:
    """A world without creatures.

    Attributes:
        materials: ``uint8[width, height]``, class ids.
        tunnels: ``bool[width, height]``, the cells where skeletons live.
        random_state: state of the world's generator after all draws.
    """

    materials: Cells
    tunnels: Flags
    random_state: Mapping[str, Any]


def generate(world: World, player: Player, seed: int, kind: str) -> None:
    """Fill a world as ``crafter.worldgen.generate_world`` does.

    Args:
        world: Crafter's world after a reset, with only the player in it.
        player: the player, in the middle of the world.
        seed: seed with which the world was reset.
        kind: key of :data:`PROPORTIONS`.
    """
    found = _terrain(seed, tuple(world.area), kind)
    world._mat_map[:] = found.materials
    world.random.set_state(found.random_state)
    _populate(world, player, found.tunnels)


@lru_cache(maxsize=_WORLDS_KEPT)
def _terrain(seed: int, area: tuple[int, int], kind: str) -> Terrain:
    world = World(area, list(MATERIALS), (12, 12))
    world.reset(seed)
    player = Player(world, (area[0] // 2, area[1] // 2))
    simplex = opensimplex.OpenSimplex(seed=world.random.randint(0, 2**31 - 1))
    heights = _Heights(np.asarray(simplex._perm, dtype=np.int64), area, PROPORTIONS[kind])
    tunnels = heights.decide()
    # Only worlds of kind "crafter" must equal Crafter's exactly.
    doubtful = heights.doubtful if kind == "crafter" else np.zeros(area, dtype=bool)
    tunnels[doubtful] = False
    world._mat_map[:] = heights.otherwise
    uniform = world.random.uniform
    drawn = np.logical_or.reduce([possible for _, _, possible in heights.chances])
    for x, y in np.argwhere(doubtful | drawn).tolist():
        if doubtful[x, y]:
            worldgen._set_material(world, (x, y), player, tunnels, simplex)
        else:
            world._mat_map[x, y] = heights.drawn(x, y, uniform)
    return Terrain(world._mat_map.copy(), tunnels, world.random.get_state(legacy=False))


class _Heights:
    """The materials that the noise determines; arrays are ``[width, height]``.

    Attributes:
        otherwise: ``uint8``, the material of each cell unless a random draw puts another there.
        chances: material, threshold and ``bool`` cells, in the order of the draws: a number drawn from [0, 1) above
            the threshold puts the material into such a cell.
        doubtful: ``bool``, cells with a decision too close to a threshold.
    """

    def __init__(self, permutation: npt.NDArray[np.int64], area: tuple[int, int], proportions: Proportions) -> None:
        self._permutation, self._proportions = permutation, proportions
        self._x, self._y = (each.astype(np.float64) for each in np.indices(area))
        self._center = (area[0] // 2, area[1] // 2)
        self.otherwise: Cells = np.full(area, _ID["grass"], dtype=np.uint8)
        self.chances: list[tuple[int, float, Flags]] = []
        self.doubtful: Flags = np.zeros(area, dtype=bool)

    def decide(self) -> Flags:
        """Decide on every cell, in Crafter's order of decisions, and return the cells of tunnels."""
        everywhere: Flags = np.ones(self.otherwise.shape, dtype=bool)
        start = 4 - np.sqrt((self._x - self._center[0]) ** 2 + (self._y - self._center[1]) ** 2)
        start = 1 / (1 + np.exp(-(start + 2 * self._noise(everywhere, 8, 3))))
        water = self._noise(everywhere, 3, 15) + 0.15 * self._noise(everywhere, 3, 5) + 0.1 - 2 * start
        mountain = (self._noise(everywhere, 0, 15) + 0.3 * self._noise(everywhere, 0, 5)) / 1.3
        mountain = mountain - 4 * start - 0.3 * water + self._proportions.mountain
        far = everywhere & ~self._where(everywhere, start - 0.5)
        high = self._where(far, mountain - 0.15)
        tunnels = self._mountains(high, mountain)
        self._lowlands(far & ~high, water + self._proportions.water)
        return tunnels

    def drawn(self, x: int, y: int, uniform: Callable[[], float]) -> int:
        """Draw the material of a cell that depends on random draws."""
        for material, threshold, possible in self.chances:
            if possible[x, y] and uniform() > threshold:
                return material
        return int(self.otherwise[x, y])

    def _mountains(self, rest: Flags, mountain: Floats) -> Flags:
        cave = np.minimum(self._noise(rest, 6, 7) - self._proportions.cave, mountain - 0.3)
        rest = rest & ~self._set(self._where(rest, cave), "path")
        tunnels: Flags = np.zeros(rest.shape, dtype=bool)
        for x_scale, y_scale in ((2.0, 0.2), (0.2, 2.0)):
            tunnel = self._set(self._where(rest, self._noise(rest, 7, 3, x_scale, y_scale) - 0.4), "path")
            tunnels, rest = tunnels | tunnel, rest & ~tunnel
        for margin, ore, threshold in (
            (self._noise(rest, 1, 8), "coal", 0.85),
            (self._noise(rest, 2, 6) - 0.4, "iron", 0.75),
            (mountain - 0.18, "diamond", 0.994),
        ):
            self.chances.append((_ID[ore], threshold, self._where(rest, margin)))
        self._set(rest, "stone")
        self._set(self._where(rest, np.minimum(mountain - 0.3, self._noise(rest, 6, 5) - 0.35)), "lava")
        return tunnels

    def _lowlands(self, rest: Flags, water: Floats) -> None:
        beach = np.minimum(np.minimum(water - 0.25, 0.35 - water), self._noise(rest, 4, 9) + 0.2)
        rest = rest & ~self._set(self._where(rest, beach), "sand")
        rest = rest & ~self._set(self._where(rest, water - 0.3), "water")
        self.chances.append((_ID["tree"], 1 - self._proportions.trees, self._where(rest, self._noise(rest, 5, 7))))

    def _noise(self, cells: Flags, z: int, size: int, x_scale: float = 1.0, y_scale: float = 1.0) -> Floats:
        """Return the noise in some cells, and 0 in the others."""
        found: Floats = np.zeros(cells.shape)
        x, y = self._x[cells] * x_scale / size, self._y[cells] * y_scale / size
        found[cells] = simplex_noise(self._permutation, x, y, np.full(len(x), float(z)))
        return found

    def _where(self, cells: Flags, margin: Floats) -> Flags:
        """Return the cells with a positive margin, and mark cells whose margin is near 0 as doubtful."""
        self.doubtful |= cells & (np.abs(margin) < _CLOSE)
        return cells & (margin > 0)

    def _set(self, cells: Flags, material: str) -> Flags:
        self.otherwise[cells] = _ID[material]
        return cells


def _populate(world: World, player: Player, tunnels: Flags) -> None:
    """Add creatures to a world, with Crafter's draws in Crafter's order."""
    uniform, materials = world.random.uniform, world._mat_map
    x, y = np.indices(materials.shape)
    distances = np.sqrt((x - player.pos[0]) ** 2 + (y - player.pos[1]) ** 2)
    grass, path = materials == _ID["grass"], materials == _ID["path"]
    far, skeletons = distances > 10, path & tunnels
    cows = grass & (distances > 3)
    zombies = far & (grass | path | (materials == _ID["sand"]))
    for place in map(tuple, np.argwhere(cows | zombies | skeletons).tolist()):
        if cows[place] and uniform() > 0.985:
            world.add(Cow(world, place))
        elif zombies[place] and uniform() > 0.993:
            world.add(Zombie(world, place, player))
        elif skeletons[place] and uniform() > 0.95:
            world.add(Skeleton(world, place, player))

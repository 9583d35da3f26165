"""The visible part of a Crafter game as arrays, which can be edited without changing the game. Columns come first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camal_rl.envs.crafter.classes import INVENTORY, LEFT_BEHIND, NAMES, OBJECTS

if TYPE_CHECKING:
    from camal_rl.envs.crafter.game import Game

COLUMNS, ROWS = 9, 7
"""Cells of the world that an image shows; the player is in the middle."""
_MIDDLE = (COLUMNS // 2, ROWS // 2)


@dataclass(frozen=True)
class Thing:
    """A creature, an arrow or a plant in sight.

    Attributes:
        place: column and row in the image, in cells.
        class_name: one of :data:`~camal_rl.envs.crafter.classes.OBJECTS`.
        texture: Crafter's name of its texture.
    """

    place: tuple[int, int]
    class_name: str
    texture: str


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that determines an image.

    Attributes:
        materials: ``uint8[9, 7]``, class ids; 0 beyond the end of the world.
        things: the objects on the materials, at most one in a cell.
        items: name and count of each inventory item, in the inventory's order; items with count 0 are not drawn.
        daylight: from 0 (midnight) to 1 (noon).
        noise: noise that is mixed into dark images, ``float64[9 * tile, 7 * tile]``; ``None`` by day.
        sleeping: whether the player sleeps; the image is then gray and dark.
    """

    materials: npt.NDArray[np.uint8]
    things: tuple[Thing, ...]
    items: tuple[tuple[str, int], ...]
    daylight: float
    noise: npt.NDArray[np.float64] | None
    sleeping: bool

    @classmethod
    def of(cls, game: Game) -> Scene:
        """Return the scene that the player of a game sees."""
        world, player = game.world, game.player
        left, top = (int(place) - middle for place, middle in zip(player.pos, _MIDDLE, strict=True))
        columns, rows = (slice(max(start, 0), start + size) for start, size in ((left, COLUMNS), (top, ROWS)))
        known, objects = world._mat_map[columns, rows], world._obj_map[columns, rows]
        across, down = columns.start - left, rows.start - top
        materials = np.zeros((COLUMNS, ROWS), dtype=np.uint8)
        materials[across : across + known.shape[0], down : down + known.shape[1]] = known
        things = tuple(
            Thing((across + x, down + y), type(each).__name__.lower(), each.texture)
            for x, y in np.argwhere(objects).tolist()
            for each in (world._objects[objects[x, y]],)
        )
        items = tuple((name, int(number)) for name, number in player.inventory.items())
        return cls(materials, things, items, float(world.daylight), game.noise, bool(player.sleeping))

    def without_class(self, name: str) -> Scene:
        """Return the scene without a class; a material is replaced by that of :data:`LEFT_BEHIND`."""
        if name == INVENTORY:
            return replace(self, items=())
        if name in OBJECTS:
            return replace(self, things=tuple(each for each in self.things if each.class_name != name))
        return self._dug(self.materials == NAMES.index(name), name)

    def without_nearest(self, names: tuple[str, ...]) -> Scene:
        """Return the scene without the object or cell of these classes that is nearest to the player.

        The player is never removed. Distances are in steps; of equally near ones the first is removed, objects before
        materials.
        """
        things = [each for each in self.things if each.class_name in names and each.class_name != "player"]
        cells = np.argwhere(np.isin(self.materials, [NAMES.index(name) for name in LEFT_BEHIND if name in names]))
        places = [each.place for each in things] + cells.tolist()
        if not places:
            return self
        nearest = int(np.abs(np.array(places) - _MIDDLE).sum(axis=1).argmin())
        if nearest < len(things):
            return replace(self, things=tuple(each for each in self.things if each is not things[nearest]))
        chosen = np.zeros(self.materials.shape, dtype=bool)
        chosen[tuple(places[nearest])] = True
        return self._dug(chosen, NAMES[self.materials[tuple(places[nearest])]])

    def by_day(self) -> Scene:
        """Return the scene at noon."""
        return replace(self, daylight=1.0, noise=None)

    def enlarged(self, factor: int) -> Scene:
        """Return the scene with its noise enlarged by a factor, for larger tiles."""
        noise = self.noise if self.noise is None else self.noise.repeat(factor, axis=0).repeat(factor, axis=1)
        return replace(self, noise=noise)

    def _dug(self, chosen: npt.NDArray[np.bool_], material: str) -> Scene:
        left = np.uint8(NAMES.index(LEFT_BEHIND[material]))
        return replace(self, materials=np.where(chosen, left, self.materials))

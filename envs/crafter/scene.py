"""What there is to draw of a game of Crafter, as arrays that can be edited without touching it. Columns come first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camal_rl.envs.crafter.classes import INVENTORY, LEFT_BEHIND, NAMES, OBJECTS

if TYPE_CHECKING:
    from camal_rl.envs.crafter.game import Game

COLUMNS, ROWS = 9, 7
"""Cells of the world that a picture shows; the player is in the middle."""
_MIDDLE = (COLUMNS // 2, ROWS // 2)


@dataclass(frozen=True)
class Thing:
    """A creature, an arrow or a plant in sight.

    Attributes:
        place: column and row in the picture.
        class_name: of :data:`~camal_rl.envs.crafter.classes.OBJECTS`.
        texture: Crafter's name of its picture.
    """

    place: tuple[int, int]
    class_name: str
    texture: str


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a picture is painted from.

    Attributes:
        materials: ``uint8[9, 7]``, class ids; 0 beyond the end of the world.
        things: what stands on them, at most one in a cell.
        items: name and number of each thing in the inventory, in its order; 0 is not drawn.
        daylight: from 0, midnight, to 1, noon.
        noise: what darkness mixes in, ``float64[9 * tile, 7 * tile]``; ``None`` by day.
        sleeping: whether the player sleeps, which takes the colors away.
    """

    materials: npt.NDArray[np.uint8]
    things: tuple[Thing, ...]
    items: tuple[tuple[str, int], ...]
    daylight: float
    noise: npt.NDArray[np.float64] | None
    sleeping: bool

    @classmethod
    def of(cls, game: Game) -> Scene:
        """Return what the player of a game sees."""
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
        """Leave a class out; a material gives way to what is left behind."""
        if name == INVENTORY:
            return replace(self, items=())
        if name in OBJECTS:
            return replace(self, things=tuple(each for each in self.things if each.class_name != name))
        return self._dug(self.materials == NAMES.index(name), name)

    def without_nearest(self, names: tuple[str, ...]) -> Scene:
        """Leave out the object or the cell of one of these classes that is nearest to the player, who stays.

        Distances are in steps; of several the first is taken, objects before materials.
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
        """Draw it as at noon."""
        return replace(self, daylight=1.0, noise=None)

    def enlarged(self, factor: int) -> Scene:
        """Draw the noise so many times as large."""
        noise = self.noise if self.noise is None else self.noise.repeat(factor, axis=0).repeat(factor, axis=1)
        return replace(self, noise=noise)

    def _dug(self, chosen: npt.NDArray[np.bool_], material: str) -> Scene:
        left = np.uint8(NAMES.index(LEFT_BEHIND[material]))
        return replace(self, materials=np.where(chosen, left, self.materials))

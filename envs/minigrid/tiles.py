"""MiniGrid's own tiles with their label maps, drawn once and then looked up.

Every pixel comes from the simulator's ``Grid.render_tile``. This module assembles whole images from cached tiles with
one look-up. Importing it needs MiniGrid.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from minigrid.core.constants import IDX_TO_COLOR
from minigrid.core.grid import Grid
from minigrid.core.world_object import Floor, WorldObj

from camal_rl.envs.minigrid.layouts import NAMES
from camal_rl.envs.minigrid.scene import FLOORS, Scene
from camal_rl.envs.segmentation import LabelMap

Image = npt.NDArray[np.uint8]
_AGENT = NAMES.index("agent")
# MiniGrid draws tiles three times as large and averages.
_SUPERSAMPLING = 3
_UNPAINTED = (1, 2, 3)
_STATES = 3


class Atlas:
    """The tiles of one size.

    Args:
        tile_size: height and width of a tile in pixels.
        segmentation: ``silhouette`` labels the pixels that an object paints, ``box`` the whole tile.
    """

    def __init__(self, tile_size: int, segmentation: str) -> None:
        self._size, self._boxes = tile_size, segmentation == "box"
        shape = (len(NAMES) - 1, len(IDX_TO_COLOR), _STATES, 5, 2, len(FLOORS))
        self._numbers = np.full(shape, -1, dtype=np.int64)
        self._images: Image = np.zeros((0, tile_size, tile_size, 3), dtype=np.uint8)
        self._labels: LabelMap = np.zeros((0, tile_size, tile_size), dtype=np.uint8)

    def lay(self, scene: Scene) -> npt.NDArray[np.int64]:
        """Return the number of each cell's tile, ``int64[h, w]``; new tiles are drawn."""
        agents = np.zeros(scene.lit.shape, dtype=np.int64)
        if scene.direction is not None:
            agents[scene.agent] = 1 + scene.direction
        floors = np.where(scene.shown, scene.floor, 0)
        keys = (scene.cells[..., 0], scene.cells[..., 1], scene.cells[..., 2], agents, scene.lit.astype(int), floors)
        numbers = self._numbers[keys]
        new = numbers < 0
        if new.any():
            for key in sorted({tuple(key) for key in np.stack([each[new] for each in keys], axis=1).tolist()}):
                self._draw(key)
            numbers = self._numbers[keys]
        return numbers

    def paint(self, numbers: npt.NDArray[np.int64]) -> Image:
        """Return the image of a grid of tiles, ``uint8[h * tile, w * tile, 3]``."""
        height, width = numbers.shape
        laid = self._images[numbers].transpose(0, 2, 1, 3, 4)
        return laid.reshape(height * self._size, width * self._size, 3)

    def label(self, numbers: npt.NDArray[np.int64]) -> LabelMap:
        """Return the label map of a grid of tiles, ``uint8[h * tile, w * tile]``."""
        height, width = numbers.shape
        return self._labels[numbers].transpose(0, 2, 1, 3).reshape(height * self._size, width * self._size)

    def _draw(self, key: tuple[int, ...]) -> None:
        kind, color, state, agent, lit, floor = key
        thing, direction = _thing(kind, color, state), agent - 1 if agent else None
        image = _render(_OnFloor(FLOORS[floor], thing) if floor else thing, direction, bool(lit), self._size)
        self._numbers[key] = len(self._images)
        self._images = np.concatenate([self._images, image[None]])
        self._labels = np.concatenate([self._labels, self._label_tile(kind, thing, direction)[None]])

    def _label_tile(self, kind: int, thing: WorldObj | None, direction: int | None) -> LabelMap:
        label: LabelMap = np.zeros((self._size, self._size), dtype=np.uint8)
        if thing is not None:
            label[self._boxes or _painted(thing, self._size)] = kind
        if direction is not None:
            drawn = _render(None, direction, False, self._size) != _render(None, None, False, self._size)
            label[self._boxes or drawn.any(axis=2)] = _AGENT
        return label


@cache
def atlas(tile_size: int, segmentation: str) -> Atlas:
    """Return the tiles of one size, which all environments of a process share."""
    return Atlas(tile_size, segmentation)


class _OnFloor(WorldObj):
    """An object on a colored floor: the simulator's drawing of the floor, and over it that of the object."""

    def __init__(self, color: str, thing: WorldObj | None) -> None:
        super().__init__("floor", color)
        self._floor, self._thing = Floor(color), thing

    def encode(self) -> tuple[int, ...]:  # type: ignore[override]  # MiniGrid only joins it with the rest of the key.
        """Return a key that is unique in MiniGrid's cache of tiles."""
        return (*self._floor.encode(), *(self._thing.encode() if self._thing else (0, 0, 0)))

    def render(self, r: Image) -> Image:
        """Draw the floor, then the object."""
        self._floor.render(r)
        if self._thing is not None:
            self._thing.render(r)
        return r


def _thing(kind: int, color: int, state: int) -> WorldObj | None:
    thing = WorldObj.decode(kind + 1, color, state)
    if thing is not None:
        thing.color = IDX_TO_COLOR[color]  # decode() makes every goal green.
    return thing


def _render(thing: WorldObj | None, direction: int | None, lit: bool, size: int) -> Image:
    return Grid.render_tile(thing, direction, lit, size).astype(np.uint8)


def _painted(thing: WorldObj, size: int) -> npt.NDArray[np.bool_]:
    """Return ``bool[size, size]``, the pixels that an object paints at least in part, in any color."""
    side = size * _SUPERSAMPLING
    canvas = np.full((side, side, 3), _UNPAINTED, dtype=np.uint8)
    thing.render(canvas)
    parts = (canvas != _UNPAINTED).any(axis=2).reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING)
    return parts.any(axis=(1, 3))

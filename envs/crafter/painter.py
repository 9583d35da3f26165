"""Crafter's images and their label maps, assembled from cached tiles.

Images equal those of ``crafter.Env.render`` bit for bit. Internal arrays have columns first, as in Crafter. Importing
this module needs Crafter.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from crafter import constants, engine
from PIL import Image as Pictures
from PIL import ImageEnhance

from camal_rl.envs.crafter.classes import INVENTORY, MATERIALS, NAMES
from camal_rl.envs.crafter.options import VIEW_CELLS
from camal_rl.envs.crafter.scene import COLUMNS, ROWS, Scene
from camal_rl.envs.segmentation import LabelMap

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
_BEYOND = 127
_NIGHT, _SLEEP = (0, 16, 64), (0, 0, 16)
_NIGHT_COLOR, _TINT, _VIGNETTE = 0.4, 0.5, 0.5
_DARK = 0.5
# Place and size of an item and of its number in a cell, as shares of the cell.
_ITEM, _NUMBER = (0.1, 0.8), (0.4, 0.6)
_OTHER_CHANNELS, _OTHER_TINT = (2, 0, 1), (1.0, 0.8, 0.6)


class Painter:
    """Draws images and label maps from tiles of one size and theme.

    Args:
        tile: height and width of a tile in pixels.
        theme: ``crafter`` or ``recolored``.
        boxes: label the whole tile of a sprite, not only the pixels that it paints.
    """

    def __init__(self, tile: int, theme: str, boxes: bool) -> None:
        self._tile, self._boxes = tile, boxes
        self._textures = _textures(theme)
        beyond = np.full((tile, tile, 3), _BEYOND, dtype=np.uint8)
        self._ground: Image = np.stack([beyond, *(self._texture(name)[..., :3] for name in MATERIALS)])
        self._sprites: dict[tuple[str, int], tuple[Image, npt.NDArray[np.bool_]]] = {}
        self._cells: dict[tuple[str, int], tuple[Image, npt.NDArray[np.bool_]]] = {}

    def paint(self, scene: Scene, size: int) -> Image:
        """Return the image of a scene, ``uint8[size, size, 3]``."""
        laid = self._ground[scene.materials].transpose(0, 2, 1, 3, 4)
        world = laid.reshape(COLUMNS * self._tile, ROWS * self._tile, 3)
        for thing in scene.things:
            world[self._at(*thing.place)] = self._sprite(thing.texture, int(scene.materials[thing.place]))[0]
        picture: Image = np.zeros((VIEW_CELLS * self._tile, VIEW_CELLS * self._tile, 3), dtype=np.uint8)
        picture[:, : world.shape[1]] = _lit(world, scene)
        for column, row, name, number in _shown(scene):
            picture[self._at(column, ROWS + row)] = self._cell(name, number)[0]
        return _framed(picture, size)

    def label(self, scene: Scene, size: int) -> LabelMap:
        """Return the label map of a scene's image, ``uint8[size, size]``."""
        side = VIEW_CELLS * self._tile
        labels: LabelMap = np.zeros((side, side), dtype=np.uint8)
        labels[:, : ROWS * self._tile] = scene.materials.repeat(self._tile, axis=0).repeat(self._tile, axis=1)
        for thing in scene.things:
            painted = self._sprite(thing.texture, int(scene.materials[thing.place]))[1]
            labels[self._at(*thing.place)][painted] = NAMES.index(thing.class_name)
        for column, row, name, number in _shown(scene):
            labels[self._at(column, ROWS + row)][self._cell(name, number)[1]] = NAMES.index(INVENTORY)
        return _framed(labels, size)

    def _at(self, column: int, row: int) -> tuple[slice, slice]:
        tile = self._tile
        return slice(column * tile, (column + 1) * tile), slice(row * tile, (row + 1) * tile)

    def _sprite(self, texture: str, ground: int) -> tuple[Image, npt.NDArray[np.bool_]]:
        """Return the image of a sprite on a material, and the mask of the pixels that the sprite paints."""
        key = texture, ground
        if key not in self._sprites:
            drawn, painted = self._ground[ground].copy(), np.zeros((self._tile, self._tile), dtype=bool)
            _blend(drawn, painted, 0, self._texture(texture))
            self._sprites[key] = drawn, painted | self._boxes
        return self._sprites[key]

    def _cell(self, item: str, number: int) -> tuple[Image, npt.NDArray[np.bool_]]:
        """Return the image of an inventory cell, and the mask of its painted pixels."""
        key = item, number
        if key not in self._cells:
            tile = self._tile
            drawn, painted = np.zeros((tile, tile, 3), dtype=np.uint8), np.zeros((tile, tile), dtype=bool)
            text = str(number) if number < 10 else "unknown"
            for name, (place, size) in ((item, _ITEM), (text, _NUMBER)):
                _blend(drawn, painted, int(place * tile), self._texture(name, size))
            self._cells[key] = drawn, painted | self._boxes
        return self._cells[key]

    def _texture(self, name: str, share: float = 1.0) -> Image:
        found: Image = self._textures.get(name, (share * self._tile, share * self._tile))
        return found


@cache
def painter(tile: int, theme: str, boxes: bool) -> Painter:
    """Return the painter of one tile size and theme, which all environments of a process share."""
    return Painter(tile, theme, boxes)


@cache
def _textures(theme: str) -> engine.Textures:
    textures = engine.Textures(constants.root / "assets")
    if theme == "recolored":
        textures._textures.clear()
        for name, image in textures._originals.items():
            textures._originals[name] = _recolored(image)
    return textures


def _recolored(image: Image) -> Image:
    """Permute the color channels and tint the result, so that grays change too; the alpha channel stays."""
    colors = image[..., _OTHER_CHANNELS] * np.array(_OTHER_TINT)
    return np.concatenate([colors.astype(np.uint8), image[..., 3:]], axis=-1)


def _blend(drawn: Image, painted: npt.NDArray[np.bool_], start: int, texture: Image) -> None:
    """Draw a texture over a tile with Crafter's arithmetic; ``start`` is the first row and column."""
    where = (slice(start, start + texture.shape[0]), slice(start, start + texture.shape[1]))
    if texture.shape[-1] == 3:
        drawn[where], painted[where] = texture, True
        return
    alpha = texture[..., 3:].astype(np.float32) / 255
    below = drawn[where].astype(np.float32) / 255
    drawn[where] = (255 * (alpha * (texture[..., :3].astype(np.float32) / 255) + (1 - alpha) * below)).astype(np.uint8)
    painted[where] |= texture[..., 3] > 0


def _shown(scene: Scene) -> list[tuple[int, int, str, int]]:
    """Return column, row, name and count of each item that the inventory shows."""
    return [
        (index % VIEW_CELLS, index // VIEW_CELLS, name, number)
        for index, (name, number) in enumerate(scene.items)
        if number > 0
    ]


def _lit(world: Image, scene: Scene) -> Floats:
    """Return the image of the world under the scene's daylight, noise and sleep."""
    lit: Floats = world.astype(np.float64)
    if scene.daylight < 1:
        night = lit
        if scene.noise is not None:
            mask = 2 * (_DARK - scene.daylight) * _vignette(world.shape[0], world.shape[1])[..., None]
            night = (1 - mask) * night + mask * scene.noise[..., None]
        lit = scene.daylight * lit + (1 - scene.daylight) * _tinted(night, _NIGHT_COLOR, _NIGHT)
    return _tinted(lit, 0.0, _SLEEP) if scene.sleeping else lit


def _tinted(picture: Floats, saturation: float, color: tuple[int, int, int]) -> Floats:
    """Reduce the saturation, then blend with one color."""
    gray = ImageEnhance.Color(Pictures.fromarray(picture.astype(np.uint8))).enhance(saturation)
    tinted: Floats = (1 - _TINT) * np.array(gray) + _TINT * np.array(color)
    return tinted


@lru_cache(maxsize=8)
def _vignette(width: int, height: int) -> Floats:
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    vignette: Floats = 1 - np.exp(-0.5 * (x**2 + y**2) / (_VIGNETTE**2)).T
    return vignette


def _framed(drawn: Image | LabelMap, size: int) -> Image | LabelMap:
    """Center a square (columns first) on a black square of another size (rows first)."""
    start, side = (size - len(drawn)) // 2, len(drawn)
    framed = np.zeros((size, size, *drawn.shape[2:]), dtype=np.uint8)
    framed[start : start + side, start : start + side] = drawn.swapaxes(0, 1)
    return framed

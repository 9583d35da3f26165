"""A level ready to play: its layout, the effect of each cell, and its image and label map without the agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.toy_grid.art import CELL, THEME_ART, Image, Sprite, cue_tile
from camal_rl.envs.toy_grid.layout import GRID, Cell, Layout, make_layout
from camal_rl.envs.toy_grid.options import SPEC, LevelDesign
from camal_rl.envs.toy_grid.random_stream import RandomStream

SIZE = GRID * CELL
FREE, WALL, GOAL, HAZARD = 0, 1, 2, 3
LABEL = {name: label for label, name in enumerate(SPEC.names)}

ART_STREAM, _GRAIN_STREAM = 2, 3
# 2,048 levels of about 20 kB: all 200 training levels, and the most recent levels of an unlimited set.
_CACHED_LEVELS = 2048
# Both themes together have fewer; the larger one has 4 floors x 3 textures x 8 phases.
_CACHED_BACKGROUNDS = 256


@dataclass(frozen=True)
class Level:
    """A level without its agent.

    Attributes:
        layout: the position of everything.
        cells: uint8[8, 8], what entering a cell does: ``FREE``, ``WALL``, ``GOAL`` or ``HAZARD``.
        image: uint8[64, 64, 3], read-only.
        labels: uint8[64, 64], read-only.
        agent: the agent's sprite.
    """

    layout: Layout
    cells: npt.NDArray[np.uint8]
    image: Image
    labels: LabelMap
    agent: Sprite


@lru_cache(maxsize=_CACHED_LEVELS)
def build_level(seed: int, design: LevelDesign, boxes: bool = False) -> Level:
    """Build the level of a seed; pure, and kept in a bounded cache.

    Args:
        seed: the level's seed.
        design: the design of the levels.
        boxes: label whole cells instead of drawn pixels.
    """
    layout = make_layout(seed, design)
    theme = THEME_ART[design.theme]
    stream = RandomStream(seed, ART_STREAM)
    image = _background(design.theme, stream).copy()
    labels = np.zeros((SIZE, SIZE), dtype=np.uint8)
    image[:CELL] = np.tile(cue_tile(layout.cue), (1, GRID, 1))
    labels[:CELL] = LABEL["cue"]
    things = [(cell, theme.wall, "wall") for cell in layout.walls]
    things += [(cell, theme.hazard, "hazard") for cell in layout.hazards]
    things += [(layout.goal, theme.goal, "goal")]
    for cell in layout.distractors:
        things.append((cell, stream.choice(theme.distractors), "distractor"))
    for cell, drawing, name in things:
        _stamp(image, labels, cell, drawing, LABEL[name], boxes)
    cells = _cell_effects(layout)
    for array in (image, labels, cells):
        array.setflags(write=False)
    return Level(layout, cells, image, labels, theme.agent)


def _cell_effects(layout: Layout) -> npt.NDArray[np.uint8]:
    cells = np.full((GRID, GRID), WALL, dtype=np.uint8)
    cells[1:-1, 1:-1] = FREE
    for kind, where in ((WALL, layout.walls), (HAZARD, layout.hazards), (GOAL, (layout.goal,))):
        for cell in where:
            cells[cell] = kind
    return cells


def _background(theme: str, stream: RandomStream) -> Image:
    art = THEME_ART[theme]
    floor, texture = stream.randrange(len(art.floors)), stream.randrange(len(art.textures))
    return paint_background(theme, floor, texture, stream.randrange(CELL))


@lru_cache(maxsize=_CACHED_BACKGROUNDS)
def paint_background(theme: str, floor: int, texture: int, phase: int) -> Image:
    """Return the empty board: a floor of a theme under one of its textures, which is shifted by ``phase``."""
    art = THEME_ART[theme]
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.uint8)
    inside = _blend(art.textures[texture](y, x, phase), *art.floors[floor])
    inside += _grain()
    picture = _blend((((y // 2) + (x // 2)) % 2).astype(float), *art.frame)
    picture[CELL:-CELL, CELL:-CELL] = inside[CELL:-CELL, CELL:-CELL]
    return picture.clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _grain() -> npt.NDArray[np.float64]:
    stream = RandomStream(_GRAIN_STREAM)
    flat = [stream.randrange(9) - 4 for _ in range(SIZE * SIZE)]
    return np.array(flat, dtype=float).reshape(SIZE, SIZE, 1)


def _blend(
    weight: npt.NDArray[np.float64], dark: tuple[int, int, int], light: tuple[int, int, int]
) -> npt.NDArray[np.float64]:
    low, high = np.array(dark, dtype=float), np.array(light, dtype=float)
    return low + weight[..., None] * (high - low)


def _stamp(image: Image, labels: LabelMap, cell: Cell, drawing: Sprite, label: int, boxes: bool) -> None:
    rows = slice(cell[0] * CELL, (cell[0] + 1) * CELL)
    cols = slice(cell[1] * CELL, (cell[1] + 1) * CELL)
    image[rows, cols][drawing.mask] = drawing.color[drawing.mask]
    labels[rows, cols][drawing.mask | boxes] = label

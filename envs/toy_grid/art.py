"""How the toy grid looks: hand-drawn 8x8 sprites, colors and textures, in two disjoint themes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELL = 8
Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Color = tuple[int, int, int]

_AGENT = (
    "..####..",
    ".######.",
    ".#o##o#.",
    ".######.",
    "..####..",
    ".#+##+#.",
    ".#.##.#.",
    "...++...",
)
_AGENT_2 = (
    "...##...",
    "..#++#..",
    "..#oo#..",
    "########",
    "#.####.#",
    "..####..",
    "..#..#..",
    ".##..##.",
)
_GOAL = (
    "...##...",
    "..####..",
    ".##++##.",
    "##++++##",
    "##++++##",
    ".##++##.",
    "..####..",
    "...##...",
)
_GOAL_2 = (
    "...##...",
    "...##...",
    "########",
    ".##++##.",
    "..####..",
    "..####..",
    ".##..##.",
    ".#....#.",
)
_HAZARD = (
    "##....##",
    "###..###",
    ".######.",
    "..#++#..",
    "..#++#..",
    ".######.",
    "###..###",
    "##....##",
)
_HAZARD_2 = (
    "#..##..#",
    ".##++##.",
    ".#o##o#.",
    "########",
    "########",
    ".#o##o#.",
    ".##++##.",
    "#..##..#",
)
_WALL = (
    "########",
    "###o####",
    "###o####",
    "oooooooo",
    "#####o##",
    "#####o##",
    "#####o##",
    "oooooooo",
)
_WALL_2 = (
    "oooooooo",
    "o######o",
    "o#+##+#o",
    "o######o",
    "o######o",
    "o#+##+#o",
    "o######o",
    "oooooooo",
)
_PLANT = (
    "........",
    "..#..#..",
    ".##.###.",
    "..###...",
    ".#.#+##.",
    "..##+...",
    "...++...",
    "...++...",
)
_PUDDLE = (
    "........",
    "........",
    "..####..",
    ".##++##.",
    "##+####.",
    ".######.",
    "..####..",
    "........",
)
_BONES = (
    "........",
    ".##.....",
    ".###....",
    "...##...",
    "....##..",
    ".....###",
    ".....##.",
    "........",
)


@dataclass(frozen=True)
class Sprite:
    """An 8x8 drawing: ``color`` is uint8[8, 8, 3], ``mask`` is True where it covers what is below."""

    color: Image
    mask: Mask


@dataclass(frozen=True)
class Theme:
    """One set of drawings.

    Attributes:
        agent, goal, hazard, wall: one sprite each.
        distractors: the sprites that distractors are drawn from.
        floors: colors (dark, light) of the floor's textures.
        textures: functions of two index grids and a random phase to [0, 1], the blend between dark and light.
        frame: colors (dark, light) of the frame.
    """

    agent: Sprite
    goal: Sprite
    hazard: Sprite
    wall: Sprite
    distractors: tuple[Sprite, ...]
    floors: tuple[tuple[Color, Color], ...]
    textures: tuple[Callable[[Image, Image, int], npt.NDArray[np.float64]], ...]
    frame: tuple[Color, Color]


def sprite(drawing: tuple[str, ...], main: Color, light: Color, dark: Color = (20, 20, 28)) -> Sprite:
    """Color a drawing: ``#`` main, ``+`` light, ``o`` dark, ``.`` see-through."""
    letters = np.array([list(line) for line in drawing])
    color = np.zeros((CELL, CELL, 3), dtype=np.uint8)
    for letter, shade in (("#", main), ("+", light), ("o", dark)):
        color[letters == letter] = shade
    return Sprite(color, letters != ".")


def _checker(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return ((y // 4 + (x + phase) // 4) % 2).astype(float)


def _rows(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return ((y + phase) % 4 < 2).astype(float)


def _dots(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return (((y + phase) % 4 == 0) & ((x + phase) % 4 == 0)).astype(float)


def _diagonal(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return ((y.astype(int) + x + phase) % 6 < 2).astype(float)


def _waves(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return 0.5 + 0.5 * np.sin((y + 3 * np.sin((x + phase) / 5.0)) / 1.6)


def _weave(y: Image, x: Image, phase: int) -> npt.NDArray[np.float64]:
    return (((y + phase) % 6 < 1) | (x % 6 < 1)).astype(float)


THEME_ART = {
    "train": Theme(
        agent=sprite(_AGENT, (70, 160, 255), (200, 230, 255)),
        goal=sprite(_GOAL, (250, 200, 60), (255, 245, 190)),
        hazard=sprite(_HAZARD, (250, 175, 60), (255, 235, 170)),
        wall=sprite(_WALL, (150, 145, 150), (190, 190, 190), (95, 90, 95)),
        distractors=(
            sprite(_PLANT, (60, 150, 75), (120, 85, 50)),
            sprite(_PUDDLE, (70, 105, 165), (120, 155, 200)),
        ),
        floors=(
            ((46, 50, 58), (60, 66, 76)),
            ((58, 48, 40), (74, 62, 52)),
            ((38, 56, 48), (50, 72, 62)),
            ((54, 44, 62), (68, 56, 78)),
        ),
        textures=(_checker, _rows, _dots),
        frame=((26, 27, 34), (36, 38, 46)),
    ),
    "held_out": Theme(
        agent=sprite(_AGENT_2, (235, 235, 240), (255, 120, 180)),
        goal=sprite(_GOAL_2, (255, 225, 40), (255, 255, 220)),
        hazard=sprite(_HAZARD_2, (240, 130, 45), (255, 210, 120)),
        wall=sprite(_WALL_2, (140, 95, 60), (200, 160, 110), (85, 55, 35)),
        distractors=(
            sprite(_BONES, (190, 180, 165), (190, 180, 165)),
            sprite(_PUDDLE, (110, 70, 150), (165, 125, 200)),
        ),
        floors=(
            ((70, 40, 44), (88, 52, 56)),
            ((36, 58, 74), (48, 74, 92)),
            ((72, 70, 44), (88, 86, 56)),
        ),
        textures=(_diagonal, _waves, _weave),
        frame=((40, 30, 26), (54, 42, 36)),
    ),
}

# One color for each quadrant; the same in both themes, because an agent can only use a cue that it has learned.
CUE_COLORS: tuple[Color, ...] = ((235, 60, 70), (60, 200, 90), (75, 110, 245), (215, 80, 225))


def cue_tile(quadrant: int) -> Image:
    """Return the 8x8 tile of the cue: a bright triangle in the quadrant's corner, in the quadrant's color."""
    y, x = np.mgrid[0:CELL, 0:CELL]
    down, right = divmod(quadrant, 2)
    depth = (CELL - 1 - y if down else y) + (CELL - 1 - x if right else x)
    main = np.array(CUE_COLORS[quadrant])
    tile = np.where((depth < CELL - 1)[..., None], main, main * 0.6)
    return tile.astype(np.uint8)

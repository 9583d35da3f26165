"""Converts Procgen's flat colors to labels, without a Python loop over pixels or frames."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.bit_rows import bit_rows, pixels, set_everywhere_nearby
from camal_rl.envs.procgen.classes import Color, GameClasses
from camal_rl.envs.segmentation import LabelMap

_EDGE_WIDTH = 2
# How many bits each channel is shifted before the channels are summed; ``None`` is OpenCV's gray.
_GRAYS = (None, (5, 3, 1))


def flat_color(drawn_type: int, theme: int = 0) -> Color:
    """Return the color of a drawn type with ``use_monochrome_assets``.

    ``k = (29 (type + 1) + 19 theme) mod 64``, and every channel is ``64 digit + 63`` with the three base-4 digits of
    ``k`` (``color_for_type`` in ``basic-abstract-game.cpp``).
    """
    k = (29 * (drawn_type + 1) + 19 * theme) % 64
    return 64 * (k // 16) + 63, 64 * (k // 4 % 4) + 63, 64 * (k % 4) + 63


def color_table(game: GameClasses) -> dict[Color, int]:
    """Return the label of every color that a game's flat-color render shows.

    Raises:
        ValueError: two classes share a color.
    """
    label = {name: index for index, name in enumerate(game.names)}
    pairs: list[tuple[Color, int]] = [((0, 0, 0), 0)]
    for drawn_type, name in game.drawn.items():
        pairs += [(flat_color(drawn_type, theme), label[name]) for theme in range(game.themes.get(drawn_type, 1))]
    pairs += [(flat_color(*drawn), label[name]) for drawn, name in game.theme_classes.items()]
    opaque = pairs + [(color, label[name]) for color, name in game.colors.items()]
    blended = [(blend(over, alpha, below), index) for over, alpha in game.translucent for below, index in opaque]
    table: dict[Color, int] = {}
    for color, index in opaque + blended:
        if table.setdefault(color, index) != index:
            raise ValueError(f"{game.names[table[color]]} and {game.names[index]} share the color {color}")
    return table


def blend(over: Color, alpha: int, below: Color) -> Color:
    """Return Qt's composition of a translucent color with the one below.

    Qt computes ``x / 255`` as ``(x + x / 256 + 128) / 256``, per channel.
    """

    def over_255(value: int) -> int:
        return (value + (value >> 8) + 128) >> 8

    red, green, blue = (over_255(o * alpha) + over_255(b * (255 - alpha)) for o, b in zip(over, below, strict=True))
    return red, green, blue


class LabelPainter:
    """Converts flat-color frames of one game to label maps."""

    def __init__(self, game: GameClasses) -> None:
        label = game.names.index
        self._terrain = [(label(terrain), label(edge)) for terrain, edge in game.edges.items()]
        self._display = [label(name) for name in game.display]
        self._turned = [label(name) for name in game.turned]
        table = color_table(game)
        colors = np.array(list(table), dtype=np.uint8)[None]
        labels = np.array(list(table.values()), dtype=np.uint8)
        self._gray, self._lookup = _separating_gray(colors, labels)

    def __call__(self, frames: npt.NDArray[np.uint8]) -> LabelMap:
        """Return ``uint8[n, H, W]`` labels of ``uint8[n, H, W, 3]`` flat-color frames."""
        labels = self.boxes(frames)
        self.mark_edges(labels)
        return labels

    def boxes(self, frames: npt.NDArray[np.uint8]) -> LabelMap:
        """Return the labels without edges: every object as a box, terrain in one piece."""
        count, height, width, _ = frames.shape
        gray = _to_gray(frames.reshape(count * height, width, 3), self._gray)
        labels = np.asarray(cv2.LUT(gray, self._lookup), dtype=np.uint8).reshape(count, height, width)
        for turned in self._turned:
            _turn_box(labels, turned)
        return labels

    def mark_edges(self, labels: LabelMap, next_to_thin: bool = False) -> None:
        """Give the edges of terrain their own label, in place.

        ``next_to_thin`` checks the nearer pixels as well, so that a neighbor of one pixel's width, such as a part of a
        sprite, makes an edge too.
        """
        distances = range(1, _EDGE_WIDTH + 1) if next_to_thin else (_EDGE_WIDTH,)
        for terrain, edge in self._terrain:
            _mark_edges(labels, terrain, edge, self._display, distances)


def _to_gray(image: npt.NDArray[np.uint8], shifts: tuple[int, int, int] | None) -> npt.NDArray[np.uint8]:
    if shifts is None:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8).reshape(image.shape[:2])
    # The sum of bytes may overflow: the gray is only an index into the lookup table.
    channels = [np.asarray(cv2.extractChannel(image, channel), dtype=np.uint8) for channel in range(3)]
    red, green, blue = (channel >> np.uint8(shift) for channel, shift in zip(channels, shifts, strict=True))
    return (red + green + blue).reshape(image.shape[:2])


def _separating_gray(
    colors: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> tuple[tuple[int, int, int] | None, npt.NDArray[np.uint8]]:
    """Find a conversion to gray that gives colors of different classes different values, and its lookup table.

    OpenCV's gray conversion and lookup are several times as fast as indexing with three channels. OpenCV's own gray
    (``None``) is the fastest and separates the classes of every game but coinrun and jumper.
    """
    for shifts in _GRAYS:
        values = _to_gray(colors, shifts)[0]
        lookup = np.zeros(256, dtype=np.uint8)
        lookup[values] = labels
        if np.array_equal(lookup[values], labels):
            return shifts, lookup
    raise ValueError("no gray conversion separates the colors of the classes")


def _mark_edges(labels: LabelMap, terrain: int, edge: int, display: list[int], distances: Iterable[int]) -> None:
    """Relabel, in place, the terrain pixels with another class at one of ``distances`` up, down, left or right.

    The frame's border and displays on the screen make no edge, because what lies behind them is unknown.
    """
    inside = solid = bit_rows(labels == terrain)
    for label in display:
        solid = solid | bit_rows(labels == label)
    core = inside
    for distance in distances:
        core = core & set_everywhere_nearby(solid, distance)
    labels += pixels(inside & ~core) * np.uint8((edge - terrain) % 256)


def _turn_box(labels: LabelMap, label: int) -> None:
    """Turn, in place, the one box of a class by 90 degrees about its center; uncovered pixels become background."""
    _, height, width = labels.shape
    old = bit_rows(labels == label)
    rows, columns = old != 0, pixels(np.bitwise_or.reduce(old, axis=1))
    top, bottom = rows.argmax(axis=1), height - rows[:, ::-1].argmax(axis=1)
    left, right = columns.argmax(axis=1), width - columns[:, ::-1].argmax(axis=1)
    new_top = (top + bottom - (right - left)) // 2
    new_left = (left + right - (bottom - top)) // 2
    y, x = np.arange(height)[None], np.arange(width)[None]
    in_rows = (y >= new_top[:, None]) & (y < (new_top + right - left)[:, None]) & rows.any(axis=1)[:, None]
    in_columns = bit_rows((x >= new_left[:, None]) & (x < (new_left + bottom - top)[:, None]))
    new = np.where(in_rows, in_columns[:, None], np.uint64(0))
    used = np.flatnonzero(np.bitwise_or.reduce(old | new, axis=0))
    if len(used):
        # Arithmetic on all bytes is several times as fast as assignment by a mask.
        span = slice(used[0], used[-1] + 1)
        part = labels[:, span]
        part *= pixels(~(old | new)[:, span])
        part += pixels(new[:, span]) * np.uint8(label)

"""The rules and the drawing of the toy grid for many games at once, shared by both environments."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.toy_grid.art import CELL, Image
from camal_rl.envs.toy_grid.layout import GRID, MOVES
from camal_rl.envs.toy_grid.level import GOAL, HAZARD, LABEL, SIZE, WALL, build_level
from camal_rl.envs.toy_grid.options import ToyGridOptions

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_STATE = struct.Struct("<qqqq")


class Outcome(NamedTuple):
    """The results of one step of all games, before any new level is placed.

    Attributes:
        rewards: float32[n]: 1 at the goal, -1 at a hazard, otherwise ``-step_cost``.
        terminated: bool[n], goal or hazard reached.
        truncated: bool[n], time limit reached without either.
        success: bool[n], goal reached.
    """

    rewards: npt.NDArray[np.float32]
    terminated: Flags
    truncated: Flags
    success: Flags


@dataclass(frozen=True)
class _Canvas:
    """Images of all games, ``pixels[n, y, x]`` with or without channels."""

    pixels: npt.NDArray[np.uint8]

    @classmethod
    def blank(cls, count: int, *channels: int) -> _Canvas:
        return cls(np.zeros((count, SIZE, SIZE, *channels), dtype=np.uint8))

    @property
    def cells(self) -> npt.NDArray[np.uint8]:
        """A view by cells, ``cells[n, row, y, column, x]``; a stored view would become a separate array in a copy."""
        count, _, _, *channels = self.pixels.shape
        return self.pixels.reshape(count, GRID, CELL, GRID, CELL, *channels)


def _offsets(mask: Flags) -> Ints:
    """Return the offsets of a cell's marked pixels from the cell's corner in a flattened image."""
    rows, cols = np.nonzero(mask)
    return (rows * SIZE + cols).astype(np.int64)


class ToyGridGames:
    """``count`` games that step together; only the cells that an agent leaves or enters are redrawn."""

    def __init__(self, count: int, options: ToyGridOptions) -> None:
        """Allocate the games; :meth:`place` each before the first step."""
        self.options = options
        self.levels: Ints = np.full(count, -1, dtype=np.int64)
        self.rows: Ints = np.zeros(count, dtype=np.int64)
        self.cols: Ints = np.zeros(count, dtype=np.int64)
        self.steps: Ints = np.zeros(count, dtype=np.int64)
        self._effects = np.zeros((count, GRID, GRID), dtype=np.uint8)
        self._image, self._empty_image = _Canvas.blank(count, 3), _Canvas.blank(count, 3)
        self._labels, self._empty_labels = _Canvas.blank(count), _Canvas.blank(count)
        self._moves = np.array(MOVES, dtype=np.int64)
        self._everyone = np.arange(count)
        agent = build_level(options.start_level, options.design, self._boxes).agent
        self._agent_pixels = _offsets(agent.mask)
        self._agent_labeled = _offsets(agent.mask | self._boxes)
        self._agent_colors = agent.color[agent.mask]

    @property
    def _boxes(self) -> bool:
        return self.options.segmentation == "box"

    @property
    def images(self) -> Image:
        """The current images, uint8[n, 64, 64, 3]; overwritten by the next step, so copy them."""
        return self._image.pixels

    @property
    def labels(self) -> LabelMap:
        """The current label maps, uint8[n, 64, 64]; overwritten by the next step, so copy them."""
        return self._labels.pixels

    def place(self, games: Ints, level_seeds: Ints) -> None:
        """Start a new episode of some games, each in the level of its seed."""
        for game, seed in zip(games.tolist(), level_seeds.tolist(), strict=True):
            level = build_level(seed, self.options.design, self._boxes)
            self.rows[game], self.cols[game] = level.layout.start
            self._effects[game] = level.cells
            self._empty_image.pixels[game] = self._image.pixels[game] = level.image
            if self.options.segmentation is not None:
                self._empty_labels.pixels[game] = self._labels.pixels[game] = level.labels
        self.levels[games] = level_seeds
        self.steps[games] = 0
        self._draw_agents(games)

    def step(self, actions: Ints) -> Outcome:
        """Move every agent: 0 up, 1 right, 2 down, 3 left. Walls and the frame block."""
        rows = self.rows + self._moves[actions, 0]
        cols = self.cols + self._moves[actions, 1]
        entered = self._effects[self._everyone, rows, cols]
        moved = np.flatnonzero(entered != WALL)
        self._erase_agents(moved)
        self.rows[moved], self.cols[moved] = rows[moved], cols[moved]
        self._draw_agents(moved)
        self.steps += 1
        success, burnt = entered == GOAL, entered == HAZARD
        terminated = success | burnt
        rewards = np.full(len(rows), -self.options.step_cost, dtype=np.float32)
        rewards[success] = 1.0
        rewards[burnt] = -1.0
        return Outcome(rewards, terminated, ~terminated & (self.steps >= self.options.max_steps), success)

    def get_state(self, game: int) -> bytes:
        """Return one game's state: level, row, column and steps taken."""
        where = (self.levels[game], self.rows[game], self.cols[game], self.steps[game])
        return _STATE.pack(*(int(item) for item in where))

    def set_state(self, game: int, state: bytes) -> None:
        """Put one game into a state that :meth:`get_state` returned for the same options."""
        if len(state) != _STATE.size:
            raise ValueError(f"a toy grid state must have {_STATE.size} bytes, got {len(state)}")
        level, row, col, steps = _STATE.unpack(state)
        here = self._everyone[game : game + 1]
        self.place(here, np.array([level]))
        self._erase_agents(here)
        self.rows[game], self.cols[game], self.steps[game] = row, col, steps
        self._draw_agents(here)

    def _erase_agents(self, games: Ints) -> None:
        where = (games, self.rows[games], slice(None), self.cols[games])
        self._image.cells[where] = self._empty_image.cells[where]
        if self.options.segmentation is not None:
            self._labels.cells[where] = self._empty_labels.cells[where]

    def _draw_agents(self, games: Ints) -> None:
        """Draw agents onto cells that show no agent."""
        corners = (games * SIZE + self.rows[games] * CELL) * SIZE + self.cols[games] * CELL
        self._image.pixels.reshape(-1, 3)[corners[:, None] + self._agent_pixels] = self._agent_colors
        if self.options.segmentation is not None:
            self._labels.pixels.reshape(-1)[corners[:, None] + self._agent_labeled] = LABEL["agent"]

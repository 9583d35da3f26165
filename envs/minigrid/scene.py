"""The visible state of a MiniGrid game as arrays, which can be edited without changing the game."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camal_rl.envs.minigrid.layouts import NAMES

if TYPE_CHECKING:
    from minigrid.core.grid import Grid
    from minigrid.minigrid_env import MiniGridEnv

Cells = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
FLOORS = ("", "blue", "purple", "grey")
"""Colors of the floor; the empty one is MiniGrid's own black."""
_UP = 3
# MiniGrid's colors are numbered red, green, blue, purple, yellow, grey; each number maps to another color.
_OTHER_COLOR = np.array([5, 2, 4, 0, 1, 3], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that determines an image; rows go down, columns go right.

    Attributes:
        cells: ``uint8[h, w, 3]``: class id, color and state (of doors) of what is in each cell, with MiniGrid's codes
            of colors and states; class 0 is an empty cell.
        lit: ``bool[h, w]``, cells that are drawn brighter because they are in the agent's field of view.
        shown: ``bool[h, w]``, visible cells: all, or those that the agent sees.
        agent: row and column of the agent, which is drawn over the content of its cell.
        direction: direction of the agent: 0 right, 1 down, 2 left, 3 up; ``None`` draws no agent.
        floor: number of the floor's color in :data:`FLOORS`.
    """

    cells: Cells
    lit: Flags
    shown: Flags
    agent: tuple[int, int]
    direction: int | None
    floor: int = 0

    @classmethod
    def full(cls, game: MiniGridEnv, highlight: bool) -> Scene:
        """Return the whole grid, seen from above."""
        cells = encode_cells(game.grid)
        lit = _field_of_view(game) if highlight else np.zeros(cells.shape[:2], dtype=bool)
        column, row = game.agent_pos
        return cls(cells, lit, np.ones_like(lit), (int(row), int(column)), int(game.agent_dir))

    @classmethod
    def partial(cls, game: MiniGridEnv) -> Scene:
        """Return the agent's view, rotated so that the agent faces up in the middle of the bottom row."""
        grid, visible = game.gen_obs_grid()
        seen = np.ascontiguousarray(visible.T)
        return cls(encode_cells(grid), seen, seen, (grid.height - 1, grid.width // 2), _UP)

    def without_class(self, name: str) -> Scene:
        """Return the scene without a class; what the class hides from the agent stays hidden."""
        if name == "agent":
            return replace(self, direction=None)
        return self._emptied(self.cells[..., 0] == NAMES.index(name))

    def without_nearest(self, names: tuple[str, ...]) -> Scene:
        """Return the scene without the object of these classes that is nearest to the agent.

        Distances are in steps; of equally near objects the first is removed. The agent is never removed.
        """
        places = np.argwhere(np.isin(self.cells[..., 0], [NAMES.index(name) for name in names if name != "agent"]))
        if not len(places):
            return self
        nearest = places[np.abs(places - self.agent).sum(axis=1).argmin()]
        chosen = np.zeros(self.lit.shape, dtype=bool)
        chosen[tuple(nearest)] = True
        return self._emptied(chosen)

    def recolored(self) -> Scene:
        """Return the scene with every color replaced by another; objects of equal color stay of equal color."""
        cells = self.cells.copy()
        thing = cells[..., 0] > 0
        cells[thing, 1] = _OTHER_COLOR[cells[thing, 1]]
        return replace(self, cells=cells)

    def on_floor(self, number: int) -> Scene:
        """Return the scene with a floor of :data:`FLOORS` in all visible cells."""
        return replace(self, floor=number)

    def unlit(self) -> Scene:
        """Return the scene without bright cells."""
        return replace(self, lit=np.zeros_like(self.lit))

    def _emptied(self, chosen: Flags) -> Scene:
        return replace(self, cells=np.where(chosen[..., None], np.uint8(0), self.cells))


def encode_cells(grid: Grid) -> Cells:
    """Return what is in each cell of a grid, ``uint8[h, w, 3]``: class id, color, state."""
    codes = [(1, 0, 0) if thing is None else thing.encode() for thing in grid.grid]
    cells = np.array(codes, dtype=np.uint8).reshape(grid.height, grid.width, 3)
    cells[..., 0] -= 1  # MiniGrid's class 0, "unseen", does not occur in a grid.
    return cells


def _field_of_view(game: MiniGridEnv) -> Flags:
    """Return ``bool[h, w]``, the cells of the whole grid that the agent sees."""
    _, visible = game.gen_obs_grid()
    across, along = np.nonzero(visible)
    ahead, right = np.asarray(game.dir_vec), np.asarray(game.right_vec)
    depth = game.agent_view_size - 1 - along
    places = np.asarray(game.agent_pos) + depth[:, None] * ahead + (across - game.agent_view_size // 2)[:, None] * right
    columns, rows = places[((places >= 0) & (places < (game.width, game.height))).all(axis=1)].T
    lit = np.zeros((game.height, game.width), dtype=bool)
    lit[rows, columns] = True
    return lit

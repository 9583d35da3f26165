"""The layout of a level: a pure function of the level's seed and design.

The grid has 8x8 cells. The outer ring is a frame that cannot be entered; its top row shows the cue. The 6x6
cells inside form four quadrants of 3x3: 0 top left, 1 top right, 2 bottom left, 3 bottom right. The agent starts
on one of the four cells in the middle, the goal is in one quadrant, and the hazards are in others. To choose where to
go, it is enough to read the cue, or to distinguish the goal from the hazards.
"""

from __future__ import annotations

from dataclasses import dataclass

from camal_rl.envs.toy_grid.options import LevelDesign
from camal_rl.envs.toy_grid.random_stream import RandomStream

GRID = 8
QUADRANTS = 4
Cell = tuple[int, int]
INNER = tuple((row, col) for row in range(1, GRID - 1) for col in range(1, GRID - 1))
STARTS: tuple[Cell, ...] = ((3, 3), (3, 4), (4, 3), (4, 4))
MOVES: tuple[Cell, ...] = ((-1, 0), (0, 1), (1, 0), (0, -1))
MOVE_NAMES = ("up", "right", "down", "left")

_WALL_TRIES = 20
_LAYOUT_STREAM, _CUE_STREAM = 0, 1


@dataclass(frozen=True)
class Layout:
    """The things of a level, as (row, column) cells.

    Attributes:
        start: the agent's first cell.
        goal: the goal's cell.
        hazards: cells that end the episode with -1.
        walls: cells that cannot be entered, besides the frame.
        distractors: cells with a thing that has no effect.
        cue: the quadrant, 0 to 3, that the cue shows.
    """

    start: Cell
    goal: Cell
    hazards: tuple[Cell, ...]
    walls: tuple[Cell, ...]
    distractors: tuple[Cell, ...]
    cue: int


def quadrant_of(cell: Cell) -> int:
    """Return the quadrant of a cell inside the frame: 0 top left, 1 top right, 2 bottom left, 3 bottom right."""
    return 2 * (cell[0] >= GRID // 2) + (cell[1] >= GRID // 2)


_PLACES = tuple(
    tuple(cell for cell in INNER if quadrant_of(cell) == quadrant and cell not in STARTS)
    for quadrant in range(QUADRANTS)
)


def make_layout(seed: int, design: LevelDesign) -> Layout:
    """Draw a level's layout; the same seed and design always give the same layout.

    The cue has a random stream of its own, so ``cue_strength`` changes nothing but the cue.
    """
    stream = RandomStream(seed, _LAYOUT_STREAM)
    start = stream.choice(STARTS)
    quadrants = stream.sample(range(QUADRANTS), 1 + design.num_hazards)
    goal, *hazards = (stream.choice(_PLACES[quadrant]) for quadrant in quadrants)
    taken = {start, goal, *hazards}
    walls = _draw_walls(start, goal, taken, design.num_walls, stream)
    free = [cell for cell in INNER if cell not in taken and cell not in walls]
    distractors = stream.sample(free, design.num_distractors)
    cue = _draw_cue(seed, quadrants[0], design.cue_strength)
    return Layout(start, goal, tuple(hazards), walls, tuple(distractors), cue)


def _draw_cue(seed: int, truth: int, strength: float) -> int:
    stream = RandomStream(seed, _CUE_STREAM)
    truthful = stream.random() < strength
    guess = stream.randrange(QUADRANTS)
    return truth if truthful else guess


def _draw_walls(start: Cell, goal: Cell, taken: set[Cell], count: int, stream: RandomStream) -> tuple[Cell, ...]:
    free = [cell for cell in INNER if cell not in taken]
    for _ in range(_WALL_TRIES):
        walls = stream.sample(free, count)
        if _reachable(start, goal, {*walls, *taken} - {start, goal}):
            return tuple(walls)
    return ()


def _reachable(start: Cell, goal: Cell, closed: set[Cell]) -> bool:
    seen, queue = {start}, [start]
    while queue:
        row, col = queue.pop()
        if (row, col) == goal:
            return True
        for step_row, step_col in MOVES:
            cell = (row + step_row, col + step_col)
            inside = 0 < cell[0] < GRID - 1 and 0 < cell[1] < GRID - 1
            if inside and cell not in closed and cell not in seen:
                seen.add(cell)
                queue.append(cell)
    return False

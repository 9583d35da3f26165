"""Reading and editing the bytes of a Procgen simulator state.

Layout (little-endian, 32 bits each unless said otherwise; ``game.cpp``, ``basic-abstract-game.cpp`` and ``entity.cpp``
of openai/procgen 0.10.7): version, name length, name, 12 options, 5 settings, 2 random generators (flag, length, text),
15 fields of step data and counters, grid size, number of entities, 31 fields per entity, and then what belongs to the
world (20 fields, a random generator, 9 fields, the grid with its width, height and number of cells) and to the game.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OUT_OF_BOUNDS_NOTHING = -1

_OPTION_INDEX = {
    "paint_vel_info": 0,
    "use_monochrome_assets": 2,
    "restrict_themes": 3,
    "use_backgrounds": 4,
    "distribution_mode": 7,
}
_OPTIONS, _SETTINGS, _STEP_DATA, _ENTITY_FIELDS = 12, 5, 15, 31
_CURRENT_TIME_FROM_END_OF_STEP_DATA = 2
_ENTITY_DTYPE = np.dtype(
    [("position", "<f4", 2), ("velocity", "<f4", 2), ("radius", "<f4", 2)]
    + [(name, "<i4") for name in ("type", "image_type", "image_theme", "render_z")]
    + [("other", "<i4", 15), ("alpha", "<f4"), ("rest", "<f4", 5)]
)
_BACKGROUND_INDEX, _CENTER, _WORLD_GENERATOR = 1, 14, 19
_OUT_OF_BOUNDS, _VIEW_DIM, _NUM_CELLS, _GRID = 2, 4, 11, 12
_PICTURE_SCALE = (3, 5, 6)


@dataclass(frozen=True)
class StateLayout:
    """Byte offsets of one state.

    Attributes:
        options: where the option fields start.
        current_time: the step of the episode (an int32).
        entities: where the entities start.
        num_entities: number of entities.
    """

    options: int
    current_time: int
    entities: int
    num_entities: int


@dataclass(frozen=True)
class WorldLayout:
    """Byte offsets of a state's fields for the world and the camera.

    Attributes:
        background_index: which of the game's backgrounds is painted (an int32).
        center: the world coordinates (x, y) of the middle of the frame (two float32).
        out_of_bounds: the type drawn outside the grid (an int32; :data:`OUT_OF_BOUNDS_NOTHING` draws nothing).
        view_dim: how many cells the frame spans (a float32).
        width: the number of columns of the grid (an int32).
        grid: where the cells start, row by row from the bottom.
        num_cells: number of cells.
    """

    background_index: int
    center: int
    out_of_bounds: int
    view_dim: int
    width: int
    grid: int
    num_cells: int


def _int32(state: bytes | bytearray, offset: int) -> int:
    return int.from_bytes(state[offset : offset + 4], "little", signed=True)


def layout(state: bytes | bytearray) -> StateLayout:
    """Find the fields of a state; their offsets depend on its content."""
    options = 8 + _int32(state, 4)
    offset = options + 4 * (_OPTIONS + _SETTINGS)
    for _ in range(2):
        offset += 8 + _int32(state, offset + 4)
    offset += 4 * _STEP_DATA
    return StateLayout(
        options=options,
        current_time=offset - 4 * _CURRENT_TIME_FROM_END_OF_STEP_DATA,
        entities=offset + 8,
        num_entities=_int32(state, offset + 4),
    )


def world(state: bytes | bytearray) -> WorldLayout:
    """Find the fields of the world, which follow the entities."""
    found = layout(state)
    first = found.entities + _ENTITY_DTYPE.itemsize * found.num_entities
    generator = first + 4 * _WORLD_GENERATOR
    second = generator + 8 + _int32(state, generator + 4)
    return WorldLayout(
        background_index=first + 4 * _BACKGROUND_INDEX,
        center=first + 4 * _CENTER,
        out_of_bounds=second + 4 * _OUT_OF_BOUNDS,
        view_dim=second + 4 * _VIEW_DIM,
        width=second,
        grid=second + 4 * _GRID,
        num_cells=_int32(state, second + 4 * _NUM_CELLS),
    )


def without_picture_scale(state: bytes) -> bytes:
    """Return the state without the scale and shift of its last picture, which differ between 64 and 512 pixels."""
    edited = bytearray(state)
    first = world(edited).width
    for index in _PICTURE_SCALE:
        write_int(edited, first + 4 * index, 0)
    return bytes(edited)


def current_time(state: bytes) -> int:
    """Return the number of steps taken in the episode."""
    return _int32(state, layout(state).current_time)


def check_states(states: Sequence[bytes], count: int, game: str, monochrome: bool | None) -> None:
    """Check that states fit an environment.

    Args:
        states: the states.
        count: the number of games in the environment.
        game: the name of the game.
        monochrome: the value of ``use_monochrome_assets`` that the environment's masks need; ``None`` for any.

    Raises:
        ValueError: the states do not fit; the message is one line.
    """
    if len(states) != count:
        raise ValueError(f"expected {count} states, one per environment, got {len(states)}")
    for index, state in enumerate(states):
        if game_name(state) != game:
            raise ValueError(f"state {index} belongs to {game_name(state)!r}, not to {game!r}")
        own = bool(option(state, "use_monochrome_assets"))
        if monochrome not in (None, own):
            raise ValueError(
                f"state {index} has use_monochrome_assets={own}, for which these silhouettes are wrong; "
                f"make the environment with the same value"
            )


def game_name(state: bytes) -> str:
    """Return the name of the game that a state belongs to."""
    return state[8 : 8 + _int32(state, 4)].decode()


def entities(state: bytearray) -> npt.NDArray[np.void]:
    """Return the entities as a structured array that shares its memory with ``state``."""
    found = layout(state)
    return np.frombuffer(state, dtype=_ENTITY_DTYPE, count=found.num_entities, offset=found.entities)


def cells(state: bytearray) -> npt.NDArray[np.int32]:
    """Return the types of the grid's cells as an array that shares its memory with ``state``."""
    found = world(state)
    return np.frombuffer(state, dtype="<i4", count=found.num_cells, offset=found.grid)


def read_int(state: bytes | bytearray, offset: int) -> int:
    """Return the int32 at a byte offset; a negative offset counts from the end."""
    return _int32(state, offset % len(state))


def write_int(state: bytearray, offset: int, value: int) -> None:
    """Overwrite, in place, the int32 at a byte offset; a negative offset counts from the end."""
    start = offset % len(state)
    state[start : start + 4] = value.to_bytes(4, "little", signed=True)


def read_floats(state: bytes | bytearray, offset: int, count: int) -> tuple[float, ...]:
    """Return ``count`` float32 that start at a byte offset."""
    return struct.unpack_from(f"<{count}f", state, offset)


def set_options(state: bytearray, **options: int) -> None:
    """Overwrite drawing options in place, for example ``use_backgrounds=False``."""
    first = layout(state).options
    for name, value in options.items():
        offset = first + 4 * _OPTION_INDEX[name]
        state[offset : offset + 4] = int(value).to_bytes(4, "little")


def option(state: bytes | bytearray, name: str) -> int:
    """Return a drawing option, for example ``use_backgrounds``."""
    return _int32(state, layout(state).options + 4 * _OPTION_INDEX[name])


def set_levels(state: bytearray, first: int, stop: int) -> None:
    """Overwrite, in place, the range ``[first, stop)`` that the next levels are drawn from."""
    offset = layout(state).options + 4 * (_OPTIONS + 1)
    state[offset : offset + 8] = first.to_bytes(4, "little") + stop.to_bytes(4, "little")

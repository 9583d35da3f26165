"""Edits of a Procgen state that change what is drawn: another background, other themes, fewer objects.

An edited state is drawn once and never played, so an edit may break anything that the drawing code does not read. What
each field does, and which fields a game stores at the end of its state, is from the source of openai/procgen 0.10.7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.state import (
    OUT_OF_BOUNDS_NOTHING,
    cells,
    current_time,
    entities,
    read_int,
    set_options,
    world,
    write_int,
)

SPACE = 100
_MEMORY_MODE = 10
Names = npt.NDArray[np.str_]

# Number of background images of each game (resources.cpp; platform games may also show the space images).
_SPACE, _TOP_DOWN, _PLATFORM, _WATER, _WATER_SURFACE = 13, 9, 62, 7, 4
BACKGROUNDS: Mapping[str, int] = MappingProxyType(
    {
        "bigfish": _WATER,
        "bossfight": _SPACE,
        "caveflyer": _SPACE,
        "chaser": 1,
        "climber": _PLATFORM,
        "coinrun": _PLATFORM,
        "dodgeball": _TOP_DOWN,
        "fruitbot": _TOP_DOWN,
        "heist": _TOP_DOWN,
        "jumper": _PLATFORM,
        "leaper": _TOP_DOWN,
        "maze": _TOP_DOWN,
        "miner": _PLATFORM,
        "ninja": _PLATFORM,
        "plunder": _WATER_SURFACE,
        "starpilot": _SPACE,
    }
)

# Number of themes by drawn type of an entity, for themes that affect neither the rules nor the size of the object: any
# of them could have been drawn for this state. (Not included: bigfish's fish, bossfight's ships and meteors,
# starpilot's turrets and fruitbot's food have the size of their sprite; themes affect the rules in heist and plunder;
# leaper animates its frog by themes.)
THEMES: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {
        "bossfight": {1: 3, 4: 3},
        "climber": {0: 4},
        "coinrun": {0: 5, 6: 9, 7: 9, 20: 4},
        "dodgeball": {4: 7},
        "fruitbot": {12: 3},
        "leaper": {4: 5},
        "ninja": {1: 6},
        "starpilot": {4: 7, 8: 7, 5: 8, 6: 9},
    }
)

# The offset of the terrain's theme in a platform game (bytes from the end of the state), and the number of themes.
WALL_THEMES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"climber": (-16, 4), "coinrun": (-28, 6), "jumper": (-12, 4), "ninja": (-24, 3)}
)

# Cells whose drawn type the game maps to another one, or paints itself.
_CELL_CLASSES: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {"chaser": {1002: "orb"}, "miner": {3: "boulder", 4: "diamond"}}
)
_HEIST_KEY_ON_RING = 11
_CHASER_ENEMY, _CHASER_EAT_TIME, _CHASER_EAT_TIMEOUT = 6, -24, -32
_DODGEBALL_DOOR, _DODGEBALL_NUM_ENEMIES = 5, -12
_JUMPER_HAS_SUPPORT, _JUMPER_JUMP_DELTA = -20, -28
_NINJA_JUMP_CHARGE = -12
_PLUNDER_SHIP, _PLUNDER_TARGET_THEME = 7, -88
_PLUNDER_JUICE, _PLUNDER_TARGETS_HIT = -24, -32
_PLUNDER_TYPES = {0: "agent", 2: "legend", 3: "legend_background"}


def entity_classes(state: bytearray, game: str) -> Names:
    """Return the class of every entity as ``str[num_entities]``, empty for entities that are not drawn."""
    found, drawn = entities(state), GAMES[game].drawn
    names = np.array([drawn.get(int(kind), "") for kind in found["image_type"]], dtype="<U32")
    if game in _SPECIAL_ENTITIES:
        _SPECIAL_ENTITIES[game](state, names)
    return names


def cell_classes(state: bytearray, game: str) -> Names:
    """Return the class of every grid cell as ``str[num_cells]``, empty for cells that are not drawn."""
    types, indices = np.unique(cells(state), return_inverse=True)
    return np.array([_cell_class(game, int(kind)) for kind in types], dtype="<U32")[indices]


def _cell_class(game: str, kind: int) -> str:
    return _CELL_CLASSES.get(game, {}).get(kind) or GAMES[game].drawn.get(kind, "")


def _heist_entities(state: bytearray, names: Names) -> None:
    names[entities(state)["type"] == _HEIST_KEY_ON_RING] = "held_key"


def _chaser_entities(state: bytearray, names: Names) -> None:
    weak_for = current_time(bytes(state)) - read_int(state, _CHASER_EAT_TIME)
    if weak_for < read_int(state, _CHASER_EAT_TIMEOUT):
        names[entities(state)["image_type"] == _CHASER_ENEMY] = "weak_enemy"


def _dodgeball_entities(state: bytearray, names: Names) -> None:
    if read_int(state, _DODGEBALL_NUM_ENEMIES) == 0:
        names[entities(state)["image_type"] == _DODGEBALL_DOOR] = "open_door"


def _plunder_entities(state: bytearray, names: Names) -> None:
    found = entities(state)
    target = found["image_theme"] == read_int(state, _PLUNDER_TARGET_THEME)
    ships = found["type"] == _PLUNDER_SHIP
    names[ships & target], names[ships & ~target] = "target_ship", "other_ship"
    for kind, name in _PLUNDER_TYPES.items():
        names[found["type"] == kind] = name


_SPECIAL_ENTITIES: Mapping[str, Callable[[bytearray, Names], None]] = MappingProxyType(
    {
        "chaser": _chaser_entities,
        "dodgeball": _dodgeball_entities,
        "heist": _heist_entities,
        "plunder": _plunder_entities,
    }
)


def removable_classes(game: str) -> tuple[str, ...]:
    """Return the classes that can be removed: all but the background and edges, which go with their terrain."""
    classes = GAMES[game]
    return tuple(name for name in classes.names[1:] if name not in classes.edges.values())


def remove_class(state: bytearray, game: str, name: str) -> None:
    """Hide all objects of a class, in place: entities, grid cells, the area outside the grid, displays.

    Hidden entities and cells get type 100 (space), which no drawing code paints.
    """
    entities(state)["image_type"][entity_classes(state, game) == name] = SPACE
    cells(state)[cell_classes(state, game) == name] = SPACE
    outside = world(state).out_of_bounds
    if _cell_class(game, read_int(state, outside)) == name:
        write_int(state, outside, OUT_OF_BOUNDS_NOTHING)
    if (game, name) in _DISPLAYS:
        _DISPLAYS[game, name](state)


def _remove_compass(state: bytearray) -> None:
    """Hide the compass, as memory mode does.

    Memory mode also hides the puff under a double jump, so nothing changes while there is a puff.
    """
    if read_int(state, _JUMPER_JUMP_DELTA) >= 0 or read_int(state, _JUMPER_HAS_SUPPORT) > 0:
        set_options(state, distribution_mode=_MEMORY_MODE)


def _remove_jump_charge(state: bytearray) -> None:
    write_int(state, _NINJA_JUMP_CHARGE, 0)


def _remove_bars(state: bytearray) -> None:
    write_int(state, _PLUNDER_JUICE, 0)
    write_int(state, _PLUNDER_TARGETS_HIT, 0)


_DISPLAYS: Mapping[tuple[str, str], Callable[[bytearray], None]] = MappingProxyType(
    {
        ("jumper", "compass"): _remove_compass,
        ("ninja", "jump_charge"): _remove_jump_charge,
        ("plunder", "display"): _remove_bars,
    }
)


def other_background(state: bytearray, game: str, number: int, count: int) -> None:
    """Choose another background, in place: the ``number``-th (from 1) of ``count``, evenly spaced after the current.

    Raises:
        ValueError: ``number`` is not in [1, ``count``], or the game has fewer than ``count`` other backgrounds.
    """
    total = BACKGROUNDS[game]
    if not 1 <= number <= count < total:
        raise ValueError(f"{game} has {total - 1} other backgrounds; 1 <= number <= count <= that must hold")
    offset = world(state).background_index
    write_int(state, offset, (read_int(state, offset) + number * total // (count + 1)) % total)


def other_themes(state: bytearray, game: str, number: int) -> None:
    """Shift the themes of the terrain and of the types in :data:`THEMES` by ``number``, in place."""
    found = entities(state)
    for kind, total in THEMES.get(game, {}).items():
        chosen = found["image_type"] == kind
        found["image_theme"][chosen] = (found["image_theme"][chosen] + number) % total
    if game in WALL_THEMES:
        offset, total = WALL_THEMES[game]
        write_int(state, offset, (read_int(state, offset) + number) % total)

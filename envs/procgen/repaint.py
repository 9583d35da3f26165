"""States for the flat-color simulator, with other drawing options, and with drawn types that separate more objects.

The edits affect only what is painted. The games' rules do not read drawn types. Plunder's rules read themes (of its
targets), so the tables that give themes their meaning are edited in the same way; the themes' images have equal sizes.
The simulator never turns flat boxes. Two kinds of objects are drawn turned and collide with nothing, so their boxes are
turned here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from camal_rl.envs.procgen.state import entities, set_options

_HEIST_KEY_ON_RING = 11
_PLUNDER_PLAYER, _PLUNDER_LEGEND, _PLUNDER_LEGEND_BACKGROUND, _PLUNDER_SHIP = 0, 2, 3, 7
_PLUNDER_BACKGROUND_DRAWN = 4
# Bytes from the end of a plunder state: two vectors of a count and six ints, then five lane velocities, four ints, five
# floats and the end marker.
_PLUNDER_PERMUTATION = slice(-88, -64)
_PLUNDER_TARGETS = slice(-116, -92)


def flat_color_state(state: bytes, game: str, keep_themes: bool) -> bytes:
    """Return the state that makes the flat-color simulator draw the frame of ``state`` in flat colors.

    Args:
        state: a state of the real environment.
        game: name of the game.
        keep_themes: do not change ``restrict_themes``, for games whose flat-color simulator has to choose the same
            sprite sizes.
    """
    edited = bytearray(state)
    options = {"use_monochrome_assets": True, "use_backgrounds": False, "paint_vel_info": False}
    set_options(edited, **options if keep_themes else {**options, "restrict_themes": True})
    if game in _REPAINT:
        _REPAINT[game](edited)
    return bytes(edited)


def sprite_state(state: bytes) -> bytes:
    """Return the state that makes a simulator draw the sprites of ``state`` and nothing behind or above them."""
    edited = bytearray(state)
    set_options(edited, use_backgrounds=False, paint_vel_info=False)
    return bytes(edited)


def _repaint_heist(state: bytearray) -> None:
    """Give the keys on the ring, which share the drawn type of keys, a type of their own, and turn their boxes."""
    found = entities(state)
    on_ring = found["type"] == _HEIST_KEY_ON_RING
    found["image_type"][on_ring] = _HEIST_KEY_ON_RING
    found["radius"][on_ring] = found["radius"][on_ring][:, ::-1]


def _repaint_plunder(state: bytearray) -> None:
    """Give the player, the legend and its background drawn types of their own, and the ships themes 0 and 2.

    All ships' images have the same size, so themes can be exchanged. The two themes in use are the first two of the
    game's permutation; the first is the target. They become 0 and 2, because no other object has those colors.
    """
    found = entities(state)
    target, other = np.frombuffer(bytes(state[_PLUNDER_PERMUTATION]), dtype="<i4")[:2]
    ships = found["type"] == _PLUNDER_SHIP
    themes = found["image_theme"]
    is_target, is_other = ships & (themes == target), ships & (themes == other)
    themes[is_target], themes[is_other] = 0, 2
    for kind, drawn in (
        (_PLUNDER_PLAYER, _PLUNDER_PLAYER),
        (_PLUNDER_LEGEND, _PLUNDER_LEGEND),
        (_PLUNDER_LEGEND_BACKGROUND, _PLUNDER_BACKGROUND_DRAWN),
    ):
        found["image_type"][found["type"] == kind] = drawn
        found["image_theme"][found["type"] == kind] = 0
    legend = found["type"] == _PLUNDER_LEGEND
    found["radius"][legend] = found["radius"][legend][:, ::-1]
    state[_PLUNDER_PERMUTATION] = np.array([0, 2, 1, 3, 4, 5], dtype="<i4").tobytes()
    state[_PLUNDER_TARGETS] = np.array([1, 0, 0, 0, 0, 0], dtype="<i4").tobytes()


_REPAINT: Mapping[str, Callable[[bytearray], None]] = MappingProxyType(
    {"heist": _repaint_heist, "plunder": _repaint_plunder}
)

"""Atari 2600 games, with label maps from their RAM."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium

from camal_rl.envs.atari.env import AtariEnv
from camal_rl.envs.atari.games import GAMES
from camal_rl.envs.atari.modification_table import held_out_modifications
from camal_rl.envs.atari.options import parse_options
from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, make_segmented_vec
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.segmentation import SegmentationSpec

__all__ = ["FAMILY", "AtariEnv", "env_names", "info", "level_sets", "make_vec", "register", "segmentation_spec"]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000
_LICENSE = "GPL-2.0-only (ALE), MIT (OCAtari)"


def env_names() -> tuple[str, ...]:
    """Return the names of the games, spelled as in ALE."""
    return tuple(GAMES)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return a game's classes; displays such as the score are not relevant.

    A game without masks has only the class ``background``.
    """
    return GAMES[name].spec()


def info(name: str) -> EnvInfo:
    """Return the measured exactness of a game's masks, the licenses and the extra."""
    game = GAMES[name]
    return EnvInfo(game.exactness, _LICENSE, extra="atari", module="ale_py", note=game.note)


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return options of :func:`make_vec` by level set.

    ``train``: 200 levels. ``held_out``: other levels, in another mode or difficulty if the game's masks were checked
    in one. ``held_out_levels``: other levels only. ``held_out_appearance``: other levels in other colors.
    ``held_out_object_colors`` and ``held_out_behavior``: other levels with one of the game's modifications, if masks
    are good with one. ``held_out_mode``: other levels in another mode or difficulty, if the game has one; without
    checked masks, this set is for returns only.
    """
    game = GAMES[name]
    levels = {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    sets: dict[str, Mapping[str, Any]] = {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS, "theme": "ale"},
        "held_out": levels,
        "held_out_levels": levels,
        "held_out_appearance": {**levels, "theme": "recolored"},
    }
    for key, modifs in held_out_modifications(name).items():
        sets[key] = {**levels, "modifs": modifs}
    if game.held_out is not None:
        mode, difficulty = game.held_out
        sets["held_out_mode"] = {**levels, "mode": mode, "difficulty": difficulty}
        if game.held_out in game.checked:
            sets["held_out"] = sets["held_out_mode"]
    return sets


def make_vec(
    name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
) -> SegmentedGymVecEnv:
    """Make a vectorized game; options as in :class:`~camal_rl.envs.atari.options.AtariOptions`."""
    check_render_mode(render_mode)
    parsed = parse_options(name, options)
    maker = partial(AtariEnv, name, render_mode, **options)
    return make_segmented_vec(maker, num_envs, parsed.spec(), seed, parsed.subproc, parsed.segmentation is not None)


def register() -> None:
    """Register ``camal_rl/atari-<game>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in GAMES:
        env_id = f"camal_rl/atari-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.atari.env:AtariEnv", kwargs={"game": name})


FAMILY = Family(env_names, segmentation_spec, info, level_sets, make_vec, register)

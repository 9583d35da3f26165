"""Crafter's open worlds, with exact segmentation, counterfactuals and Crafter's own score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from camal_rl.envs.crafter.classes import REWARDED
from camal_rl.envs.crafter.env import CrafterEnv, make_env
from camal_rl.envs.crafter.options import parse_options
from camal_rl.envs.crafter.score import episode_scores
from camal_rl.envs.crafter.vec_env import CrafterVecEnv
from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.segmentation import SegmentationSpec

__all__ = [
    "FAMILY",
    "CrafterEnv",
    "CrafterVecEnv",
    "env_names",
    "episode_scores",
    "info",
    "level_sets",
    "make_env",
    "make_vec",
    "register",
    "segmentation_spec",
]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000


def env_names() -> tuple[str, ...]:
    """Return the environments, named as in Crafter's ids ``CrafterReward-v1`` and ``CrafterNoReward-v1``."""
    return tuple(REWARDED)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return the classes and the default relevant set: all but the ground and stone."""
    return parse_options(name, {}).spec()


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, the license and the extra."""
    note = "" if REWARDED[name] else "no rewards: for agents that define their own"
    return EnvInfo("exact", "MIT", extra="crafter", module="crafter", note=note)


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return options of :func:`make_vec` by level set.

    ``train``: 200 worlds. ``held_out``: other worlds. The remaining sets also use other worlds, and each changes one
    more thing: ``held_out_world`` the shares of mountains, water and woods, ``held_out_night`` the time of day,
    ``held_out_appearance`` all textures.
    """
    held_out = {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    return {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS},
        "held_out": held_out,
        "held_out_world": {**held_out, "world": "rugged"},
        "held_out_night": {**held_out, "daylight": "night"},
        "held_out_appearance": {**held_out, "theme": "recolored"},
    }


def make_vec(name: str, num_envs: int, seed: int, **options: Any) -> CrafterVecEnv:
    """Make a vectorized Crafter; options as in :class:`~camal_rl.envs.crafter.options.CrafterOptions`."""
    return CrafterVecEnv(name, num_envs, seed, **options)


def register() -> None:
    """Register ``camal_rl/crafter-<name>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in REWARDED:
        env_id = f"camal_rl/crafter-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.crafter.env:make_env", kwargs={"name": name})


FAMILY = Family(env_names, segmentation_spec, info, level_sets, make_vec, register, episode_scores=episode_scores)

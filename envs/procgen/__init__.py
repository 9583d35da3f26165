"""The 16 Procgen games, vectorized natively, with segmentation from simulator state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.gym_env import ProcgenEnv
from camal_rl.envs.procgen.levels import duplicate_levels, first_frames, frame_fingerprint, training_fingerprints
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.procgen.scores import normalized_score
from camal_rl.envs.procgen.vec_env import ProcgenVecEnv
from camal_rl.envs.segmentation import SegmentationSpec

__all__ = [
    "FAMILY",
    "ProcgenEnv",
    "ProcgenVecEnv",
    "duplicate_levels",
    "env_names",
    "first_frames",
    "frame_fingerprint",
    "info",
    "level_sets",
    "make_vec",
    "normalized_score",
    "register",
    "segmentation_spec",
    "training_fingerprints",
]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000


def env_names() -> tuple[str, ...]:
    """Return the names of the games."""
    return tuple(GAMES)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return a game's classes and its default relevant set."""
    return GAMES[name].spec


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, the license and the extra."""
    return EnvInfo("exact", "MIT", extra="procgen", module=MODULE)


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each level set: the 200 training levels, and other levels.

    ``num_levels=0`` would mean every level, including the training levels, so the held-out set is a range that starts
    after them.
    """
    held_out = {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    return {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS, "distribution_mode": "easy"},
        "held_out": {**held_out, "distribution_mode": "easy"},
    }


def make_vec(name: str, num_envs: int, seed: int, **options: Any) -> ProcgenVecEnv:
    """Make a game's vectorized environment; see :class:`ProcgenVecEnv` for the options."""
    return ProcgenVecEnv(name, num_envs, seed, **options)


def register() -> None:
    """Register ``camal_rl/procgen-<game>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in GAMES:
        env_id = f"camal_rl/procgen-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.procgen.gym_env:ProcgenEnv", kwargs={"game": name})


FAMILY = Family(
    env_names,
    segmentation_spec,
    info,
    level_sets,
    make_vec,
    register,
    normalized_score,
    training_fingerprints,
    frame_fingerprint,
)

"""Tasks of the DeepMind Control Suite from pixels, with exact segmentation and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from camal_rl.envs.dm_control.engine import NoRendererError
from camal_rl.envs.dm_control.env import DmControlEnv, make_env
from camal_rl.envs.dm_control.tasks import TASKS
from camal_rl.envs.dm_control.vec_env import DmControlVecEnv
from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.segmentation import SegmentationSpec

__all__ = [
    "FAMILY",
    "DmControlEnv",
    "DmControlVecEnv",
    "NoRendererError",
    "env_names",
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
    """Return the names of the tasks, ``<domain>-<task>`` in the suite's words."""
    return tuple(TASKS)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return a task's classes and its default relevant set."""
    return TASKS[name].spec


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, the license and the extra."""
    return EnvInfo("exact", "Apache-2.0", extra="dm-control", module="dm_control")


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each level set.

    ``train``: 200 initial states. ``held_out``: other initial states. The remaining sets have the initial states of
    ``held_out`` and a different appearance in each level. ``held_out_color_easy`` and ``held_out_color_hard`` change
    the colors of body, ground and sky. ``held_out_video_easy`` shows a video in place of the sky,
    ``held_out_video_hard`` in place of sky and ground. ``held_out_camera`` moves the camera.
    """
    held_out = {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    changed = ("color_easy", "color_hard", "video_easy", "video_hard")
    return {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS, "appearance": "original", "camera": "original"},
        "held_out": {**held_out, "appearance": "original", "camera": "original"},
        **{f"held_out_{name}": {**held_out, "appearance": name, "camera": "original"} for name in changed},
        "held_out_camera": {**held_out, "appearance": "original", "camera": "moving"},
    }


def make_vec(name: str, num_envs: int, seed: int, **options: Any) -> DmControlVecEnv:
    """Make a vectorized task; options as in :class:`~camal_rl.envs.dm_control.options.DmControlOptions`."""
    return DmControlVecEnv(name, num_envs, seed, **options)


def register() -> None:
    """Register ``camal_rl/dm_control-<domain>-<task>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in TASKS:
        env_id = f"camal_rl/dm_control-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.dm_control.env:make_env", kwargs={"name": name})


FAMILY = Family(env_names, segmentation_spec, info, level_sets, make_vec, register)

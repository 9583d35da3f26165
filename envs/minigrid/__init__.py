"""MiniGrid's grid worlds as images, with exact segmentation and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.minigrid.env import MiniGridEnv, make_env
from camal_rl.envs.minigrid.layouts import GROUPS, LAYOUTS
from camal_rl.envs.minigrid.levels import first_frames, frame_fingerprint, training_fingerprints
from camal_rl.envs.minigrid.options import parse_options
from camal_rl.envs.minigrid.vec_env import MiniGridVecEnv
from camal_rl.envs.segmentation import SegmentationSpec

__all__ = [
    "FAMILY",
    "MiniGridEnv",
    "MiniGridVecEnv",
    "env_names",
    "first_frames",
    "frame_fingerprint",
    "info",
    "level_sets",
    "make_env",
    "make_vec",
    "register",
    "segmentation_spec",
    "training_fingerprints",
]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000


def env_names() -> tuple[str, ...]:
    """Return the environments: MiniGrid's ids without ``MiniGrid-`` and the version."""
    return tuple(LAYOUTS)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return the classes and the relevant set of the full view; in the partial view the agent is not relevant."""
    return parse_options(name, {}).spec()


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, the license and the extra."""
    return EnvInfo("exact", "Apache-2.0", extra="minigrid", module="minigrid", note=LAYOUTS[name].note)


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return options of :func:`make_vec` by level set.

    ``train``: 200 levels. ``held_out``: other levels. The remaining sets also use other levels, and each changes one
    more thing: ``held_out_size`` the size of the grid (in LavaCrossing and SimpleCrossing also the number of
    crossings), ``held_out_layout`` rooms, obstacles or rules, ``held_out_appearance`` the colors. The first two exist
    if MiniGrid has such a layout, the third if colors have no meaning in the task.
    """
    own, held_out = LAYOUTS[name], {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    sets: dict[str, Mapping[str, Any]] = {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS},
        "held_out": held_out,
    }
    for key, layout in (("held_out_size", own.size), ("held_out_layout", own.layout)):
        if layout:
            sets[key] = {**held_out, "layout": layout}
    if not GROUPS[own.group].colors_matter:
        sets["held_out_appearance"] = {**held_out, "theme": "recolored"}
    return sets


def make_vec(name: str, num_envs: int, seed: int, **options: Any) -> MiniGridVecEnv:
    """Make a vectorized MiniGrid; options as in :class:`~camal_rl.envs.minigrid.options.MiniGridOptions`."""
    return MiniGridVecEnv(name, num_envs, seed, **options)


def register() -> None:
    """Register ``camal_rl/minigrid-<name>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in LAYOUTS:
        env_id = f"camal_rl/minigrid-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.minigrid.env:make_env", kwargs={"name": name})


FAMILY = Family(
    env_names,
    segmentation_spec,
    info,
    level_sets,
    make_vec,
    register,
    training_fingerprints=training_fingerprints,
    frame_fingerprint=frame_fingerprint,
)

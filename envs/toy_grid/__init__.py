"""The toy grid: find the goal among hazards, with a cue that shows the goal's quadrant on training levels only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.envs.toy_grid.env import ToyGridEnv
from camal_rl.envs.toy_grid.variants import VARIANTS, variant_level_sets, variant_options
from camal_rl.envs.toy_grid.vec_env import ToyGridVecEnv

__all__ = [
    "FAMILY",
    "ToyGridEnv",
    "ToyGridVecEnv",
    "env_names",
    "info",
    "level_sets",
    "make_vec",
    "register",
    "segmentation_spec",
]


def env_names() -> tuple[str, ...]:
    """Return the variants: ``default`` with an informative cue on training levels, ``no_cue`` with a random cue."""
    return tuple(VARIANTS)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return the classes; agent, goal, hazards and walls are relevant."""
    return variant_options(name, {}).spec()


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, and the license."""
    return EnvInfo("exact", "MIT")


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return options of :func:`make_vec` by level set.

    ``train``: 200 levels. ``held_out``: other levels, with a cue that is independent of the goal. Compared with
    ``train``, ``held_out_cue`` changes only the levels, ``cue_broken`` only the cue (independent of the goal), and
    ``held_out_appearance`` the levels and their textures, colors and drawings (cue as in training).
    """
    return variant_level_sets(name)


def make_vec(
    name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
) -> ToyGridVecEnv:
    """Make a vectorized toy grid; options as in :class:`~camal_rl.envs.toy_grid.options.ToyGridOptions`."""
    return ToyGridVecEnv(num_envs, seed, variant_options(name, options), render_mode)


def register() -> None:
    """Register ``camal_rl/toy_grid-<variant>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in VARIANTS:
        env_id = f"camal_rl/toy_grid-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.toy_grid.env:ToyGridEnv", kwargs={"variant": name})


FAMILY = Family(env_names, segmentation_spec, info, level_sets, make_vec, register)

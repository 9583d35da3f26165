"""ViZDoom's scenarios: first-person shooting and gathering, with segmentation from the engine's own renderer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium

from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, make_segmented_vec
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.envs.vizdoom.engine import import_vizdoom
from camal_rl.envs.vizdoom.env import VizdoomEnv, make_env
from camal_rl.envs.vizdoom.options import parse_options
from camal_rl.envs.vizdoom.scenarios import SCENARIOS

__all__ = [
    "FAMILY",
    "VizdoomEnv",
    "env_names",
    "info",
    "level_sets",
    "make_vec",
    "register",
    "segmentation_spec",
]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000
_NOTES = {"MyWayHome": "only the goal has a mask, and it is seldom in view"}


def env_names() -> tuple[str, ...]:
    """Return the names of the scenarios, spelt as in ViZDoom's Gymnasium ids."""
    return tuple(SCENARIOS)


def segmentation_spec(name: str) -> SegmentationSpec:
    """Return a scenario's classes and its default relevant set."""
    return SCENARIOS[name].spec


def info(name: str) -> EnvInfo:
    """Return how exact the masks are, the licenses and the extra."""
    license = "MIT; engine: ZDoom's; pictures: Freedoom's BSD"
    return EnvInfo("exact", license, extra="vizdoom", module="vizdoom", note=_NOTES.get(name, ""))


def level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each level set.

    ``held_out``: levels other than the 200 training levels. ``held_out_appearance``: the same levels with other walls,
    floors and ceilings.
    """
    held_out = {"start_level": NUM_TRAIN_LEVELS, "num_levels": _NUM_HELD_OUT_LEVELS}
    return {
        "train": {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS, "appearance": "original"},
        "held_out": {**held_out, "appearance": "original"},
        "held_out_appearance": {**held_out, "appearance": "held_out"},
    }


def make_vec(
    name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
) -> SegmentedGymVecEnv:
    """Make a scenario's vectorized environment.

    Options as in :class:`~camal_rl.envs.vizdoom.options.VizdoomOptions`. Every environment has an engine process of its
    own in any case. ``subproc`` lets the engines run at the same time, which helps only if there are spare cores.
    """
    check_render_mode(render_mode)
    parsed = parse_options(name, options)
    import_vizdoom()
    maker = partial(make_env, name, render_mode, **options)
    masks = parsed.segmentation is not None
    return make_segmented_vec(maker, num_envs, parsed.spec(name), seed, parsed.subproc, masks)


def register() -> None:
    """Register ``camal_rl/vizdoom-<scenario>-v0`` with Gymnasium; calling it again changes nothing."""
    for name in SCENARIOS:
        env_id = f"camal_rl/vizdoom-{name}-v0"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="camal_rl.envs.vizdoom.env:make_env", kwargs={"scenario": name})


FAMILY = Family(env_names, segmentation_spec, info, level_sets, make_vec, register)

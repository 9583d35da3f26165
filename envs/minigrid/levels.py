"""Held-out levels that look like training levels: many layouts are so small that different seeds give the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camal_rl.envs.levels import frame_fingerprint
from camal_rl.envs.minigrid.env import MiniGridEnv
from camal_rl.envs.minigrid.options import parse_options


def first_frames(name: str, start_level: int, num_levels: int, **options: Any) -> dict[int, bytes]:
    """Return the fingerprint of the first frame of each level in ``[start_level, start_level + num_levels)``.

    Args:
        name: which environment.
        start_level: first level.
        num_levels: how many levels, at least 1.
        **options: the other options, as the environment has whose levels are meant.

    Raises:
        ValueError: ``num_levels`` below 1.
    """
    if num_levels < 1:
        raise ValueError(f"num_levels must be at least 1, got {num_levels}: all levels (0) cannot be listed")
    env = MiniGridEnv(parse_options(name, {**options, "segmentation": None}))
    levels = range(start_level, start_level + num_levels)
    found = {level: frame_fingerprint(env.reset(seed=level)[0]) for level in levels}
    env.close()
    return found


def training_fingerprints(name: str, train_options: Mapping[str, Any]) -> frozenset[bytes]:
    """Return the fingerprints of the first frames of all training levels.

    An evaluation on held-out levels leaves out (and counts) the episodes whose first frame is one of these. In the
    partial view different levels can start with the same frame; they are left out, too.

    Args:
        name: which environment.
        train_options: the options of training; ``num_levels`` has to be there and not 0.
    """
    options = dict(train_options)
    start_level, num_levels = options.pop("start_level", 0), options.pop("num_levels", 0)
    return frozenset(first_frames(name, start_level, num_levels, **options).values())

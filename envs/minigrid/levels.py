"""Finds held-out levels that look like training levels: in small layouts, different seeds can give the same level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camal_rl.envs.levels import frame_fingerprint
from camal_rl.envs.minigrid.env import MiniGridEnv
from camal_rl.envs.minigrid.options import parse_options


def first_frames(name: str, start_level: int, num_levels: int, **options: Any) -> dict[int, bytes]:
    """Return the fingerprint of the first frame of each level in ``[start_level, start_level + num_levels)``.

    Args:
        name: name of the environment.
        start_level: first level.
        num_levels: number of levels, at least 1.
        **options: the environment's other options.

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

    An evaluation on held-out levels excludes (and counts) the episodes whose first frame is one of these. In the
    partial view, different levels can start with the same frame; such levels are excluded too.

    Args:
        name: name of the environment.
        train_options: the options of training; they must contain ``num_levels``, at least 1.

    Raises:
        ValueError: ``num_levels`` is missing or 0.
    """
    options = dict(train_options)
    start_level, num_levels = options.pop("start_level", 0), options.pop("num_levels", 0)
    return frozenset(first_frames(name, start_level, num_levels, **options).values())

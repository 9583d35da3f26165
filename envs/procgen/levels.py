"""Held-out levels that look like training levels: how to find and exclude them.

Different seeds can give the same level, above all in easy mode (openai/procgen issue 100: coinrun 24 %, maze 20 %,
ninja 4 % of test levels). Only the first frame is known without playing, so an episode counts as a duplicate if it
starts with the first frame of a training level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from camal_rl.envs.levels import frame_fingerprint
from camal_rl.envs.procgen.options import parse_options
from camal_rl.envs.procgen.simulator import Simulator
from camal_rl.envs.procgen.state import set_levels

_MAX_COPIES = 64
_END_EPISODE = -1
_OF_NO_EFFECT_ON_A_LEVEL = ("start_level", "num_levels", "num_threads", "render_mode", "segmentation", "relevant")


def first_frames(game: str, start_level: int, num_levels: int, **options: Any) -> dict[int, bytes]:
    """Return the fingerprint of the first frame of each level in ``[start_level, start_level + num_levels)``.

    Args:
        game: name of the game.
        start_level: seed of the first level.
        num_levels: how many levels, at least 1.
        **options: Procgen's other options, with the values of the environment that plays the levels.

    Raises:
        ValueError: ``num_levels`` below 1, or generated assets.
    """
    if num_levels < 1:
        raise ValueError(f"num_levels must be at least 1, got {num_levels}: all levels (0) cannot be listed")
    kept = {name: value for name, value in options.items() if name not in _OF_NO_EFFECT_ON_A_LEVEL}
    if kept.get("distribution_mode") != "exploration":
        kept |= {"start_level": start_level, "num_levels": num_levels}
    arguments = parse_options(game, kept).simulator_arguments()
    simulator = Simulator(game, min(_MAX_COPIES, num_levels), 0, arguments)
    try:
        return _visit(simulator, range(start_level, start_level + num_levels))
    finally:
        simulator.close()


def _visit(simulator: Simulator, levels: range) -> dict[int, bytes]:
    """Start one level after the other in the simulator's copies, by setting the level range in their state."""
    found: dict[int, bytes] = {}
    for first in range(0, len(levels), simulator.num):
        batch = levels[first : first + simulator.num]
        for index, level in enumerate(batch):
            state = bytearray(simulator.get_state(index))
            set_levels(state, level, level + 1)
            simulator.set_state(index, bytes(state))
        simulator.act(np.full(simulator.num, _END_EPISODE, dtype=np.int32))
        frames = simulator.frames()
        found |= {level: frame_fingerprint(frames[index]) for index, level in enumerate(batch)}
    return found


def training_fingerprints(game: str, train_options: Mapping[str, Any]) -> frozenset[bytes]:
    """Return the fingerprints of the first frames of all training levels.

    An evaluation on held-out levels excludes (and counts) the episodes whose first frame is one of these.

    Args:
        game: name of the game.
        train_options: the options of training; ``num_levels`` must be given and at least 1.

    Raises:
        ValueError: as for :func:`first_frames`.
    """
    options = dict(train_options)
    start_level, num_levels = options.pop("start_level", 0), options.pop("num_levels", 0)
    return frozenset(first_frames(game, start_level, num_levels, **options).values())


def duplicate_levels(game: str, train_options: Mapping[str, Any], start_level: int, num_levels: int) -> list[int]:
    """Return the levels in ``[start_level, start_level + num_levels)`` with the first frame of a training level."""
    known = training_fingerprints(game, train_options)
    options = {name: value for name, value in train_options.items() if name not in ("start_level", "num_levels")}
    frames = first_frames(game, start_level, num_levels, **options)
    return [level for level, fingerprint in frames.items() if fingerprint in known]

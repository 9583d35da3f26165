"""Levels for simulators whose episodes are determined by the seed of ``reset``: level n is the episode of seed n."""

from __future__ import annotations

import hashlib
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt

from camal_rl.envs.copies import Copyable
from camal_rl.envs.saved_values import AttributeState

EVERY_LEVEL = 2**31 - 1
"""Levels are the integers below this; ``num_levels=0`` means all from ``start_level`` on."""


def check_level_range(start_level: int, num_levels: int) -> range:
    """Return the levels ``[start_level, start_level + num_levels)``, or all from ``start_level`` on for 0.

    Raises:
        TypeError: not integers.
        ValueError: negative, or not below :data:`EVERY_LEVEL`.
    """
    for name, value in (("start_level", start_level), ("num_levels", num_levels)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    stop = start_level + num_levels if num_levels else EVERY_LEVEL
    if not start_level < stop <= EVERY_LEVEL:
        raise ValueError(f"levels must be below {EVERY_LEVEL}, got start_level={start_level}, num_levels={num_levels}")
    return range(start_level, stop)


def frame_fingerprint(frame: npt.NDArray[np.uint8]) -> bytes:
    """Return a hash of 16 bytes of a frame ``uint8[H, W, C]``; equal frames have equal hashes."""
    return hashlib.blake2b(np.ascontiguousarray(frame).tobytes(), digest_size=16).digest()


class SeededLevels(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Plays levels drawn at random from a range: each episode resets the wrapped environment with the level as seed.

    ``info["level_seed"]`` of reset and step is the level that the observation belongs to. A seed given to ``reset``
    seeds the sampling of levels; it is not the level itself.

    Args:
        env: its episodes must be determined by the seed of ``reset`` and the actions.
        start_level: first level.
        num_levels: how many levels; 0 for all from ``start_level`` on.
    """

    state_attributes = ("_level",)
    lasting_attributes = ("_draw",)
    fixed_attributes = ("_levels",)

    def __init__(self, env: gymnasium.Env[Any, Any], start_level: int = 0, num_levels: int = 0) -> None:
        super().__init__(env)
        self._levels = check_level_range(start_level, num_levels)
        self._draw = np.random.default_rng()
        self._level = self._levels.start

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a level and start it; a seed makes this and later levels reproducible."""
        if seed is not None:
            self._draw = np.random.default_rng(seed)
        self._level = int(self._draw.integers(self._levels.start, self._levels.stop))
        observation, info = self.env.reset(seed=self._level, options=options)
        return observation, {**info, "level_seed": self._level}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, "level_seed": self._level}

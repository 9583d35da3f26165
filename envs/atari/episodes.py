"""Wrappers that change where an Atari episode starts and ends; label maps stay with their observations."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium

from camal_rl.envs.copies import Copyable
from camal_rl.envs.saved_values import AttributeState

_NO_OPERATION = 0
_FIRE = 1


class EpisodicLife(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Terminates an episode when a life is lost; the next episode continues the same game until the game is over.

    A reset with a seed starts a new game.

    Args:
        env: an environment that reports the number of remaining lives as ``info["lives"]``.
    """

    state_attributes = ("_lives", "_over")

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._lives = 0
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the game, or continue it with the next life."""
        if not self._over and seed is None:
            observation, _, terminated, truncated, info = self.env.step(_NO_OPERATION)
            self._over = terminated or truncated
        if self._over or seed is not None:
            observation, info = self.env.reset(seed=seed, options=options)
            self._over = False
        self._lives = info["lives"]
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._over = terminated or truncated
        lost = 0 < info["lives"] < self._lives
        self._lives = info["lives"]
        return observation, reward, terminated or lost, truncated, info


class FireOnReset(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Presses FIRE, the second action, at the start of every episode: some games wait for it."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode and press FIRE."""
        self.env.reset(seed=seed, options=options)
        observation, _, terminated, truncated, info = self.env.step(_FIRE)
        if terminated or truncated:
            return self.env.reset(options=options)
        return observation, info

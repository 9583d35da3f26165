"""Records one episode of an agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.rl.evaluate.returns import Actor
from camal_rl.rl.policy_outputs import Actions


@dataclass(frozen=True)
class Recording:
    """An episode of T steps; entry ``t`` of every field belongs to the same step.

    Attributes:
        frames: ``uint8 (T, H, W, C)``, the agent's observations.
        actions: ``int64 (T,)``, its actions on these frames; ``float32 (T, A)`` if actions are continuous.
        rewards: ``float64 (T,)``, the rewards of these actions.
        ended: whether the episode ended; ``False`` if it was cut off after the maximum number of steps.
    """

    frames: npt.NDArray[np.uint8]
    actions: Actions
    rewards: npt.NDArray[np.float64]
    ended: bool

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.actions)

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """Sum of the rewards up to and including each step, ``(T,)``."""
        return np.cumsum(self.rewards)


def record_episode(
    actor: Actor,
    venv: VecEnv,
    deterministic: bool,
    seed: int,
    max_steps: int = 2000,
    on_step: Callable[[int], None] = lambda _: None,
    on_frame: Callable[[int], None] = lambda _: None,
) -> Recording:
    """Reset an environment and record one episode of its first copy.

    The observation that comes with ``done`` is the first of the next episode (SB3's environments reset themselves), so
    the last frame is the one before it: the frame on which the last action was chosen.

    Args:
        actor: acts on the observations.
        venv: environment with raw rewards and image observations ``uint8 (num_envs, H, W, C)``.
        deterministic: preferred actions instead of sampled ones.
        seed: seed of the sampled actions; torch's global generators are restored.
        max_steps: maximum number of steps, at least 1.
        on_step: called with the number of steps so far.
        on_frame: called with the step of the environment's current frame, before its action. It may query the
            environment's current state, and must not draw from torch's global generators.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    frames: list[npt.NDArray[np.uint8]] = []
    actions: list[Any] = []
    rewards: list[float] = []
    ended = False
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        observations = np.asarray(venv.reset())
        while not ended and len(frames) < max_steps:
            on_frame(len(frames))
            chosen, _ = actor.predict(observations, deterministic=deterministic)
            # A copy: simulators may overwrite their observations.
            frames.append(observations[0].copy())
            stepped, gained, dones, _ = venv.step(chosen)
            observations = np.asarray(stepped)
            actions.append(np.array(chosen[0]))
            rewards.append(float(gained[0]))
            ended = bool(dones[0])
            on_step(len(frames))
    taken = np.stack(actions)
    if np.issubdtype(taken.dtype, np.integer):
        taken = taken.astype(np.int64)
    return Recording(np.stack(frames), taken, np.array(rewards), ended)

"""Measures the return on held-out levels during training, without affecting training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.random_states import random_states_kept
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate.returns import play_episodes

HELD_OUT_RETURN = "held_out/return"
"""Tag of the figure in TensorBoard."""


class HeldOutReturn(BaseCallback):
    """Logs the mean return on held-out levels after rollouts at regular intervals, and at the end of training.

    Training is not affected: the environment is a separate one, every measurement starts from its own seed, and the
    random states of Python, NumPy and torch are restored. Like the return on training levels, it is the return of
    the policy that played the rollout.

    Args:
        venv: environment of the held-out levels with raw rewards.
        every_steps: environment steps between measurements, at least 1.
        episodes: number of episodes per measurement.
        seed: seed of the levels and of the sampled actions; every measurement begins with the same levels.
    """

    def __init__(self, venv: VecEnv, every_steps: int, episodes: int, seed: int) -> None:
        super().__init__()
        if every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {every_steps}")
        self.venv, self.every_steps, self.episodes, self.seed = venv, every_steps, episodes, seed
        self._next = 0
        self._end = 0

    def schedule(self) -> dict[str, Any]:
        """Return the step of the next measurement, for checkpoints."""
        return {"next": self._next}

    def restore_schedule(self, schedule: Mapping[str, Any]) -> None:
        """Restore the result of :meth:`schedule`."""
        self._next = schedule["next"]

    def _on_training_start(self) -> None:
        self._end = self.model._total_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps < min(self._next, self._end):
            return
        self._next = (self.num_timesteps // self.every_steps + 1) * self.every_steps
        with random_states_kept():
            self.venv.seed(self.seed)
            played = play_episodes(self.model, self.venv, self.episodes, deterministic=False, seed=self.seed)
        self.logger.record(HELD_OUT_RETURN, float(played.returns.mean()))


def held_out_callback(config: ExperimentConfig) -> HeldOutReturn | None:
    """Return the callback for the first held-out set of the evaluation, ``None`` if it is switched off.

    Raises:
        ValueError: the evaluation has no held-out set.
    """
    log, evaluation = config.log, config.evaluation
    if not log.held_out_every:
        return None
    name = next((each for each in evaluation.sets if each.startswith("held_out")), None)
    if name is None:
        raise ValueError(
            f"log.held_out_every measures a held-out level set, but evaluation.sets contains only "
            f"{', '.join(evaluation.sets)}; add held_out to it, or set log.held_out_every=0"
        )
    with random_states_kept():
        num_envs = min(log.held_out_episodes, evaluation.num_envs)
        venv = make_level_set_env(config, name, num_envs, evaluation.seed, masks=False)
    return HeldOutReturn(venv, log.held_out_every, log.held_out_episodes, evaluation.seed)

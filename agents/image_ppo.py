"""SB3's PPO with rollouts that go straight to the device."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents.rollout_buffer import CamalRolloutBuffer


class ImagePPO(PPO):
    """PPO that collects rollouts as SB3 does, sample for sample, with less moving of images.

    Each observation is written into the buffer once, on the device, and the policy acts on it there; what the policy
    chose is stored while the simulator steps; the infos of unfinished episodes are not looked at. The result is that
    of the stock loop, bit for bit (``tests/agents/test_camal_ppo.py``).
    """

    def _setup_model(self) -> None:
        if self.rollout_buffer_class is None:
            self.rollout_buffer_class = CamalRolloutBuffer
        if not issubclass(self.rollout_buffer_class, CamalRolloutBuffer):
            raise ValueError(
                f"rollout_buffer_class must be a CamalRolloutBuffer, got {self.rollout_buffer_class.__name__}"
            )
        super()._setup_model()

    def _excluded_save_params(self) -> list[str]:
        # The buffer's class is this algorithm's business: a model loaded by stock PPO takes the stock buffer.
        return [*super()._excluded_save_params(), "rollout_buffer_class"]

    def target_masks(self, env: VecEnv) -> npt.NDArray[np.uint8] | None:
        """Return the masks ``uint8 (num_envs, h, w)`` of the current observations, or ``None``."""
        return None

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every environment.

        Returns:
            ``False`` if the callback ended training, ``True`` otherwise. Callbacks find SB3's names in ``locals``.
        """
        buffer = cast(CamalRolloutBuffer, rollout_buffer)
        last_obs, starts = cast(np.ndarray, self._last_obs), cast(np.ndarray, self._last_episode_starts)
        self.policy.set_training_mode(False)
        buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        for n_steps in range(n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            obs_tensor = buffer.observe(last_obs, self.target_masks(env))
            with torch.no_grad():
                actions_tensor, values, log_probs = self.policy(obs_tensor)
            actions = actions_tensor.cpu().numpy()
            clipped_actions = self._within_bounds(actions)
            env.step_async(clipped_actions)
            buffer.decide(actions, starts, values, log_probs)
            new_obs, rewards, dones, infos = env.step_wait()
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            ended = np.flatnonzero(dones)
            self._update_info_buffer([infos[index] for index in ended], dones[ended])
            for index in ended:
                rewards[index] += self._value_beyond(infos[index])
            buffer.reward(rewards)
            last_obs, starts = cast(np.ndarray, new_obs), dones
            self._last_obs, self._last_episode_starts = last_obs, starts
        with torch.no_grad():
            values = self.policy.predict_values(obs_as_tensor(last_obs, self.device))
        buffer.compute_returns_and_advantage(last_values=values, dones=starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _within_bounds(self, actions: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return continuous actions within the bounds of the action space; others as they are."""
        if not isinstance(self.action_space, spaces.Box):
            return actions
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return np.clip(actions, self.action_space.low, self.action_space.high)

    def _value_beyond(self, info: dict[str, Any]) -> float:
        """Return the discounted value of an episode's last observation if it was cut off (SB3 issue 633), else 0."""
        if info.get("terminal_observation") is None or not info.get("TimeLimit.truncated", False):
            return 0.0
        last = self.policy.obs_to_tensor(info["terminal_observation"])[0]
        with torch.no_grad():
            return float(self.gamma * self.policy.predict_values(last)[0])

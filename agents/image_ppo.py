"""SB3's PPO with rollouts stored directly on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents.attentive_algorithm import AttentiveAlgorithm
from camal_rl.agents.divergence import check_rollout_size, check_step
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer
from camal_rl.agents.terms import AuxiliaryTerm


class ImagePPO(AttentiveAlgorithm, PPO):
    """PPO that collects the same rollouts as SB3, with fewer copies of images.

    With a :class:`CamPolicy`, each observation is written into the buffer once, on the device, and the policy acts on
    it there. The policy's outputs are stored while the simulator steps, and the infos of unfinished episodes are not
    read. The result equals that of the stock loop, bit for bit (``tests/agents/test_camal_ppo.py``). Any other policy
    uses SB3's own buffer, rollouts and update.

    Attributes:
        auxiliary_terms: auxiliary terms of the loss; none here.
    """

    auxiliary_terms: tuple[AuxiliaryTerm, ...] = ()
    loss_settings: ClassVar[tuple[str, ...]] = (
        "clip_range",
        "clip_range_vf",
        "ent_coef",
        "vf_coef",
        "max_grad_norm",
        "gamma",
    )

    def largest_return(self) -> float:
        """Return the largest magnitude of the returns of the rollout."""
        return float(np.nanmax(np.abs(self.rollout_buffer.returns), initial=0.0))

    def _setup_model(self) -> None:
        self._settle_precision()
        self._note_masking(self.env)
        check_rollout_size(self)
        self.rollout_buffer_class = self._buffer_class()
        super()._setup_model()

    def _buffer_class(self) -> type[RolloutBuffer] | None:
        """Return the buffer class for the policy; ``None`` leaves the choice to SB3.

        A file of stock PPO names the stock buffer, which means the default here.
        """
        asked = self.rollout_buffer_class
        attentive = issubclass(self.policy_class, CamPolicy)
        if asked in (None, RolloutBuffer, DictRolloutBuffer):
            return CamalRolloutBuffer if attentive else None
        if issubclass(asked, CamalRolloutBuffer) and not attentive:
            raise ValueError(
                f"{asked.__name__} requires a CamPolicy, got policy {self.policy_class.__name__}; "
                "omit rollout_buffer_class"
            )
        return asked

    def _excluded_save_params(self) -> list[str]:
        # Not saved, so that stock PPO loads the model with its own buffer.
        own = ["rollout_buffer_class"] if isinstance(self.rollout_buffer, CamalRolloutBuffer) else []
        return [*super()._excluded_save_params(), *own]

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[Any]]:
        """Return the data to store with the current observations: name to array ``(num_envs, ...)``."""
        return {}

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every environment.

        Callbacks find the same names in ``locals`` as in SB3.

        Returns:
            ``False`` if the callback or :attr:`interruption` ended training, ``True`` otherwise.
        """
        if not isinstance(rollout_buffer, CamalRolloutBuffer):
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        buffer = rollout_buffer
        last_obs, starts = cast(np.ndarray, self._last_obs), cast(np.ndarray, self._last_episode_starts)
        self.policy.set_training_mode(False)
        first = buffer.pos if 0 < buffer.pos < n_rollout_steps and self.interruption.resumed is not None else 0
        self.interruption.start_rollout()
        if not first:
            buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        for n_steps in range(first, n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            obs_tensor = buffer.store_observations(last_obs, self.rollout_columns(env))
            with torch.no_grad():
                actions_tensor, values, log_probs = self.policy(obs_tensor)
            actions = actions_tensor.cpu().numpy()
            clipped_actions = self._within_bounds(actions)
            env.step_async(clipped_actions)
            buffer.store_policy_outputs(actions, starts, values, log_probs)
            new_obs, rewards, dones, infos = env.step_wait()
            self.num_timesteps += env.num_envs
            check_step(self, cast(np.ndarray, new_obs), rewards, dones)
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            ended = np.flatnonzero(dones)
            self._update_info_buffer([infos[index] for index in ended], dones[ended])
            for index in ended:
                rewards[index] += self._timeout_bootstrap(infos[index])
            buffer.store_rewards(rewards)
            last_obs, starts = cast(np.ndarray, new_obs), dones
            self._last_obs, self._last_episode_starts = last_obs, starts
            if self.interruption.requested() and not buffer.full and not self.use_sde:
                return False
        with torch.no_grad():
            values = self.policy.predict_values(obs_as_tensor(last_obs, self.device))
        buffer.compute_returns_and_advantage(last_values=values, dones=starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _within_bounds(self, actions: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return continuous actions clipped or scaled to the bounds of the action space; others unchanged."""
        if not isinstance(self.action_space, spaces.Box):
            return actions
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return np.clip(actions, self.action_space.low, self.action_space.high)

    def _timeout_bootstrap(self, info: dict[str, Any]) -> float:
        """Return the discounted value of an episode's last observation if it was truncated (SB3 issue 633), else 0."""
        if info.get("terminal_observation") is None or not info.get("TimeLimit.truncated", False):
            return 0.0
        last = self.policy.obs_to_tensor(info["terminal_observation"])[0]
        with torch.no_grad():
            return float(self.gamma * self.policy.predict_values(last)[0])

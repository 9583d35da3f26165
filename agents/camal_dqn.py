"""DQN with the CAMAL term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BasePolicy
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import GymEnv, RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.attentive_algorithm import AttentiveAlgorithm
from camal_rl.agents.camal_term import CamalTerm
from camal_rl.agents.divergence import check_optimizer, check_parameters, check_step, watching
from camal_rl.agents.dqn_checks import check_dqn_settings, check_update
from camal_rl.agents.dqn_state import restore_training_state, training_state
from camal_rl.agents.map_settings import MapSettings
from camal_rl.agents.q_policy import CamQPolicy
from camal_rl.agents.replay_buffer import CamalNStepReplayBuffer, CamalReplayBuffer, CamalReplaySamples
from camal_rl.agents.rollout_buffer import TARGET_MASKS
from camal_rl.agents.terms import AuxiliaryTerm
from camal_rl.camal_config import CamalConfig
from camal_rl.training_modes import evaluating

_WITH_MASKS: dict[type[ReplayBuffer], type[CamalReplayBuffer]] = {
    ReplayBuffer: CamalReplayBuffer,
    NStepReplayBuffer: CamalNStepReplayBuffer,
}
DIAGNOSTIC_FRAMES = 64
"""Frames of the replay buffer on which alignment is logged."""


class CAMALDQN(AttentiveAlgorithm, DQN):
    """DQN with attention supervised by the simulator's segmentation.

    It keeps all features of SB3's DQN. The replay buffer stores the target masks of the observations on the grid of the
    attention maps. In training, the maps of ``Q(s, a)`` for the greedy action ``a`` are compared with the masks of the
    same observations, and ``weight(t)`` times the loss is added to the temporal-difference loss (one backward pass).
    With weight 0 the parameters are bit-identical to stock DQN; if a CamQPolicy's environment has masks, alignment is
    still logged. Inference does not change: the saved model needs no masks.

    Unlike in stock DQN, :meth:`predict` without ``deterministic`` explores independently for each image, with
    probability ``exploration_final_eps`` (:class:`camal_rl.agents.CamQPolicy`). Exploration in training is SB3's.

    Args:
        policy: ``"CamQPolicy"``; with weight 0 any policy of DQN.
        env: an environment with segmentation (``camal_rl.envs.make_vec``, ``make_segmented_vec``), needed for weights
            above 0.
        *args: as in ``stable_baselines3.DQN``.
        camal: settings of the CAMAL term; a mapping of settings, as in YAML files, is accepted too.
        **kwargs: as in ``stable_baselines3.DQN``.

    Raises:
        ValueError: the weight is above 0, but the environment has no segmentation or the policy no attention maps; the
            encoder does not accept the images; or there are targets other than ``q``.
        TypeError: ``camal`` is neither settings nor a mapping of them.
        DivergedError: in training, numbers that are not finite (:class:`camal_rl.failures.DivergedError`).
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**DQN.policy_aliases, "CamQPolicy": CamQPolicy}
    loss_settings: ClassVar[tuple[str, ...]] = ("max_grad_norm", "gamma")
    # Default for files of stock DQN.
    camal: CamalConfig = CamalConfig(weight=0)
    pending_logs: Mapping[str, Any] | None = None
    _diagnosed_at = -1

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *args: Any,
        camal: CamalConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if camal is not None or kwargs.get("_init_setup_model", True):
            self.camal = CamalConfig.of(camal)
        super().__init__(policy, env, *args, **kwargs)  # type: ignore[arg-type]

    # Set-up -------------------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self.camal = CamalConfig.of(self.camal)  # load() stores its argument here unchanged
        check_dqn_settings(self)
        self._check_normalization()
        self._check_stored_images()
        self._settle_precision()
        self._note_masking(self.env)
        if issubclass(self.policy_class, CamQPolicy):
            self.camal = self.camal.for_targets(self.policy_class.attention_targets)
            # Stored with the policy's own arguments, so that they are kept wherever the model is loaded.
            own = {"maps": MapSettings.of(self.camal, ("q",)).as_dict(), "exploration": self.exploration_final_eps}
            self.policy_kwargs = {**(self.policy_kwargs or {}), **own}
        super()._setup_model()
        check_optimizer(self)
        self.camal_term = CamalTerm(self.camal, self.seed or 0)
        if isinstance(self.policy, CamQPolicy):
            self._hold_masks()
        self.camal_term.setup(self.policy, self.env)

    def _check_stored_images(self) -> None:
        """Raise a ValueError if SB3 would store images of VecNormalize in another axis order than it learns from."""
        normalizer = self.get_vec_normalize_env()
        if normalizer is not None and normalizer.observation_space != self.observation_space:
            raise ValueError(
                "SB3's DQN stores the images of VecNormalize, whose channels are not first; wrap the environment as "
                "VecNormalize(VecTransposeImage(env), norm_obs=False), or omit VecNormalize"
            )

    def _hold_masks(self) -> None:
        """Replace a stock buffer by one that stores masks; saved files still name the stock one."""
        stock = cast(ReplayBuffer, self.replay_buffer)
        if type(stock) in _WITH_MASKS:
            self.replay_buffer = _WITH_MASKS[type(stock)](
                self.buffer_size,
                self.observation_space,
                self.action_space,
                device=self.device,
                n_envs=self.n_envs,
                optimize_memory_usage=self.optimize_memory_usage,
                **self.replay_buffer_kwargs,
            )
        elif self.camal.weight > 0 and not isinstance(stock, CamalReplayBuffer):
            raise ValueError(
                f"replay_buffer_class must be a CamalReplayBuffer, got {type(stock).__name__}: other buffers do not "
                "store CAMAL's masks; omit it or use weight 0"
            )

    @property
    def auxiliary_terms(self) -> Sequence[AuxiliaryTerm]:
        """The auxiliary terms of the loss."""
        return (self.camal_term,)

    def largest_return(self) -> float:
        """Return the largest magnitude of the rewards in the replay buffer."""
        return float(np.nanmax(np.abs(cast(ReplayBuffer, self.replay_buffer).rewards), initial=0.0))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "camal_term", "pending_logs", "_diagnosed_at"]

    # Acting -------------------------------------------------------------------------------------------------------

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Return the actions of :meth:`camal_rl.agents.CamQPolicy.act`; with any other policy those of SB3's DQN."""
        if isinstance(self.policy, CamQPolicy):
            return self.policy.act(observation, state, episode_start, deterministic)
        return super().predict(observation, state, episode_start, deterministic)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the next actions, drawn as in SB3, and store the masks of the current observations."""
        if not isinstance(self.policy, CamQPolicy):
            return super()._sample_action(learning_starts, action_noise, n_envs)
        if isinstance(self.replay_buffer, CamalReplayBuffer):
            masks = self.camal_term.rollout_columns(cast(VecEnv, self.env)).get(TARGET_MASKS)
            if masks is not None:
                self.replay_buffer.store_masks(masks)
        if self.num_timesteps < learning_starts or np.random.rand() < self.exploration_rate:  # noqa: NPY002
            actions = np.array([self.action_space.sample() for _ in range(n_envs)])
        else:
            actions, _ = self.policy.predict(cast(np.ndarray, self._last_obs), deterministic=True)
        return actions, actions

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: npt.NDArray[Any],
        new_obs: Any,
        reward: npt.NDArray[Any],
        dones: npt.NDArray[np.bool_],
        infos: list[dict[str, Any]],
    ) -> None:
        if isinstance(new_obs, np.ndarray):
            check_step(self, new_obs, reward, dones)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Collect ``train_freq`` as SB3 does; training ends here if :attr:`interruption` requests it."""
        if self.interruption.requested():
            return RolloutReturn(0, 0, continue_training=False)
        self.interruption.start_rollout()
        with watching(self):
            return super().collect_rollouts(
                env, callback, train_freq, replay_buffer, action_noise, learning_starts, log_interval
            )

    # Update -------------------------------------------------------------------------------------------------------

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the Q-network from the replay buffer: SB3's DQN update with the term in the loss."""
        if not isinstance(self.policy, CamQPolicy):
            super().train(gradient_steps, batch_size)
            check_parameters(self)
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = cast(ReplayBuffer, self.replay_buffer)
        parts: dict[str, list[Tensor]] = defaultdict(list)
        losses = []
        for _ in range(gradient_steps):
            batch: Any = buffer.sample(batch_size, env=self._vec_normalize_env)
            loss = self._loss(batch, parts)
            losses.append(loss.item())
            self.policy.optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            check_update(self, losses[-1], norm, batch)
            self.policy.optimizer.step()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))
        for name, values in parts.items():
            self.logger.record_mean(name, torch.stack(values).mean().item())

    def _loss(self, batch: Any, parts: Mapping[str, list[Tensor]]) -> Tensor:
        """Return the loss of a minibatch: SB3's Huber loss of temporal differences, and CAMAL's term."""
        policy, term = cast(CamQPolicy, self.policy), self.camal_term
        discounts = self.gamma if batch.discounts is None else batch.discounts
        with torch.no_grad():
            best = self.q_net_target(batch.next_observations).max(dim=1)[0].reshape(-1, 1)
            wanted = batch.rewards + (1 - batch.dones) * discounts * best
        progress = 1.0 - self._current_progress_remaining
        weight = term.weight_at(progress)
        frames = term.num_attention_frames(len(batch.observations)) if weight > 0 else 0
        # The maps explain the greedy actions, which the policy takes, not the actions in the buffer.
        evaluation = policy.evaluate_for_attention(batch.observations, num_attention_frames=frames)
        current = torch.gather(evaluation.q_values, dim=1, index=batch.actions.long())
        loss = F.smooth_l1_loss(current, wanted)
        if weight == 0:
            return loss
        added = term.loss(cast(Any, batch), evaluation, progress)
        for name, value in (("loss", added.total), *added.parts.items()):
            parts[f"{term.name}/{name}"].append(value.detach())
        parts["train/td_loss"].append(loss.detach())
        return loss + weight * added.total

    # Logs and checkpoints -----------------------------------------------------------------------------------------

    def dump_logs(self) -> None:
        """Write logs as SB3 does, with the alignment of the maps of some stored frames."""
        self._log_alignment()
        super().dump_logs()

    def _log_alignment(self) -> None:
        buffer, policy = self.replay_buffer, self.policy
        if not isinstance(buffer, CamalReplayBuffer) or not isinstance(policy, CamQPolicy):
            return
        if buffer.target_masks is None or not buffer.size() or self._n_updates == self._diagnosed_at:
            return
        self._diagnosed_at = self._n_updates
        samples: CamalReplaySamples = buffer.evenly_spaced(DIAGNOSTIC_FRAMES)
        with evaluating(policy), torch.enable_grad():
            evaluation = policy.evaluate_for_attention(samples.observations)
            metrics = self.camal_term.alignment(evaluation, cast(Tensor, samples.targets))
        weight = self.camal_term.weight_at(1.0 - self._current_progress_remaining)
        for name, value in {**metrics, "weight": weight}.items():
            self.logger.record(f"{self.camal_term.name}/{name}", value)

    def training_state(self) -> dict[str, Any]:
        """Return the state of training except for the environment (:mod:`camal_rl.agents.dqn_state`)."""
        return training_state(self)

    def restore_training_state(self, state: Mapping[str, Any], seconds: float = 0.0) -> None:
        """Restore a :meth:`training_state`; then ``learn(..., reset_num_timesteps=False)`` continues from there.

        Args:
            state: state of a model with the same arguments.
            seconds: duration of training so far, for the logs.

        Raises:
            ValueError: it is the state of another model.
        """
        restore_training_state(self, state, seconds)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        found = super()._setup_learn(*args, **kwargs)
        for name, values in (self.pending_logs or {}).items():  # from before the interruption
            getattr(self.logger, name).update(values)
        self.pending_logs = None
        return found

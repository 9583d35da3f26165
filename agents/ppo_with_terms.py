"""PPO with auxiliary terms in its loss."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BasePolicy
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.divergence import (
    check_gradients,
    check_observations,
    check_optimizer,
    check_parameters,
    check_rollout,
    check_settings,
    diverged,
    from_distributions,
    watching,
)
from camal_rl.agents.image_ppo import ImagePPO
from camal_rl.agents.interruption import never
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer, CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.term_modules import TermModules
from camal_rl.agents.terms import AuxiliaryTerm, Terms, make_terms, term_settings
from camal_rl.agents.training_state import BeforeUpdate, restore_training_state, training_state
from camal_rl.agents.update_log import Records, log_diagnostics, log_update
from camal_rl.failures import DivergedError
from camal_rl.module_state import copied_state


class PPOWithTerms(ImagePPO):
    """PPO whose loss is ``PPO loss + sum over terms of weight_at(progress) * total``.

    It keeps all features of SB3's PPO. Without terms, or with every weight 0, the parameters are bit-identical to stock
    PPO, for every policy of PPO. The terms' settings are saved with the model; the file also loads with SB3's
    ``PPO.load``.

    Args:
        policy: ``"CamPolicy"``; if every weight is 0, any policy of PPO, which then uses SB3's own buffer, rollouts and
            update.
        env: as in ``stable_baselines3.PPO``.
        *args: as in ``stable_baselines3.PPO``.
        terms: names, pairs of name and settings, terms; or a mapping of names to settings
            (:func:`camal_rl.agents.terms.make_terms`).
        pessimistic_value_loss: with ``clip_range_vf``, the value loss is the mean of the larger of the squared errors
            with and without clipping, as in OpenAI's baselines and CleanRL (``clip_vloss``), which also halve it. SB3
            takes the error with clipping alone, whose gradient vanishes where the value has moved too far in either
            direction.
        **kwargs: as in ``stable_baselines3.PPO``.

    Attributes:
        terms: name to settings, plain data.
        auxiliary_terms: the term objects.

    Raises:
        ValueError: a term or setting is unknown; or a weight is above 0 with an unsuitable policy or environment; or
            ``pessimistic_value_loss`` without ``clip_range_vf`` or with a policy that SB3's own update trains.
        TypeError: ``terms`` is none of these.
        DivergedError: in training, numbers that are not finite (:class:`camal_rl.failures.DivergedError`).
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**PPO.policy_aliases, "CamPolicy": CamPolicy}
    # Default for files of stock PPO: load() creates an instance and then sets the attributes from the file.
    terms: Any = MappingProxyType({})
    pessimistic_value_loss: bool = False
    _saved_modules: str | None = None

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *args: Any,
        terms: Terms | None = None,
        pessimistic_value_loss: bool = False,
        **kwargs: Any,
    ) -> None:
        if terms is not None or kwargs.get("_init_setup_model", True):
            self.terms = terms
        self.pessimistic_value_loss = pessimistic_value_loss
        super().__init__(policy, env, *args, **kwargs)  # type: ignore[arg-type]

    def _setup_model(self) -> None:
        self.auxiliary_terms = self._make_terms()
        counts = Counter(term.name for term in self.auxiliary_terms)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(f"{count} terms have the name {name!r}, the prefix of their logs; omit one")
        check_settings(self)
        super()._setup_model()
        check_optimizer(self)
        self._check_value_loss()
        for term in self.auxiliary_terms:
            if term.config.weight > 0 or term in self.participants:
                term.setup(self.policy, self.env)
            if term.config.weight > 0:
                self._check_support(term.name)
        self.term_modules = TermModules(self.participants, self.policy)
        if self._saved_modules is not None:
            self.term_modules.load(self._saved_modules)
            self._saved_modules = None

    def _check_value_loss(self) -> None:
        if not self.pessimistic_value_loss:
            return
        if self.clip_range_vf is None:
            raise ValueError("pessimistic_value_loss needs clip_range_vf, the largest change of a value, such as 0.2")
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            raise ValueError(
                f'pessimistic_value_loss needs policy="CamPolicy", got {type(self.policy).__name__} with '
                f"{type(self.rollout_buffer).__name__}, which SB3's own update trains"
            )

    def _make_terms(self) -> tuple[AuxiliaryTerm, ...]:
        """Create the terms, and convert ``terms`` (load() stores its argument unchanged) to plain data."""
        terms = make_terms(self.terms, self.seed or 0)
        self.terms = term_settings(terms)
        return tuple(terms.values())

    def _check_support(self, name: str) -> None:
        if not isinstance(self.policy, CamPolicy):
            raise ValueError(
                f'term {name!r} needs policy="CamPolicy", got {type(self.policy).__name__}; with encoder "nature" it '
                "has the layers of CnnPolicy; or use weight 0"
            )
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            raise ValueError(
                f"rollout_buffer_class must be a CamalRolloutBuffer, got {type(self.rollout_buffer).__name__}: "
                f"other buffers do not store the data of term {name!r}; omit it or use weight 0"
            )

    @property
    def participants(self) -> list[AuxiliaryTerm]:
        """The terms that take part in training or in its logs."""
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            return []
        return [term for term in self.auxiliary_terms if term.config.weight > 0 or term.logs_at_weight_zero]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "auxiliary_terms", "term_modules"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the model as SB3 does, with the settings and the trained modules of its terms."""
        self._saved_modules = self.term_modules.state()
        try:
            super().save(*args, **kwargs)
        finally:
            self._saved_modules = None

    def training_state(self) -> dict[str, Any]:
        """Return the state of training except for the environment (:mod:`camal_rl.agents.training_state`)."""
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

    def dump_logs(self, iteration: int = 0) -> None:
        """Write logs as SB3 does, unless those of the rollout were written before an interruption."""
        if not self.interruption.update_waits:
            super().dump_logs(iteration + self.interruption.rollouts_before)

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[Any]]:
        """Return the data that the terms store with the current observations.

        Raises:
            ValueError: two terms use the same name.
        """
        columns: dict[str, npt.NDArray[Any]] = {}
        for term in self.participants:
            for name, column in term.rollout_columns(env).items():
                if name in columns:
                    raise ValueError(f"two terms store a column {name!r}, the second is {term.name!r}; rename one")
                columns[name] = column
        return columns

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer as the base class does; raise a :class:`DivergedError` for non-finite numbers."""
        if self.interruption.requested():
            return False
        if self.interruption.update_waits:
            self.interruption.start_rollout()
            return True
        if isinstance(self._last_obs, np.ndarray):
            check_observations(self, self._last_obs)
        if not isinstance(rollout_buffer, CamalRolloutBuffer):
            self.interruption.start_rollout()
        with watching(self):
            goes_on = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if goes_on:
            check_rollout(self)
        return goes_on

    # Update -------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Update the policy from the rollout buffer: SB3's PPO update with the terms in the loss."""
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            self._stock_update()
            return
        before = BeforeUpdate.of(self) if self._can_wait() else None
        self.policy.set_training_mode(True)
        optimizers = [self.policy.optimizer, *self.term_modules.optimizers]
        self._update_learning_rate(optimizers)
        remaining = self._current_progress_remaining
        clip_range = self.clip_range(remaining)  # type: ignore[operator]
        clip_range_vf = None if self.clip_range_vf is None else self.clip_range_vf(remaining)  # type: ignore[operator]
        progress = 1.0 - remaining

        records: Records = defaultdict(list)
        buffer = self.rollout_buffer
        for term in self.participants:
            term.update_starts(buffer)
        continue_training = True
        for epoch in range(self.n_epochs):
            kl_divergences = []
            for batch in buffer.get(self.batch_size):
                if before is not None and self.interruption.requested():
                    self._let_update_wait(before)
                    return
                loss, kl_divergence = self._checked_loss(batch, clip_range, clip_range_vf, progress, records)
                kl_divergences.append(kl_divergence)
                if self.target_kl is not None and kl_divergences[-1].item() > 1.5 * self.target_kl:
                    continue_training = False
                    if self.verbose >= 1:
                        print(f"Early stopping at step {epoch} due to reaching max kl: {kl_divergences[-1].item():.2f}")
                    break
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                norms = [norm, *self.term_modules.clip_gradients(self.max_grad_norm)]
                check_gradients(self, loss, norms, batch, records)
                del batch  # to free it before the next one is drawn
                for optimizer in optimizers:
                    optimizer.step()
            self._n_updates += 1
            if not continue_training:
                break

        check_parameters(self)
        records["train/approx_kl"] = kl_divergences
        records["train/loss"] = records["train/loss"][-1:]  # SB3 logs the last minibatch's loss, not the mean
        log_update(self, records, clip_range, clip_range_vf)
        log_diagnostics(self, progress)

    def _can_wait(self) -> bool:
        """Return whether the update can be interrupted: requests are possible, and it is not the last update."""
        self.interruption.update_waits = False
        return self.interruption.requested is not never and self.num_timesteps < self._total_timesteps

    def _let_update_wait(self, before: BeforeUpdate) -> None:
        """Undo an interrupted update; it is repeated from its start after resuming."""
        before.restore(self)
        self.interruption.update_waits = True
        for pending in (self.logger.name_to_value, self.logger.name_to_count, self.logger.name_to_excluded):
            pending.clear()

    def _stock_update(self) -> None:
        """Update as SB3 does; if numbers become non-finite, restore the parameters from before the update."""
        before = copied_state(self.policy)
        try:
            with watching(self):
                super().train()
            check_parameters(self)
        except DivergedError as error:
            self.policy.load_state_dict(before)
            error.evidence["policy"] = before
            raise

    def _checked_loss(self, batch: CamalRolloutSamples, *arguments: Any) -> tuple[Tensor, Tensor]:
        """Return :meth:`_loss`; raise a :class:`DivergedError` if the policy's output is not a distribution."""
        try:
            return self._loss(batch, *arguments)
        except ValueError as error:
            if not from_distributions(error):
                raise
            raise diverged(self, "the policy's output", "distribution of actions", batch) from error

    def _loss(
        self,
        batch: CamalRolloutSamples,
        clip_range: float,
        clip_range_vf: float | None,
        progress: float,
        records: Records,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch with its terms, and the KL divergence from the policy that acted."""
        weights = [(term, term.weight_at(progress)) for term in self.participants]
        active = [(term, weight) for term, weight in weights if weight > 0]
        attention = max((term.num_attention_frames(len(batch.observations)) for term, _ in active), default=0)
        evaluation, loss = self._ppo_loss(batch, clip_range, clip_range_vf, records, attention)
        for term, weight in active:
            added = term.loss(batch, evaluation, progress)
            loss = loss + weight * added.total
            for name, value in (("loss", added.total), *added.parts.items()):
                records[f"{term.name}/{name}"].append(value.detach())
        records["train/loss"].append(loss.detach())
        with torch.no_grad():  # http://joschu.net/blog/kl-approx.html, the third estimator
            log_ratio = evaluation.log_prob - batch.old_log_prob
            return loss, torch.mean((torch.exp(log_ratio) - 1) - log_ratio)

    def _ppo_loss(
        self,
        batch: CamalRolloutSamples,
        clip_range: float,
        clip_range_vf: float | None,
        records: Records,
        num_attention_frames: int,
    ) -> tuple[ActionEvaluation, Tensor]:
        """Return the evaluation of a minibatch and PPO's clipped loss, with the same operations as in SB3."""
        evaluation = evaluate_samples(cast(CamPolicy, self.policy), batch, num_attention_frames)
        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = torch.exp(evaluation.log_prob - batch.old_log_prob)
        clipped = advantages * torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(advantages * ratio, clipped).mean()

        values = evaluation.value
        if clip_range_vf is not None:
            values = batch.old_values + torch.clamp(values - batch.old_values, -clip_range_vf, clip_range_vf)
        if self.pessimistic_value_loss:
            errors = ((batch.returns - each).square() for each in (values, evaluation.value))
            value_loss = torch.max(*errors).mean()
        else:
            value_loss = F.mse_loss(batch.returns, values)
        surprise = -evaluation.log_prob if evaluation.entropy is None else evaluation.entropy
        entropy_loss = -torch.mean(surprise)

        records["train/entropy_loss"].append(entropy_loss.detach())
        records["train/policy_gradient_loss"].append(policy_loss.detach())
        records["train/value_loss"].append(value_loss.detach())
        records["train/clip_fraction"].append(torch.mean((torch.abs(ratio.detach() - 1) > clip_range).float()))
        return evaluation, policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss

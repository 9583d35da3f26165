"""The common part of the SB3 algorithms here: interruption, precision, and masking of images."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from camal_rl.agents.arithmetic import settled_precision
from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.encoders import encoder_class
from camal_rl.agents.interruption import Interruption
from camal_rl.envs.segmentation import find_wrapped, masking_of


class AttentiveAlgorithm(BaseAlgorithm):
    """A mixin for SB3 algorithms whose policy may have attention maps; list it before SB3's class in the bases."""

    @functools.cached_property
    def interruption(self) -> Interruption:
        """The state of interrupting and resuming training."""
        return Interruption()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "interruption"]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        found = super()._setup_learn(*args, **kwargs)
        if self.interruption.resumed is not None:  # speed and time are over the whole training
            self.start_time -= int(1e9 * self.interruption.seconds_before)
            self._num_timesteps_at_start = 0
        return found

    def restart_episodes(self, observations: Any) -> None:
        """Continue with the first observations of new episodes in every environment."""
        self._last_obs, self._last_episode_starts = observations, np.ones(self.n_envs, dtype=bool)

    def _settle_precision(self) -> None:
        """Replace ``auto`` in the policy's arguments, so that a loaded model has the precision of training."""
        kwargs = self.policy_kwargs or {}
        if not issubclass(self.policy_class, AttentivePolicy) or kwargs.get("precision") != "auto":
            return
        encoder = encoder_class(kwargs.get("encoder", "nature"))
        self.policy_kwargs = {**kwargs, "precision": settled_precision(encoder, "auto", self.device)}

    def _note_masking(self, env: VecEnv | None) -> None:
        """Record in the policy's arguments how the images are masked, if they are.

        Raises:
            ValueError: the policy was trained on images that were masked in another way.
        """
        if env is None or not issubclass(self.policy_class, AttentivePolicy):
            return
        given, kwargs = masking_of(env), self.policy_kwargs or {}
        if kwargs.get("masking", given) != given:
            seen = "unmasked images" if given is None else f"images masked by {given!r}"
            raise ValueError(
                f"the policy acts on images masked by {kwargs['masking']!r}, but this environment gives {seen}; wrap "
                f"it as in training: MaskedVecEnv(env, {kwargs['masking']!r})"
            )
        if given is not None:
            self.policy_kwargs = {**kwargs, "masking": given}

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set another training environment, as in SB3.

        Raises:
            ValueError: the policy was trained on images that were masked in another way, or SB3 refuses it.
        """
        super().set_env(env, force_reset)
        self._note_masking(self.env)

    def _check_normalization(self) -> None:
        """Raise a ValueError for normalized observations if the encoder needs images."""
        normalizer = None if self.env is None else find_wrapped(self.env, VecNormalize)
        if normalizer is None or not normalizer.norm_obs or not issubclass(self.policy_class, AttentivePolicy):
            return
        wants_images = issubclass(encoder_class(self.policy_kwargs.get("encoder", "nature")), CamEncoder)
        if wants_images and self.policy_kwargs.get("normalize_images", True):
            raise ValueError(
                f"{self.policy_class.__name__} needs unmodified images, got observations normalized by VecNormalize; "
                "use VecNormalize(env, norm_obs=False), which still normalizes rewards"
            )

"""DrAC: policy and value should not change under augmentation (Raileanu et al. 2021, arXiv 2006.12862)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast, get_args

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.augmentations import (
    AUGMENTATIONS,
    Augmentation,
    adjust_colors,
    color_jitter,
    random_crop,
    translate,
)
from camal_rl.agents.consistency import check_images, consistency_loss, policy_divergence
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.term_settings import check_choice, check_weight
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "DrACConfig",
    "DrACTerm",
    "adjust_colors",
    "color_jitter",
    "policy_divergence",
    "random_crop",
    "translate",
]


@dataclass(frozen=True)
class DrACConfig:
    """Settings of DrAC.

    Attributes:
        weight: coefficient of the term, at least 0; 0.1 is the paper's ``alpha_r``.
        augmentation: ``crop`` moves each image by up to 12 pixels of 64; ``grayscale``; ``cutout`` draws a black box;
            ``cutout_color`` draws a box of a random color; ``flip`` mirrors at random; ``rotate`` rotates by random
            quarter turns; ``random_conv`` applies a random convolution; ``color_jitter`` changes brightness, contrast,
            saturation and hue at random (:mod:`camal_rl.agents.augmentations`).
    """

    weight: float = 0.1
    augmentation: Augmentation = "crop"

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_weight("drac.weight", self.weight)
        check_choice("drac.augmentation", self.augmentation, get_args(Augmentation))


class DrACTerm(AuxiliaryTerm):
    """``KL(pi(.|s) || pi(.|f(s))) + (V(s) - V(f(s)))^2``, means over the minibatch (sec. 3 of the paper).

    ``f`` augments each image independently. ``pi(.|s)`` and ``V(s)`` are constants: gradients flow only through the
    augmented images.
    """

    name: ClassVar[str] = "drac"
    config_type: ClassVar[type[Any]] = DrACConfig
    config: DrACConfig

    def __init__(self, config: DrACConfig | None = None, seed: int = 0) -> None:
        super().__init__(DrACConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images, and store the policy."""
        check_images(policy, self.name, "DrAC augments")
        self._policy = policy

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the disagreement between the minibatch's images and their augmented copies."""
        if self._policy is None:
            raise RuntimeError("call setup() before loss()")
        images = AUGMENTATIONS[self.config.augmentation](minibatch.observations, self._generator)
        return consistency_loss(cast(CamPolicy, self._policy), minibatch, evaluation, images)

"""RRR for PPO: no gradient of value and policy at irrelevant pixels (Ross et al. 2017, arXiv 1703.03717)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.consistency import check_images
from camal_rl.agents.label_maps import observed_size
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.relevant_pixels import packed_relevant, segmented_env, unpacked
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.term_settings import check_choice, check_share, check_weight
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss

Penalty = Literal["square", "share"]

RELEVANT_PIXELS = "input_gradients_relevant"
"""The column of the relevant pixels, eight in a byte: ``uint8 (num_envs, ceil(H W / 8))``."""


@dataclass(frozen=True)
class InputGradientsConfig:
    """Settings of RRR at the input.

    Attributes:
        weight: coefficient of the term, at least 0.
        penalty: ``square``, the paper's: the sum of the squared gradients at irrelevant pixels; ``share``: that sum
            divided by the sum over all pixels, in [0, 1] whatever the scale of the score.
        fraction: share in (0, 1] of the randomly drawn frames of each minibatch; at least one frame.
    """

    weight: float = 0.1
    penalty: Penalty = "share"
    fraction: float = 0.25

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_weight("input_gradients.weight", self.weight)
        check_choice("input_gradients.penalty", self.penalty, get_args(Penalty))
        check_share("input_gradients.fraction", self.fraction)


class InputGradientsTerm(AuxiliaryTerm):
    """``sum over scores of sum of (1 - t) g^2``, means over frames: g is the score's gradient, t 1 where relevant.

    Scores are ``V(s)`` and the policy's score of the action taken (:func:`camal_rl.agents.policy_score.policy_score`).
    Gradients are those with respect to images in [0, 1]. Unlike the loss ``rrr`` of attention maps, which shows the
    last layer's cells, it looks at pixels, through all layers.
    """

    name: ClassVar[str] = "input_gradients"
    config_type: ClassVar[type[Any]] = InputGradientsConfig
    config: InputGradientsConfig

    def __init__(self, config: InputGradientsConfig | None = None, seed: int = 0) -> None:
        super().__init__(InputGradientsConfig() if config is None else config, seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images and that the environment has masks."""
        check_images(policy, self.name, "input_gradients needs gradients at the pixels of")
        self._policy = policy
        if env is not None:
            segmented_env(env, self.name)

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Return which pixels of the current observations are relevant, eight in a byte."""
        return {RELEVANT_PIXELS: packed_relevant(segmented_env(env, self.name), self._own_policy())}

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the gradients' energy at irrelevant pixels, on the minibatch's first frames."""
        policy = self._own_policy()
        chosen = minibatch.first(math.ceil(self.config.fraction * len(minibatch.observations)))
        relevant = unpacked(chosen.columns[RELEVANT_PIXELS], observed_size(policy))
        parts = {}
        for target, gradient in input_gradients(policy, chosen).items():
            energy = pixel_energy(gradient, relevant.shape[-2:])
            outside = (energy * ~relevant).sum(dim=(1, 2))
            if self.config.penalty == "share":
                whole = energy.sum(dim=(1, 2))
                outside = outside / whole.masked_fill(whole == 0, 1)
            parts[target] = outside.mean()
        total = torch.stack([*parts.values()]).sum()
        return TermLoss(total, {name: part.detach() for name, part in parts.items()})

    def _own_policy(self) -> CamPolicy:
        if self._policy is None:
            raise RuntimeError("call setup() first")
        return cast(CamPolicy, self._policy)


def input_gradients(policy: CamPolicy, samples: CamalRolloutSamples) -> dict[str, Tensor]:
    """Return each score's gradient with respect to the images in [0, 1], with a graph.

    Args:
        policy: the policy.
        samples: ``B`` samples; ``uint8`` images count as their 255th part.

    Returns:
        ``(B, C, H, W)`` or ``(B, H, W, C)`` for each attention target.
    """
    given = samples.observations
    scale = 1.0 if given.is_floating_point() else 255.0
    images = given.float().detach().requires_grad_()
    evaluation = evaluate_samples(policy, samples._replace(observations=images), 0)
    found: dict[str, Tensor] = {}
    for target in policy.attention_targets:
        (gradient,) = torch.autograd.grad(evaluation.score(target).sum(), images, create_graph=True)
        found[target] = scale * gradient
    return found


def pixel_energy(gradient: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the sum ``(B, H, W)`` of the squared gradients of a pixel's channels.

    Args:
        gradient: ``(B, C, H, W)`` or ``(B, H, W, C)``.
        size: height and width.
    """
    channels = 1 if gradient.shape[-2:] == size else -1
    return gradient.square().sum(dim=channels)

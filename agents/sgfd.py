"""SGFD: samples weighted so that what changes is not correlated with what stays (Huang et al. 2023, arXiv 2310.05086).

Here for PPO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.augmentations import color_jitter
from camal_rl.agents.consistency import check_images
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss
from camal_rl.argument_checks import check_flag, check_integer, check_number
from camal_rl.camal_config import MAX_WEIGHT
from camal_rl.random_states import random_states_kept

MAX_STEPS, MAX_FUNCTIONS = 1000, 1000
CLASSIFIER_UNITS = 256


@dataclass(frozen=True)
class SGFDConfig:
    """Settings of SGFD.

    Attributes:
        weight: in [0, 1]: samples weigh ``1 + weight * (w - 1)`` in PPO's loss, ``w`` at 1.
        clip_range: of PPO, above 0; it must be the one that PPO has.
        vf_coef: of PPO, at least 0; it must be the one that PPO has.
        normalize_advantage: of PPO; it must be the one that PPO has.
        changed_fraction: share in (0, 1) of the features that count as changed, those of the largest saliency.
        num_functions: random Fourier functions of each feature, at least 1; 5 in the authors' code.
        steps: of the weights' gradient descent, at least 1; 20 in the authors' code.
        learning_rate: of the weights, above 0.
        evenness: what the weights' variance costs beside the correlation that is left, at least 0.
    """

    weight: float = 1.0
    clip_range: float = 0.2
    vf_coef: float = 0.5
    normalize_advantage: bool = True
    changed_fraction: float = 0.2
    num_functions: int = 5
    steps: int = 20
    learning_rate: float = 0.1
    evenness: float = 0.1

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_number("sgfd.weight", self.weight, 0, 1)
        for name in ("clip_range", "vf_coef", "changed_fraction", "learning_rate", "evenness"):
            check_number(f"sgfd.{name}", getattr(self, name), 0, MAX_WEIGHT)
        for name in ("clip_range", "learning_rate"):
            if getattr(self, name) == 0:
                raise ValueError(f"sgfd.{name} is above 0, got {getattr(self, name)}")
        if not 0 < self.changed_fraction < 1:
            raise ValueError(f"sgfd.changed_fraction must be in (0, 1), got {self.changed_fraction}")
        check_flag("sgfd.normalize_advantage", self.normalize_advantage)
        check_integer("sgfd.num_functions", self.num_functions, 1, MAX_FUNCTIONS)
        check_integer("sgfd.steps", self.steps, 1, MAX_STEPS)


class SGFDTerm(AuxiliaryTerm):
    """What weighting the samples adds to PPO's loss, so that the two together are the weighted loss.

    ``mean((w - 1) * (policy loss + vf_coef * value loss))``, where the weights ``w`` (mean 1, above 0) are learned for
    each minibatch by :func:`decorrelating_weights` and are constants here. The term's module is a classifier that
    tells the features of images whose colors were changed at random from those of the images themselves. The features
    on which its answer rests are those that change. Its cross-entropy is part of the total, and reaches neither encoder
    nor heads.
    """

    name: ClassVar[str] = "sgfd"
    config_type: ClassVar[type[Any]] = SGFDConfig
    config: SGFDConfig

    def __init__(self, config: SGFDConfig | None = None, seed: int = 0) -> None:
        super().__init__(SGFDConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images and features several, keep the policy, and make the classifier."""
        check_images(policy, self.name, "SGFD changes the colors of")
        if policy.features_dim < 2:
            raise ValueError(
                "SGFD needs an encoder of at least 2 features, some that change and some that do not, got "
                f"{policy.features_dim}; leave sgfd out or give it weight 0"
            )
        self._policy = policy
        with random_states_kept():
            torch.manual_seed(self.seed)
            self.module = nn.Sequential(
                nn.Linear(policy.features_dim, CLASSIFIER_UNITS), nn.ReLU(), nn.Linear(CLASSIFIER_UNITS, 1)
            )

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return what the weights add to PPO's loss, and the classifier's error."""
        if self._policy is None or self.module is None:
            raise RuntimeError("setup() comes before loss()")
        config = self.config
        changed_images = color_jitter(minibatch.observations, self._generator)
        with torch.no_grad():
            samples = minibatch._replace(observations=changed_images)
            other = evaluate_samples(cast(CamPolicy, self._policy), samples, 0).encoded["policy"].features
        features = evaluation.encoded["policy"].features.detach()
        classification, saliency = classified(self.module, features, other)
        changed = most_salient(saliency, config.changed_fraction)

        functions = random_fourier_functions(features, config.num_functions, self._generator)
        weights, left = decorrelating_weights(
            functions[:, changed], functions[:, ~changed], config.steps, config.learning_rate, config.evenness
        )
        losses = ppo_losses(minibatch, evaluation, config.clip_range, config.vf_coef, config.normalize_advantage)
        added = ((weights - 1) * losses).mean()
        parts = {"added": added, "classifier": classification, "correlation_left": left, "max_weight": weights.max()}
        return TermLoss(added + classification, parts)


def ppo_losses(
    minibatch: CamalRolloutSamples,
    evaluation: ActionEvaluation,
    clip_range: float,
    vf_coef: float,
    normalize_advantage: bool,
) -> Tensor:
    """Return what each sample adds to PPO's clipped policy loss and its value loss, ``(B,)``; the entropy is left out.

    Gradients flow through the evaluation.
    """
    advantages = minibatch.advantages
    if normalize_advantage and len(advantages) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = torch.exp(evaluation.log_prob - minibatch.old_log_prob)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy = -torch.min(advantages * ratio, advantages * clipped)
    return policy + vf_coef * (minibatch.returns - evaluation.value).square()


def classified(classifier: nn.Module, features: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return a classifier's cross-entropy and the saliency of each feature, the mean of ``|d logit / d feature|``.

    Args:
        classifier: ``(n, F)`` to logits ``(n, 1)`` that features are those of changed images.
        features: ``(B, F)``, of images as they are; a constant.
        other: ``(B, F)``, of changed images; a constant.

    Returns:
        A scalar through which gradients flow into the classifier alone, and ``(F,)``, detached.
    """
    both = torch.cat([features, other]).detach().requires_grad_()
    logits = classifier(both).flatten()
    (gradient,) = torch.autograd.grad(logits.sum(), both, retain_graph=True)
    labels = torch.cat([logits.new_zeros(len(features)), logits.new_ones(len(other))])
    return functional.binary_cross_entropy_with_logits(logits, labels), gradient.abs().mean(dim=0)


def most_salient(saliency: Tensor, fraction: float) -> Tensor:
    """Return which of the features ``(F,)`` are the share of largest saliency: bool, at least one and not all."""
    count = min(max(1, round(fraction * len(saliency))), len(saliency) - 1)
    chosen = torch.zeros_like(saliency, dtype=torch.bool)
    chosen[saliency.topk(count).indices] = True
    return chosen


def random_fourier_functions(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return ``sqrt(2) cos(omega x + phi)`` of each feature, with new ``omega ~ N(0, 1)``, ``phi ~ U(0, 2 pi)``.

    Features have the mean 0 and the variance 1 over the minibatch first; those that are constant are 0.

    Args:
        features: ``(B, F)``.
        count: of functions of each feature.
        generator: on the CPU.

    Returns:
        ``(B, F, count)``.
    """
    centered = features - features.mean(dim=0)
    standard = centered / features.std(dim=0, correction=0).clamp_min(1e-6)
    shape = (features.shape[1], count)
    omega = torch.randn(shape, generator=generator).to(features.device)
    phi = 2 * torch.pi * torch.rand(shape, generator=generator).to(features.device)
    return math.sqrt(2) * torch.cos(standard[:, :, None] * omega + phi)


def decorrelating_weights(
    changed: Tensor, unchanged: Tensor, steps: int, learning_rate: float, evenness: float
) -> tuple[Tensor, Tensor]:
    """Return weights of samples under which two groups of features are hardly correlated.

    ``w = B softmax(l)``; gradient descent on the logits ``l``, from 0 on, of
    ``c(w) / c(1) + evenness * mean((w - 1)^2)``, where ``c`` is :func:`weighted_correlation`. A step is
    ``learning_rate * B`` times the gradient, since each sample has a B-th of it.

    Args:
        changed: ``(B, ...)``, a constant.
        unchanged: ``(B, ...)``, a constant.
        steps: of gradient descent.
        learning_rate: of a step.
        evenness: what the weights' variance costs.

    Returns:
        The weights ``(B,)``, above 0, of mean 1, and ``c(w) / c(1)``, the share of the correlation that is left (0
        where there was none); both detached.
    """
    grams = centered_gram(changed), centered_gram(unchanged)
    count = len(changed)
    logits = torch.zeros(count, device=changed.device)
    before = weighted_correlation(torch.softmax(logits, 0), *grams).clamp_min(1e-12)
    for _ in range(steps):
        logits.requires_grad_()
        shares = torch.softmax(logits, 0)
        variance = (count * shares - 1).square().mean()
        objective = weighted_correlation(shares, *grams) / before + evenness * variance
        (gradient,) = torch.autograd.grad(objective, logits)
        logits = (logits - learning_rate * count * gradient).detach()
    shares = torch.softmax(logits, 0)
    return count * shares, weighted_correlation(shares, *grams) / before


def centered_gram(functions: Tensor) -> Tensor:
    """Return the inner products ``(B, B)`` of samples ``(B, ...)``, after subtraction of the mean, over their number.

    With them a covariance costs B x B, whatever the number of features.
    """
    flat = functions.detach().flatten(1)
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T / flat.shape[1]


def weighted_correlation(shares: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return the mean of the squared weighted covariances of every pair of two groups' functions.

    ``|| sum_b p_b u_b v_b^T - (sum_b p_b u_b)(sum_b p_b v_b)^T ||_F^2 / (number of pairs)``, from inner products.

    Args:
        shares: ``p``, ``(B,)``, of sum 1.
        one: :func:`centered_gram` of ``u``, ``(B, B)``.
        other: that of ``v``, ``(B, B)``.
    """
    means, other_means = one @ shares, other @ shares
    products = shares @ (one * other) @ shares - 2 * (shares * means) @ other_means
    return products + (shares @ means) * (shares @ other_means)

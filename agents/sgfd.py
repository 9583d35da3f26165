"""SGFD for PPO: weights that decorrelate changed from unchanged features (Huang et al. 2023, arXiv 2310.05086)."""

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
        weight: in [0, 1]; samples have the weight ``1 + weight * (w - 1)`` in PPO's loss, where ``w`` is learned.
        clip_range: must equal PPO's ``clip_range``; above 0.
        vf_coef: must equal PPO's ``vf_coef``; at least 0.
        normalize_advantage: must equal PPO's ``normalize_advantage``.
        changed_fraction: share in (0, 1) of the features that count as changed: those with the largest saliency.
        num_functions: number of random Fourier functions of each feature, at least 1; 5 in the authors' code.
        steps: number of gradient steps for the weights, at least 1; 20 in the authors' code.
        learning_rate: learning rate of these steps, above 0.
        evenness: coefficient of the weights' variance, relative to the remaining correlation, at least 0.
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
                raise ValueError(f"sgfd.{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.changed_fraction < 1:
            raise ValueError(f"sgfd.changed_fraction must be in (0, 1), got {self.changed_fraction}")
        check_flag("sgfd.normalize_advantage", self.normalize_advantage)
        check_integer("sgfd.num_functions", self.num_functions, 1, MAX_FUNCTIONS)
        check_integer("sgfd.steps", self.steps, 1, MAX_STEPS)


class SGFDTerm(AuxiliaryTerm):
    """The difference between PPO's loss with weighted samples and PPO's loss.

    ``mean((w - 1) * (policy loss + vf_coef * value loss))``, where the weights ``w`` (mean 1, above 0) are learned for
    each minibatch by :func:`decorrelating_weights` and are constants here. The term's module is a classifier that
    distinguishes the features of images with randomly changed colors from those of the original images. The features
    to which its logits are most sensitive count as changed. Its cross-entropy is part of the total; the gradients of
    the cross-entropy reach neither encoder nor heads.
    """

    name: ClassVar[str] = "sgfd"
    config_type: ClassVar[type[Any]] = SGFDConfig
    config: SGFDConfig

    def __init__(self, config: SGFDConfig | None = None, seed: int = 0) -> None:
        super().__init__(SGFDConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images with at least 2 features, store the policy, and create the classifier."""
        check_images(policy, self.name, "SGFD changes the colors of")
        if policy.features_dim < 2:
            raise ValueError(
                "SGFD needs an encoder with at least 2 features, to divide them into changed and unchanged ones, got "
                f"{policy.features_dim}; omit sgfd or give it weight 0"
            )
        self._policy = policy
        with random_states_kept():
            torch.manual_seed(self.seed)
            self.module = nn.Sequential(
                nn.Linear(policy.features_dim, CLASSIFIER_UNITS), nn.ReLU(), nn.Linear(CLASSIFIER_UNITS, 1)
            )

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the difference to the weighted loss, plus the classifier's cross-entropy."""
        if self._policy is None or self.module is None:
            raise RuntimeError("call setup() before loss()")
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
    """Return each sample's clipped policy loss plus ``vf_coef`` times its value loss, ``(B,)``; without the entropy.

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
        classifier: maps features ``(n, F)`` to logits ``(n, 1)`` of the class of changed images.
        features: ``(B, F)``, of the original images; constant.
        other: ``(B, F)``, of the changed images; constant.

    Returns:
        A scalar whose gradients flow only into the classifier, and ``(F,)``, detached.
    """
    both = torch.cat([features, other]).detach().requires_grad_()
    logits = classifier(both).flatten()
    (gradient,) = torch.autograd.grad(logits.sum(), both, retain_graph=True)
    labels = torch.cat([logits.new_zeros(len(features)), logits.new_ones(len(other))])
    return functional.binary_cross_entropy_with_logits(logits, labels), gradient.abs().mean(dim=0)


def most_salient(saliency: Tensor, fraction: float) -> Tensor:
    """Return the mask ``bool (F,)`` of the given share of the features, the most salient; at least one, not all."""
    count = min(max(1, round(fraction * len(saliency))), len(saliency) - 1)
    chosen = torch.zeros_like(saliency, dtype=torch.bool)
    chosen[saliency.topk(count).indices] = True
    return chosen


def random_fourier_functions(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return ``sqrt(2) cos(omega x + phi)`` of each feature; draws ``omega ~ N(0, 1)`` and ``phi ~ U(0, 2 pi)``.

    Features are first scaled to mean 0 and variance 1 over the minibatch; constant features become 0.

    Args:
        features: ``(B, F)``.
        count: number of functions of each feature.
        generator: on the CPU; source of ``omega`` and ``phi``.

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
    """Return weights of samples that reduce the correlation between two groups of features.

    ``w = B softmax(l)``, where gradient descent on the logits ``l``, which start at 0, minimizes
    ``c(w) / c(1) + evenness * mean((w - 1)^2)`` and ``c`` is :func:`weighted_correlation`. A step is
    ``learning_rate * B`` times the gradient, since the gradient of one sample is proportional to ``1 / B``.

    Args:
        changed: ``(B, ...)``, constant.
        unchanged: ``(B, ...)``, constant.
        steps: number of steps of the gradient descent.
        learning_rate: learning rate of the gradient descent.
        evenness: coefficient of the weights' variance.

    Returns:
        The weights ``(B,)``, above 0, with mean 1, and ``c(w) / c(1)``, the remaining share of the correlation (0 if
        there was none); both detached.
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
    """Return the inner products ``(B, B)`` of centered samples ``(B, ...)``, divided by the size of a sample.

    With inner products, the cost of :func:`weighted_correlation` does not depend on the number of features.
    """
    flat = functions.detach().flatten(1)
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T / flat.shape[1]


def weighted_correlation(shares: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared weighted covariance over all pairs of functions of two groups.

    ``|| sum_b p_b u_b v_b^T - (sum_b p_b u_b)(sum_b p_b v_b)^T ||_F^2 / (number of pairs)``, from inner products.

    Args:
        shares: ``p``, ``(B,)``, with sum 1.
        one: :func:`centered_gram` of ``u``, ``(B, B)``.
        other: the same for ``v``, ``(B, B)``.
    """
    means, other_means = one @ shares, other @ shares
    products = shares @ (one * other) @ shares - 2 * (shares * means) @ other_means
    return products + (shares @ means) * (shares @ other_means)

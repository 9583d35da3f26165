"""Outputs of an SB3 policy that attention maps explain: one head per attention target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn
from torch.distributions import Normal

from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.policy_score import policy_score
from camal_rl.metrics import gaussian_divergence, policy_divergence
from camal_rl.metrics.changes import Change
from camal_rl.saliency.attribution import Score

AnswerKind = Literal["value", "probabilities", "gaussian", "q"]
"""What a head's outputs are: V(s); the probability of each action; the means and then the standard deviations of a
Gaussian; Q(s, a) of each action."""


@dataclass(frozen=True)
class Head:
    """One output of a policy: everything that maps of one attention target need.

    Images are ``(n, C, H, W)`` on the scale of the observation space (0 .. 255) and on the policy's device.

    Attributes:
        extractor: the features extractor of the head.
        score: computes the scores ``(n,)`` that maps explain, from images and actions.
        output: computes the outputs ``(n, K)`` for images.
        kind: what the outputs are.
        change: measures the change of the outputs, for perturbation maps.
    """

    extractor: nn.Module
    score: Score
    output: Callable[[Tensor], Tensor]
    kind: AnswerKind
    change: Change


def heads(policy: BasePolicy) -> dict[AttentionTarget, Head]:
    """Return the heads of a policy by attention target: ``q`` of a Q-network, else ``value`` and ``policy``."""
    return _q_heads(policy) if isinstance(policy, DQNPolicy) else _actor_critic_heads(cast(ActorCriticPolicy, policy))


def preferred_actions(policy: BasePolicy, images: Tensor) -> Tensor:
    """Return the actions that a policy prefers on images ``(n, C, H, W)``.

    They are the most probable actions of its distribution, or the greedy actions ``int64 (n,)`` of a Q-network.
    """
    with torch.no_grad():
        if isinstance(policy, DQNPolicy):
            return policy.q_net(images).argmax(dim=1)
        return cast(ActorCriticPolicy, policy).get_distribution(images).get_actions(deterministic=True)


def has_discrete_actions(policy: BasePolicy) -> bool:
    """Return whether the policy has one probability or one Q-value for each action."""
    return isinstance(policy, DQNPolicy) or isinstance(cast(Any, policy).action_dist, CategoricalDistribution)


def has_gaussian_actions(policy: BasePolicy) -> bool:
    """Return whether actions are continuous and drawn from a Gaussian, squashed by tanh or not."""
    space = policy.action_space
    return isinstance(space, spaces.Box) and not isinstance(policy, DQNPolicy)


def policy_values(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the values ``V(s)``, ``(n, 1)``, of images ``(n, C, H, W)`` on the policy's device."""
    return policy.predict_values(images)


def policy_probabilities(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the action probabilities ``(n, A)`` for images ``(n, C, H, W)`` on the policy's device.

    Raises:
        ValueError: the actions are not discrete.
    """
    distribution = policy.get_distribution(images)
    if not isinstance(distribution, CategoricalDistribution):
        raise ValueError(f"action probabilities need a Discrete action space, got {policy.action_space}")
    return distribution.distribution.probs


def policy_gaussians(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the means and then the standard deviations ``(n, 2 A)`` of a Gaussian policy for images ``(n, C, H, W)``.

    Raises:
        ValueError: the actions are not drawn from a Gaussian.
    """
    inner = policy.get_distribution(images).distribution
    if not isinstance(inner, Normal):
        raise ValueError(
            f"means and standard deviations need continuous actions from a Gaussian, got {policy.action_space}"
        )
    return gaussian_outputs(inner)


def gaussian_outputs(distribution: Normal) -> Tensor:
    """Return the means and then the standard deviations ``(n, 2 A)`` of a Gaussian."""
    return torch.cat([distribution.mean, distribution.stddev], dim=1)


def _actor_critic_heads(policy: ActorCriticPolicy) -> dict[AttentionTarget, Head]:
    def value(images: Tensor, actions: Tensor | None = None) -> Tensor:
        return policy_values(policy, images).flatten()

    def action(images: Tensor, actions: Tensor) -> Tensor:
        distribution = policy.get_distribution(images)
        return policy_score(distribution, distribution.log_prob(actions))

    def values(images: Tensor) -> Tensor:
        return policy_values(policy, images)

    if has_gaussian_actions(policy):
        kind: AnswerKind = "gaussian"
        output, change = policy_gaussians, gaussian_divergence
    else:
        kind, output, change = "probabilities", policy_probabilities, policy_divergence
    return {
        "value": Head(policy.vf_features_extractor, value, values, "value", _value_shift),
        "policy": Head(policy.pi_features_extractor, action, lambda images: output(policy, images), kind, change),
    }


def _q_heads(policy: DQNPolicy) -> dict[AttentionTarget, Head]:
    def score(images: Tensor, actions: Tensor) -> Tensor:
        return cast(Tensor, policy.q_net(images)).gather(1, actions.long()[:, None]).squeeze(1)

    extractor = cast(nn.Module, policy.q_net.features_extractor)
    return {"q": Head(extractor, score, lambda images: policy.q_net(images), "q", _greedy_shift)}


def _value_shift(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|V - V'|``, ``(F, N)``; unlike ``value_change``, it is not divided by the deviation over frames."""
    return (reference - perturbed).abs().squeeze(2)


def _greedy_shift(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|Q(a) - Q'(a)|``, ``(F, N)``, of the action ``a`` that is greedy on the unperturbed image."""
    best = reference.argmax(dim=1, keepdim=True)
    after = perturbed.gather(2, best.expand(len(perturbed), -1, -1)).squeeze(2)
    return (reference.gather(1, best).squeeze(1) - after).abs()

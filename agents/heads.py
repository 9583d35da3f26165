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
"""What the numbers of an answer are: V(s); the probability of each action; the means of a Gaussian and then its
standard deviations; Q(s, a) of each action."""


@dataclass(frozen=True)
class Head:
    """What a policy answers, as maps of one attention target need it.

    Images are ``(n, C, H, W)`` on the scale of the observation space (0 .. 255) and on the policy's device.

    Attributes:
        extractor: the features extractor behind the head.
        score: the number ``(n,)`` of images and actions that a map explains.
        output: the answer ``(n, K)`` to images.
        kind: what the numbers of an answer are.
        change: how much an answer changes, for maps by perturbation.
    """

    extractor: nn.Module
    score: Score
    output: Callable[[Tensor], Tensor]
    kind: AnswerKind
    change: Change


def heads(policy: BasePolicy) -> dict[AttentionTarget, Head]:
    """Return the heads of a policy by attention target: ``q`` of a Q-network, ``value`` and ``policy`` of any other."""
    return _q_heads(policy) if isinstance(policy, DQNPolicy) else _actor_critic_heads(cast(ActorCriticPolicy, policy))


def preferred_actions(policy: BasePolicy, images: Tensor) -> Tensor:
    """Return the actions that a policy prefers on images ``(n, C, H, W)``.

    They are the most probable ones as its distribution knows them, or the greedy ones ``int64 (n,)`` of a Q-network.
    """
    with torch.no_grad():
        if isinstance(policy, DQNPolicy):
            return policy.q_net(images).argmax(dim=1)
        return cast(ActorCriticPolicy, policy).get_distribution(images).get_actions(deterministic=True)


def has_discrete_actions(policy: BasePolicy) -> bool:
    """Say whether each action has one number: a probability, or a Q-value."""
    return isinstance(policy, DQNPolicy) or isinstance(cast(Any, policy).action_dist, CategoricalDistribution)


def has_gaussian_actions(policy: BasePolicy) -> bool:
    """Say whether actions are continuous and drawn from a Gaussian, squashed by tanh or not."""
    space = policy.action_space
    return isinstance(space, spaces.Box) and not isinstance(policy, DQNPolicy)


def policy_values(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return ``V(s)`` of images ``(n, C, H, W)`` on the policy's device, ``(n, 1)``."""
    return policy.predict_values(images)


def policy_probabilities(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the action probabilities of images ``(n, C, H, W)`` on the policy's device, ``(n, A)``.

    Raises:
        ValueError: the actions are not discrete.
    """
    distribution = policy.get_distribution(images)
    if not isinstance(distribution, CategoricalDistribution):
        raise ValueError(f"only discrete actions have one probability each, got {policy.action_space}")
    return distribution.distribution.probs


def policy_gaussians(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return means and then standard deviations ``(n, 2 A)`` of a Gaussian policy for images ``(n, C, H, W)``.

    Raises:
        ValueError: the actions are not drawn from a Gaussian.
    """
    inner = policy.get_distribution(images).distribution
    if not isinstance(inner, Normal):
        raise ValueError(f"only continuous actions are drawn from a Gaussian, got {policy.action_space}")
    return gaussian_outputs(inner)


def gaussian_outputs(distribution: Normal) -> Tensor:
    """Return means and then standard deviations ``(n, 2 A)``."""
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
    """Return ``|V - V'|``, ``(F, N)``; without the spread over frames of ``value_change``, one image is enough."""
    return (reference - perturbed).abs().squeeze(2)


def _greedy_shift(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|Q(a) - Q'(a)|``, ``(F, N)``, of the action ``a`` that is greedy on the unperturbed image."""
    best = reference.argmax(dim=1, keepdim=True)
    after = perturbed.gather(2, best.expand(len(perturbed), -1, -1)).squeeze(2)
    return (reference.gather(1, best).squeeze(1) - after).abs()

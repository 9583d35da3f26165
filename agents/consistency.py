"""The consistency loss of DrAC and similar terms: policy and value should not change on changed copies of images."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.distributions import Distribution, kl_divergence
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.nn import functional

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.terms import TermLoss


def consistency_loss(
    policy: CamPolicy, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, changed: Tensor
) -> TermLoss:
    """Return ``KL(pi(.|s) || pi(.|s')) + (V(s) - V(s'))^2``, means over the images ``s'``.

    Args:
        policy: evaluates the changed images; gradients flow only through this evaluation.
        minibatch: ``B`` samples.
        evaluation: the policy's evaluation of these samples; constant here.
        changed: copies ``(n, C, H, W)`` of the first ``n`` images.
    """
    count = len(changed)
    samples = minibatch._replace(observations=changed, actions=minibatch.actions[:count])
    found = evaluate_samples(policy, samples, num_attention_frames=0)
    divergence = policy_divergence(evaluation.distribution, found.distribution, count)
    error = functional.mse_loss(found.value, evaluation.value.detach()[:count])
    return TermLoss(divergence + error, {"policy": divergence, "value": error})


def policy_divergence(target: Distribution, changed: Distribution, count: int | None = None) -> Tensor:
    """Return ``KL(target || changed)``, summed over an action's dimensions and averaged over observations.

    Args:
        target: the distribution for the original images; constant: no gradient flows through it.
        changed: the distribution for the changed images; gradients flow through it.
        count: number of first observations of the target that are compared; ``None`` means all.
    """
    divergence = kl_divergence(_detached(target, slice(count)), changed)
    return divergence.flatten(1).sum(dim=1).mean() if divergence.dim() > 1 else divergence.mean()


def _detached(distribution: Distribution, rows: slice) -> Distribution:
    """Return a copy of a distribution for some observations, with detached parameters."""
    constant = copy.copy(distribution)
    inner: Any = distribution.distribution
    constant.distribution = (
        [_constant(each, rows) for each in inner] if isinstance(inner, list) else (_constant(inner, rows))
    )
    return constant


def _constant(distribution: Any, rows: slice) -> Any:
    names = ("loc", "scale") if hasattr(distribution, "loc") else ("logits",)
    return type(distribution)(**{name: getattr(distribution, name).detach()[rows] for name in names})


def check_images(policy: ActorCriticPolicy, name: str, does: str) -> None:
    """Raise a ValueError if a policy's observations are not images.

    Args:
        policy: the policy.
        name: name of the term, for the message.
        does: beginning of the message: what the term does to images, such as ``DrAC augments``.
    """
    shape = policy.observation_space.shape
    if shape is None or len(shape) != 3:
        raise ValueError(
            f"{does} images, but the observations are {policy.observation_space}; omit {name} or give it weight 0"
        )

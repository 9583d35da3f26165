"""The score whose gradient gives the attention map of a policy's action."""

from __future__ import annotations

import torch
from stable_baselines3.common.distributions import Distribution
from torch import Tensor


def policy_score(distribution: Distribution, log_prob: Tensor) -> Tensor:
    """Return the score ``(B,)`` that policy maps explain.

    * Discrete actions: ``log pi(a|s)`` of the action ``a``; with several factors (MultiDiscrete, MultiBinary) the sum
      of their log-probabilities.
    * Continuous actions (Gaussian, also squashed by tanh or with state-dependent noise): :func:`gaussian_score`, the
      same for every action. At the action that such a policy prefers, its mean, ``log pi`` is at its maximum: its
      gradient with respect to the mean is zero, and so would be every map.

    Args:
        distribution: the policy's distribution for B observations.
        log_prob: ``(B,)``, log-probabilities of the explained actions.
    """
    inner = distribution.distribution
    if isinstance(inner, torch.distributions.Normal):
        return gaussian_score(inner.mean, inner.stddev)
    return log_prob


def gaussian_score(mean: Tensor, std: Tensor) -> Tensor:
    """Return the distance of a Gaussian policy's mean from 0, ``1/2 sum_i (mean_i / std_i)^2``, ``(B,)``.

    It is the Kullback-Leibler divergence of the policy from the same Gaussian around 0, with or without a squashing
    function. It is also the measure of Graydanus et al. 2018 (arXiv 1711.00138, eq. 2: half the squared distance
    between two outputs of a policy) in units of the standard deviation. Its gradient, ``mean_i / std_i^2``, vanishes
    only if the mean is 0 in every dimension. This score is not from a paper.

    Args:
        mean: ``(B, A)``; gradients flow through it.
        std: ``(B, A)``, above 0; constant: no gradient flows through it.
    """
    return 0.5 * (mean / std.detach()).square().sum(dim=1)

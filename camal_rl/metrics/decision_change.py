"""How much each of several interventions changes value and policy, frame by frame.

``I`` is the number of interventions, ``N`` of frames. NaN marks a pair in which the intervention changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camal_rl.metrics.changes import (
    gaussian_action_drop,
    gaussian_divergence,
    gaussian_flip,
    policy_divergence,
    preferred_action_drop,
    q_value_change,
    value_change,
)


@dataclass(frozen=True, eq=False)
class DecisionChange:
    """How much each intervention changes the decision in each frame; every field ``(I, N)``, NaN where it changes none.

    Attributes:
        value: ``|V(x) - V(x')|`` in standard deviations of ``V(x)`` over the frames; of a Q-network the same of the
            Q-value of the action that is greedy in the unchanged frame.
        drop: drop in probability of the action that the policy prefers in the unchanged frame, in [-1, 1]; of a
            Gaussian policy :func:`~camal_rl.metrics.gaussian_action_drop`; NaN of a Q-network, which has neither.
        divergence: ``KL(pi(x) || pi(x'))`` in nats; NaN of a Q-network.
        flip: 1 where the preferred action is another one, else 0; of a Gaussian policy
            :func:`~camal_rl.metrics.gaussian_flip`.
    """

    value: Tensor
    drop: Tensor
    divergence: Tensor
    flip: Tensor

    def means(self) -> dict[str, Tensor]:
        """Return each field's mean over the frames where the intervention applies, ``(I,)``; NaN without any."""
        return {name: field.nanmean(dim=1) for name, field in vars(self).items()}


def decision_change(
    values: Tensor, values_after: Tensor, probabilities: Tensor, probabilities_after: Tensor, applies: Tensor
) -> DecisionChange:
    """Return how much each intervention changes value and policy.

    The value's unit is its spread over all ``N`` frames, so give all frames at once, not a part of them.

    Args:
        values: ``V(x)``, ``(N,)``.
        values_after: ``V(x')``, ``(I, N)``.
        probabilities: ``pi(. | x)``, ``(N, A)``.
        probabilities_after: ``pi(. | x')``, ``(I, N, A)``.
        applies: ``bool (I, N)``, whether the intervention changes anything in the frame.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check_values(values, values_after, probabilities_after, applies)
    flip = (probabilities_after.argmax(dim=2) != probabilities.argmax(dim=1)).to(probabilities.dtype)
    return _where_applied(
        applies,
        value_change(values.unsqueeze(1), values_after.unsqueeze(2)),
        preferred_action_drop(probabilities, probabilities_after),
        policy_divergence(probabilities, probabilities_after),
        flip,
    )


def gaussian_decision_change(
    values: Tensor, values_after: Tensor, gaussians: Tensor, gaussians_after: Tensor, applies: Tensor
) -> DecisionChange:
    """Return how much each intervention changes value and policy where actions are continuous.

    Args:
        values: ``V(x)``, ``(N,)``, of all frames at once, whose spread is the unit.
        values_after: ``V(x')``, ``(I, N)``.
        gaussians: means and standard deviations of ``pi(. | x)``, ``(N, 2 A)``.
        gaussians_after: those of ``pi(. | x')``, ``(I, N, 2 A)``.
        applies: ``bool (I, N)``, whether the intervention changes anything in the frame.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check_values(values, values_after, gaussians_after, applies)
    return _where_applied(
        applies,
        value_change(values.unsqueeze(1), values_after.unsqueeze(2)),
        gaussian_action_drop(gaussians, gaussians_after),
        gaussian_divergence(gaussians, gaussians_after),
        gaussian_flip(gaussians, gaussians_after),
    )


def _check_values(values: Tensor, values_after: Tensor, policy_after: Tensor, applies: Tensor) -> None:
    if values.dim() != 1 or values_after.dim() != 2 or applies.shape != values_after.shape:
        raise ValueError(
            "values must be (N,), values_after and applies (I, N), got "
            f"{tuple(values.shape)}, {tuple(values_after.shape)} and {tuple(applies.shape)}"
        )
    if policy_after.shape[:2] != applies.shape:
        raise ValueError(f"probabilities_after must be (I, N, A), got {tuple(policy_after.shape)}")


def _where_applied(applies: Tensor, *changes: Tensor) -> DecisionChange:
    return DecisionChange(*(torch.where(applies.to(change.device), change, torch.nan) for change in changes))


def q_decision_change(q_values: Tensor, q_values_after: Tensor, applies: Tensor) -> DecisionChange:
    """Return how much each intervention changes the Q-values.

    Args:
        q_values: ``Q(x, .)``, ``(N, A)``, of all frames at once, whose spread is the unit.
        q_values_after: ``Q(x', .)``, ``(I, N, A)``.
        applies: ``bool (I, N)``, whether the intervention changes anything in the frame.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if applies.shape != q_values_after.shape[:2]:
        raise ValueError(f"applies must be (I, N) = {tuple(q_values_after.shape[:2])}, got {tuple(applies.shape)}")
    value = q_value_change(q_values, q_values_after)
    flip = (q_values_after.argmax(dim=2) != q_values.argmax(dim=1)).to(q_values.dtype)
    undefined = torch.full_like(value, torch.nan)
    return _where_applied(applies, value, undefined, undefined, flip)

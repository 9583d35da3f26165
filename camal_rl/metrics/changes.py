"""Measures of the change of a decision, from unperturbed and perturbed outputs.

The outputs of a policy with continuous actions are those of a Gaussian: its means and then its standard deviations,
``(N, 2 A)``, before any squashing of the actions. Squashing does not change divergence and drop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Change = Callable[[Tensor, Tensor], Tensor]
"""Computes a change ``(F, N)`` from unperturbed outputs ``(N, K)`` and perturbed outputs ``(F, N, K)``."""
LEAST_SPREAD = 1e-3
"""Least standard deviation of values over frames that is a unit, as a share of the largest magnitude. A bfloat16 number
is rounded by up to 2e-3 of its magnitude."""


def preferred_action_drop(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return the drop in probability of the action that the unperturbed policy prefers.

    Args:
        reference: probabilities ``(N, A)`` for the unperturbed images.
        perturbed: probabilities ``(F, N, A)``.

    Returns:
        ``pi(a* | x) - pi(a* | x')``, ``(F, N)`` in [-1, 1].
    """
    _check_outputs(reference, perturbed)
    best = reference.argmax(dim=1, keepdim=True)
    after = perturbed.gather(2, best.expand(len(perturbed), -1, -1)).squeeze(2)
    return reference.gather(1, best).squeeze(1) - after


def policy_divergence(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``KL(pi(x) || pi(x'))``, ``(F, N)`` in nats; arguments as in :func:`preferred_action_drop`."""
    _check_outputs(reference, perturbed)
    return _divergence(reference.expand_as(perturbed), perturbed)


def sarfa(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return SARFA (Puri et al. 2020, arXiv 1912.12191): a drop that is specific to the preferred action.

    ``2 d K / (d + K)`` with ``d`` the drop of :func:`preferred_action_drop` (0 if negative) and
    ``K = 1 / (1 + KL(pi'(other actions) || pi(other actions)))``, both renormalized over the other actions.

    Args:
        reference: probabilities ``(N, A)``, A at least 2.
        perturbed: probabilities ``(F, N, A)``.

    Returns:
        ``(F, N)`` in [0, 1].
    """
    drop = preferred_action_drop(reference, perturbed).clamp_min(0)
    best = reference.argmax(dim=1, keepdim=True)
    others = reference.scatter(1, best, 0.0).expand_as(perturbed)
    others_after = perturbed.scatter(2, best.expand(len(perturbed), -1, -1), 0.0)
    specific = 1 / (1 + _divergence(_renormalized(others_after), _renormalized(others)))
    return 2 * drop * specific / (drop + specific)


def value_change(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|V(x) - V(x')|`` in units of the standard deviation of ``V(x)`` over the frames.

    Args:
        reference: values ``(N, 1)``.
        perturbed: values ``(F, N, 1)``.

    Returns:
        ``(F, N)``, non-negative; NaN if there is no scale: the standard deviation is less than :data:`LEAST_SPREAD`
        of the largest ``|V(x)|``, as for values that are the same on every frame but for rounding.
    """
    _check_outputs(reference, perturbed)
    if reference.shape[1] != 1:
        raise ValueError(f"values must be (N, 1), got shape {tuple(reference.shape)}")
    scale = reference.std(correction=0)
    change = (reference - perturbed).abs().squeeze(2) / scale
    return torch.where(scale > LEAST_SPREAD * reference.abs().max(), change, torch.nan)


def q_value_change(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|Q(x, a) - Q(x', a)|`` for the greedy action ``a`` of the unperturbed image, in standard deviations.

    The unit is the standard deviation of ``max_a Q(x, a)`` over the frames, as for :func:`value_change`.

    Args:
        reference: Q-values ``(N, A)`` for the unperturbed images.
        perturbed: Q-values ``(F, N, A)``.

    Returns:
        ``(F, N)``, non-negative; NaN if the largest Q-value is the same on every frame, in the same sense.
    """
    _check_outputs(reference, perturbed)
    best = reference.argmax(dim=1, keepdim=True)
    after = perturbed.gather(2, best.expand(len(perturbed), -1, -1))
    return value_change(reference.gather(1, best), after)


def q_sarfa(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return :func:`sarfa` of Q-values, converted to probabilities by a softmax as its authors do.

    Args:
        reference: Q-values ``(N, A)``, A at least 2.
        perturbed: Q-values ``(F, N, A)``.
    """
    return sarfa(reference.softmax(dim=1), perturbed.softmax(dim=2))


@dataclass(frozen=True, eq=False)
class ClassScoreDrop:
    """The drop in probability of a given class for each frame: the change to use for classifiers.

    Attributes:
        targets: ``int64 (N,)``, the class of each frame, such as its label or the class of the evaluated map.
    """

    targets: Tensor

    def __post_init__(self) -> None:
        if self.targets.dtype != torch.int64:
            raise TypeError(f"targets must be class indices of type int64, got {self.targets.dtype}")
        if self.targets.dim() != 1 or bool((self.targets < 0).any()):
            raise ValueError(f"targets must be (N,) and at least 0, got shape {tuple(self.targets.shape)}")

    def __call__(self, reference: Tensor, perturbed: Tensor) -> Tensor:
        """Return ``p(target | x) - p(target | x')``, ``(F, N)``, of ``(N, K)`` and ``(F, N, K)``."""
        _check_outputs(reference, perturbed)
        return self.score(reference) - self.score(perturbed)

    def score(self, outputs: Tensor) -> Tensor:
        """Return the target's entry of outputs ``(..., N, K)``, ``(..., N)``."""
        frames, classes = outputs.shape[-2:]
        if len(self.targets) != frames or int(self.targets.max()) >= classes:
            raise ValueError(
                f"need one target below {classes} for each of {frames} frames, got {len(self.targets)} targets up to "
                f"{int(self.targets.max())}"
            )
        return outputs[..., torch.arange(frames, device=outputs.device), self.targets.to(outputs.device)]


def gaussian_parameters(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations ``(..., A)`` of outputs ``(..., 2 A)``.

    Raises:
        ValueError: outputs that are no such pairs.
    """
    if outputs.shape[-1] % 2 or not outputs.shape[-1]:
        raise ValueError(f"outputs of a Gaussian are (N, 2 A), means and deviations, got shape {tuple(outputs.shape)}")
    mean, std = outputs.chunk(2, dim=-1)
    return mean, std


def gaussian_action_drop(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return the drop in density of the action that the unperturbed policy prefers, its mean, as a share of before.

    ``1 - N(m; m', s') / N(m; m, s)``: 0 where nothing changes, 1 where the action is out of reach. With a standard
    deviation that does not depend on the image it is ``1 - exp(-1/2 sum_i ((m_i - m'_i) / s_i)^2)``. Ours.

    Args:
        reference: ``(N, 2 A)`` for the unperturbed images.
        perturbed: ``(F, N, 2 A)``.

    Returns:
        ``(F, N)``, at most 1; negative where the policy has become surer of the same action.
    """
    _check_outputs(reference, perturbed)
    mean, std = gaussian_parameters(reference)
    mean_after, std_after = gaussian_parameters(perturbed)
    log_ratio = (std.log() - std_after.log() - 0.5 * ((mean - mean_after) / std_after).square()).sum(dim=-1)
    return 1 - log_ratio.exp()


def gaussian_divergence(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``KL(pi(x) || pi(x'))``, ``(F, N)`` in nats; arguments as in :func:`gaussian_action_drop`.

    ``sum_i log(s'_i / s_i) + (s_i^2 + (m_i - m'_i)^2) / (2 s'_i^2) - 1/2``.
    """
    _check_outputs(reference, perturbed)
    mean, std = gaussian_parameters(reference)
    mean_after, std_after = gaussian_parameters(perturbed)
    spread = (std.square() + (mean - mean_after).square()) / (2 * std_after.square())
    return (std_after.log() - std.log() + spread - 0.5).sum(dim=-1)


def gaussian_flip(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return 1 where the preferred action is another one, else 0, ``(F, N)``; arguments as in the others.

    It is another one where some number of the mean has moved by more than its standard deviation: by more than the
    actions of one image differ. The choice is ours.
    """
    _check_outputs(reference, perturbed)
    mean, std = gaussian_parameters(reference)
    return ((mean - gaussian_parameters(perturbed)[0]).abs() > std).any(dim=-1).to(torch.get_default_dtype())


_NO_PROBABILITIES = (q_value_change, q_sarfa, gaussian_action_drop, gaussian_divergence, gaussian_flip)
"""Changes of outputs that are no probabilities."""


def confidence(outputs: Tensor, reference: Tensor, change: Change) -> Tensor:
    """Return the probability for the confidence figures.

    For :class:`ClassScoreDrop` it is the probability of the target, for any other change that of the class (action)
    that the unperturbed model prefers. It is NaN for outputs that are not probabilities: a single output per frame,
    which is a value, Q-values, and the parameters of Gaussians.

    Args:
        outputs: probabilities ``(N, K)``, e.g. of perturbed images.
        reference: probabilities ``(N, K)`` of the unperturbed images.
        change: the measured change.

    Returns:
        ``(N,)``.
    """
    if isinstance(change, ClassScoreDrop):
        return change.score(outputs)
    if outputs.shape[1] == 1 or change in _NO_PROBABILITIES:
        return torch.full_like(outputs[:, 0], torch.nan)
    return outputs.gather(1, reference.argmax(dim=1, keepdim=True)).squeeze(1)


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return ``KL(first || second)`` over the last axis; terms with ``first = 0`` are 0."""
    tiny = torch.finfo(first.dtype).tiny
    return (first * (first.clamp_min(tiny).log() - second.clamp_min(tiny).log())).sum(dim=-1)


def _renormalized(probabilities: Tensor) -> Tensor:
    return probabilities / probabilities.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(probabilities.dtype).tiny)


def _check_outputs(reference: Tensor, perturbed: Tensor) -> None:
    if reference.dim() != 2 or perturbed.dim() != 3 or perturbed.shape[1:] != reference.shape:
        raise ValueError(
            "reference must be (N, K) and perturbed (F, N, K), got "
            f"{tuple(reference.shape)} and {tuple(perturbed.shape)}"
        )

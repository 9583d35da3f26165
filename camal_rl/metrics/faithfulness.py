"""Does what a model attends to drive its decision: the change of its outputs when those pixels are removed.

A map is only as good as the change it causes beyond that of its controls: report, beside each figure, that of
:func:`random_saliency` and of the target mask itself used as the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, upsample_cam, zero_maps
from camal_rl.metrics.perturbation import FRACTIONS, Fill, perturbation_curve

EFFECT_LIMIT = 0.5
"""The headline figure averages over deleted fractions above 0 and up to this one."""

Change = Callable[[Tensor, Tensor], Tensor]
"""Turns unperturbed outputs ``(N, K)`` and perturbed ones ``(F, N, K)`` into a change ``(F, N)``."""


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
    ``K = 1 / (1 + KL(pi'(other actions) || pi(other actions)))``, both renormalised over the other actions.

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
    specific = 1 / (1 + _divergence(_renormalised(others_after), _renormalised(others)))
    return 2 * drop * specific / (drop + specific)


def value_change(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|V(x) - V(x')|`` in units of the standard deviation of ``V(x)`` over the frames.

    Args:
        reference: values ``(N, 1)``.
        perturbed: values ``(F, N, 1)``.

    Returns:
        ``(F, N)``, non-negative; NaN if the value is the same on every frame (no scale to measure by).
    """
    _check_outputs(reference, perturbed)
    if reference.shape[1] != 1:
        raise ValueError(f"values must be (N, 1), got shape {tuple(reference.shape)}")
    scale = reference.std(correction=0)
    change = (reference - perturbed).abs().squeeze(2) / scale
    return torch.where(scale > 0, change, torch.nan)


def area_under_curve(fractions: Sequence[float], curve: Tensor) -> Tensor:
    """Return the trapezoidal area under ``curve (F, ...)`` divided by the span of the fractions.

    A constant curve has its own height as area. The fractions must increase.
    """
    if len(fractions) != len(curve) or len(fractions) < 2:
        raise ValueError(f"need the same two or more points, got {len(fractions)} fractions and {len(curve)} rows")
    if any(right <= left for left, right in pairwise(fractions)):
        raise ValueError(f"fractions must increase, got {tuple(fractions)}")
    points = torch.as_tensor(fractions, dtype=curve.dtype, device=curve.device)
    return torch.trapezoid(curve.movedim(0, -1), points, dim=-1) / (points[-1] - points[0])


def random_saliency(shape: tuple[int, int, int], size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return random maps as coarse as a class activation map: the control for perturbation figures.

    Independent noise per pixel would remove scattered single pixels, another kind of damage than the blobs
    that a coarse map removes; a control must differ from the map only in where it points.

    Args:
        shape: ``(N, h, w)`` of the class activation maps.
        size: ``(H, W)`` of the images; the random maps are enlarged to it just as class activation maps are.
        generator: source of randomness, whose device the result is on.

    Returns:
        ``(N, H, W)`` in [0, 1].
    """
    return upsample_cam(torch.rand(shape, generator=generator, device=generator.device), size)


@dataclass(frozen=True)
class PerturbationEffect:
    """What a map's pixels do to the decision; each field ``(N,)``, NaN where the map is zero or not finite.

    All figures are areas under, or means of, the CHANGE from the unperturbed output, for policies and
    values alike. (RISE's area under the probability itself is the unperturbed probability minus ours.)

    Attributes:
        deletion_effect: mean change over the deleted fractions in (0, .5]; the headline figure, higher is
            better.
        deletion_auc: area under the change over the deleted fraction; higher is better.
        insertion_auc: area under the change that remains over the shown fraction; lower is better.
    """

    deletion_effect: Tensor
    deletion_auc: Tensor
    insertion_auc: Tensor

    def means(self) -> dict[str, float]:
        """Return each figure's mean over the frames where it is defined."""
        return {name: float(values.nanmean()) for name, values in vars(self).items()}

    def undefined(self) -> int:
        """Return the number of frames without figures; they count nowhere, so report them."""
        return int(self.deletion_effect.isnan().sum())


def deletion_effect(
    images: Tensor,
    saliency: Tensor,
    evaluate: Callable[[Tensor], Tensor],
    change: Change,
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "mean",
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
) -> PerturbationEffect:
    """Return how much the outputs change when the most salient pixels go, and when only they stay.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``, non-negative.
        evaluate: takes ``(n, C, H, W)``, returns ``(n, K)``: action probabilities or values.
        change: :func:`preferred_action_drop`, :func:`policy_divergence`, :func:`sarfa` or
            :func:`value_change`.
        fractions: increasing, some of them in (0, .5].
        fill: see :func:`camal_rl.metrics.perturbation.fill_images`.
        chunk_size: largest number of images given to ``evaluate`` at once.
        generator: orders equally salient pixels, see
            :func:`camal_rl.metrics.perturbation.perturbation_curve`.

    Returns:
        The figures of each frame.
    """
    early = [index for index, fraction in enumerate(fractions) if 0 < fraction <= EFFECT_LIMIT]
    if not early:
        raise ValueError(f"some fractions must be in (0, {EFFECT_LIMIT}], got {tuple(fractions)}")
    undefined = zero_maps(saliency) | nonfinite_maps(saliency)
    source = generator or torch.Generator().manual_seed(0)
    usable = torch.where(undefined[:, None, None], 0.0, saliency)
    reference = perturbation_curve(images, usable, evaluate, "deletion", (0.0,), fill, chunk_size, source)[0]
    deleted = perturbation_curve(images, usable, evaluate, "deletion", fractions, fill, chunk_size, source)
    inserted = perturbation_curve(images, usable, evaluate, "insertion", fractions, fill, chunk_size, source)
    lost, remaining = change(reference, deleted), change(reference, inserted)
    figures = (
        lost[early].mean(dim=0),
        area_under_curve(fractions, lost),
        area_under_curve(fractions, remaining),
    )
    drop = undefined.to(lost.device)
    return PerturbationEffect(*(torch.where(drop, torch.nan, figure) for figure in figures))


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return ``KL(first || second)`` over the last axis; terms with ``first = 0`` are 0."""
    tiny = torch.finfo(first.dtype).tiny
    return (first * (first.clamp_min(tiny).log() - second.clamp_min(tiny).log())).sum(dim=-1)


def _renormalised(probabilities: Tensor) -> Tensor:
    return probabilities / probabilities.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(probabilities.dtype).tiny)


def _check_outputs(reference: Tensor, perturbed: Tensor) -> None:
    if reference.dim() != 2 or perturbed.dim() != 3 or perturbed.shape[1:] != reference.shape:
        raise ValueError(
            "reference must be (N, K) and perturbed (F, N, K), got "
            f"{tuple(reference.shape)} and {tuple(perturbed.shape)}"
        )

"""Three figures of the change of a model's outputs when the most attended pixels are removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, zero_maps
from camal_rl.metrics.changes import Change
from camal_rl.metrics.fills import Fill
from camal_rl.metrics.perturbation import FRACTIONS, Evaluate, perturbation_curve

EFFECT_LIMIT = 0.5
"""The headline figure averages over deleted fractions above 0 and up to this one."""


def area_under_curve(fractions: Sequence[float], curve: Tensor) -> Tensor:
    """Return the trapezoidal area under ``curve (F, ...)`` divided by the span of the fractions.

    The area of a constant curve is its height. The fractions must increase.
    """
    if len(fractions) != len(curve) or len(fractions) < 2:
        raise ValueError(f"need the same two or more points, got {len(fractions)} fractions and {len(curve)} rows")
    if any(right <= left for left, right in pairwise(fractions)):
        raise ValueError(f"fractions must increase, got {tuple(fractions)}")
    points = torch.as_tensor(fractions, dtype=curve.dtype, device=curve.device)
    return torch.trapezoid(curve.movedim(0, -1), points, dim=-1) / (points[-1] - points[0])


def early_points(fractions: Sequence[float]) -> list[int]:
    """Return which fractions are in (0, .5], over which effects are averaged."""
    early = [index for index, fraction in enumerate(fractions) if 0 < fraction <= EFFECT_LIMIT]
    if not early:
        raise ValueError(f"some fractions must be in (0, {EFFECT_LIMIT}], got {tuple(fractions)}")
    return early


@dataclass(frozen=True)
class PerturbationEffect:
    """Effect of a map's pixels on the decision; each field is ``(N,)``, NaN where the map is zero or not finite.

    All figures are areas under, or means of, the CHANGE from the unperturbed output, for policies and
    values alike. RISE's deletion and insertion AUC (arXiv 1806.07421) are areas under the probability itself. They
    equal the unperturbed probability minus ours, so the better direction is the opposite.

    Attributes:
        deletion_effect: mean change over the deleted fractions in (0, .5]; the headline figure, higher is
            better.
        deletion_change_auc: area under the change over the deleted fraction; higher is better.
        insertion_change_auc: area under the remaining change over the shown fraction; lower is better.
    """

    deletion_effect: Tensor
    deletion_change_auc: Tensor
    insertion_change_auc: Tensor

    def means(self) -> dict[str, float]:
        """Return each figure's mean over the frames where it is defined."""
        return {name: float(values.nanmean()) for name, values in vars(self).items()}

    def counts(self) -> dict[str, int]:
        """Return the number of frames for which each figure is defined."""
        return {name: int((~values.isnan()).sum()) for name, values in vars(self).items()}

    def undefined(self) -> int:
        """Return the number of frames without figures; they are excluded from means, so report them."""
        return int(self.deletion_effect.isnan().sum())


def deletion_effect(
    images: Tensor,
    saliency: Tensor,
    evaluate: Evaluate,
    change: Change,
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "mean",
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
) -> PerturbationEffect:
    """Return the change of the outputs when the most salient pixels are removed, and when only they are kept.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``, non-negative.
        evaluate: takes ``(n, C, H, W)``, returns ``(n, K)``: action probabilities or values.
        change: such as :func:`preferred_action_drop`, :func:`policy_divergence`, :func:`sarfa` or
            :func:`value_change`, all in :mod:`camal_rl.metrics.changes`.
        fractions: increasing, some of them in (0, .5].
        fill: see :func:`camal_rl.metrics.fills.remove_pixels`.
        chunk_size: largest number of images given to ``evaluate`` at once.
        generator: orders equally salient pixels, see
            :func:`camal_rl.metrics.perturbation.perturbation_curve`.

    Returns:
        The figures of each frame.
    """
    early = early_points(fractions)
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

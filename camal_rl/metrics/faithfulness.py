"""Faithfulness: whether the attended pixels drive the decision. All figures of one map and one fill, in one pass.

Figures are informative only in comparison with controls: report each figure also for
:func:`camal_rl.metrics.controls.random_saliency` and for the target mask itself used as the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, zero_maps
from camal_rl.metrics.changes import Change, confidence
from camal_rl.metrics.confidence import average_drop, explanation_images, increase_in_confidence
from camal_rl.metrics.correlation import CellSubsets, correlate
from camal_rl.metrics.definition import FAITHFULNESS_METRICS
from camal_rl.metrics.deletion import area_under_curve, early_points
from camal_rl.metrics.fills import Fill, imputation_noise
from camal_rl.metrics.perturbation import (
    FRACTIONS,
    Evaluate,
    check_perturbation,
    checked_outputs,
    outputs_without,
    rank_masks,
    removed_ranks,
    saliency_ranks,
)

CURVES = ("deletion", "insertion", "deletion_lerf")


@dataclass(frozen=True)
class Faithfulness:
    """Effect of a map's pixels on the decision, for each frame.

    Every figure is ``(N,)``, NaN where it is undefined: for a zero or non-finite map (all figures), for a value or a
    probability of 0 (the confidence figures), or without variance (the correlation). All but the confidence figures and
    the correlation are in the unit of the CHANGE from the unperturbed output. MoRF and LeRF mean most and least
    relevant first. Areas under the LeRF curves are omitted, since these are the MoRF curves read backwards: deletion in
    LeRF order has the area of insertion in MoRF order.

    Attributes:
        deletion_effect: mean change over the deleted fractions in (0, .5], MoRF; higher is better.
        deletion_change_auc: area under the change over the deleted fraction, MoRF; higher is better.
        insertion_change_auc: area under the remaining change over the shown fraction, MoRF; lower is better.
        deletion_effect_lerf: as ``deletion_effect`` in LeRF order; lower is better.
        order_gap: ``deletion_effect - deletion_effect_lerf``; higher is better, 0 for a random map.
        comprehensiveness: change after removing the ``top`` share of the pixels; higher is better.
        sufficiency: change after keeping only the ``top`` share of the pixels; lower is better.
        average_drop: see :func:`camal_rl.metrics.confidence.average_drop`; lower is better.
        increase_in_confidence: see :func:`camal_rl.metrics.confidence.increase_in_confidence`; higher is better.
        faithfulness_correlation: see :func:`camal_rl.metrics.correlation.faithfulness_correlation`; higher is better.
        fractions: F deleted (or shown) shares of the pixels.
        changes: ``(F, N)`` for ``deletion``, ``insertion`` (both MoRF) and ``deletion_lerf``.
    """

    deletion_effect: Tensor
    deletion_change_auc: Tensor
    insertion_change_auc: Tensor
    deletion_effect_lerf: Tensor
    order_gap: Tensor
    comprehensiveness: Tensor
    sufficiency: Tensor
    average_drop: Tensor
    increase_in_confidence: Tensor
    faithfulness_correlation: Tensor
    fractions: tuple[float, ...]
    changes: Mapping[str, Tensor]

    def metrics(self) -> dict[str, Tensor]:
        """Return the tensor ``(N,)`` of each of :data:`camal_rl.metrics.definition.FAITHFULNESS_METRICS`."""
        return {metric.name: getattr(self, metric.name) for metric in FAITHFULNESS_METRICS}

    def means(self) -> dict[str, float]:
        """Return each figure's mean over the frames where it is defined; NaN if there is none."""
        return {name: float(values.nanmean()) for name, values in self.metrics().items()}

    def counts(self) -> dict[str, int]:
        """Return the number of frames for which each figure is defined."""
        return {name: int((~values.isnan()).sum()) for name, values in self.metrics().items()}

    def undefined(self) -> dict[str, int]:
        """Return the number of frames for which each figure is undefined; means exclude them, so report them."""
        return {name: int(values.isnan().sum()) for name, values in self.metrics().items()}

    def curves(self) -> dict[str, list[float]]:
        """Return ``fractions`` and, for each of :data:`CURVES`, the mean change over the defined frames."""
        means = {name: curve.nanmean(dim=1).tolist() for name, curve in self.changes.items()}
        return {"fractions": list(self.fractions), **means}


def faithfulness(
    images: Tensor,
    saliency: Tensor,
    evaluate: Evaluate,
    change: Change,
    fill: Fill = "mean",
    fractions: Sequence[float] = FRACTIONS,
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
    top: float = 0.2,
    grid: tuple[int, int] = (8, 8),
    subsets: int = 32,
) -> Faithfulness:
    """Return every faithfulness figure of one map under one fill; no perturbed image is evaluated twice.

    With the default fractions a frame needs 23 evaluations, plus one per subset.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``, non-negative; enlarge coarse maps with :func:`camal_rl.attention.upsample_cam`.
        evaluate: takes ``(n, C, H, W)`` of the images' dtype, returns ``(n, K)``: probabilities or values.
        change: see :mod:`camal_rl.metrics.changes`; :class:`camal_rl.metrics.ClassScoreDrop` for classifiers.
        fill: see :func:`camal_rl.metrics.fills.remove_pixels`. (Average drop and increase in confidence multiply the
            image by the map instead and do not depend on it.)
        fractions: increasing, some of them in (0, .5].
        chunk_size: largest number of images given to ``evaluate`` at once; does not change the result.
        generator: orders equally salient pixels, draws the subsets and ROAD's noise; ``None`` means a new CPU
            generator with seed 0.
        top: share of the pixels for comprehensiveness and sufficiency, in (0, 1).
        grid: cells per column and per row for the faithfulness correlation; preferably those of the map.
        subsets: number of random subsets for the faithfulness correlation, at least 3.

    Returns:
        The figures of each frame.

    Raises:
        TypeError: images that are neither uint8 nor floating point.
        ValueError: wrong shapes, shares, grid or number of subsets, or an unknown fill.
    """
    _check(images, saliency, fractions, chunk_size, top)
    undefined = zero_maps(saliency) | nonfinite_maps(saliency)
    usable = torch.where(undefined[:, None, None], 0.0, saliency.detach()).to(images.device)
    source = generator or torch.Generator().manual_seed(0)
    place = saliency_ranks(usable, source)
    drawn = CellSubsets.draw(subsets, len(images), grid, (images.shape[2], images.shape[3]), source).to(images.device)
    noise = imputation_noise(images, fill, source)
    ranges = _rank_ranges(fractions, top, place[0].numel())
    plan = list(dict.fromkeys([(0, 0), *chain.from_iterable(ranges.values())]))
    outputs = outputs_without(
        images,
        lambda frames: chain(rank_masks(place[frames], plan), drawn.masks(frames)),
        evaluate,
        fill,
        noise,
        chunk_size,
    )
    reference, dead = outputs[0], undefined.to(outputs.device)
    changes = torch.where(dead, torch.nan, change(reference, outputs))
    points = {name: changes[[plan.index(each) for each in group]] for name, group in ranges.items()}
    explained = _explained_outputs(images, usable, evaluate, chunk_size)
    before = confidence(reference, reference, change)
    after = torch.where(dead, torch.nan, confidence(explained, reference, change))
    return Faithfulness(
        **_curve_figures(fractions, points),
        average_drop=average_drop(before, after),
        increase_in_confidence=increase_in_confidence(before, after),
        faithfulness_correlation=correlate(drawn.sums(usable).to(changes.device), changes[len(plan) :]),
        fractions=tuple(fractions),
        changes={name: points[name] for name in CURVES},
    )


def _rank_ranges(fractions: Sequence[float], top: float, pixels: int) -> dict[str, list[tuple[int, int]]]:
    """Return the ranks removed at each point of each curve, and under ``top`` those of the top-share figures."""
    counts = [round(fraction * pixels) for fraction in fractions]
    first = round(top * pixels)
    return {
        "deletion": [removed_ranks("deletion", "morf", count, pixels) for count in counts],
        "insertion": [removed_ranks("insertion", "morf", count, pixels) for count in counts],
        "deletion_lerf": [removed_ranks("deletion", "lerf", count, pixels) for count in counts],
        "top": [removed_ranks(mode, "morf", first, pixels) for mode in ("deletion", "insertion")],
    }


def _curve_figures(fractions: Sequence[float], points: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute the figures from the changes at the points of :func:`_rank_ranges`."""
    early = early_points(fractions)
    effect, effect_lerf = points["deletion"][early].mean(dim=0), points["deletion_lerf"][early].mean(dim=0)
    return {
        "deletion_effect": effect,
        "deletion_change_auc": area_under_curve(fractions, points["deletion"]),
        "insertion_change_auc": area_under_curve(fractions, points["insertion"]),
        "deletion_effect_lerf": effect_lerf,
        "order_gap": effect - effect_lerf,
        "comprehensiveness": points["top"][0],
        "sufficiency": points["top"][1],
    }


def _explained_outputs(images: Tensor, saliency: Tensor, evaluate: Evaluate, chunk_size: int) -> Tensor:
    """Return the outputs ``(N, K)`` for the images multiplied by their maps."""
    pairs = zip(images.split(chunk_size), saliency.split(chunk_size), strict=True)
    with torch.no_grad():
        return torch.cat([checked_outputs(evaluate, explanation_images(image, weight)) for image, weight in pairs])


def _check(images: Tensor, saliency: Tensor, fractions: Sequence[float], chunk_size: int, top: float) -> None:
    """Raise before the first evaluation for arguments that would fail, or give meaningless figures, later."""
    check_perturbation(images, saliency, fractions, chunk_size)
    area_under_curve(fractions, torch.zeros(len(fractions)))
    early_points(fractions)
    if not 0 < top < 1:
        raise ValueError(f"top must be in (0, 1), got {top}")

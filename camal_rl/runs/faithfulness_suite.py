"""The additional measurements of ``evaluate --suite full`` on one target's map, for agents and classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn

from camal_rl.extras import install_command
from camal_rl.metrics import (
    Change,
    Fill,
    Shift,
    UniformNoise,
    deletion_effect,
    explanation_consistency,
    faithfulness,
    randomization_check,
)
from camal_rl.metrics.consistency import Perturbation
from camal_rl.metrics.perturbation import Evaluate
from camal_rl.runs.attention_results import curve_results, faithfulness_results
from camal_rl.runs.results import Result
from camal_rl.runs.settings import SUITES

NEUTRAL_MAPS: tuple[Literal["perturbation", "integrated_gradients"], ...] = ("perturbation", "integrated_gradients")
"""Maps on which no method is trained; judging a method only by its own map would judge it by its training objective."""

OTHER_FILLS: tuple[Fill, ...] = ("blur", "zero", "road")
STABILITY_FRAMES = 64
"""Number of frames for consistency and parameter randomization."""

# These two multiply the image by the map and do not use the fill.
_WITHOUT_FILL = ("average_drop", "increase_in_confidence")


def check_suite(suite: str) -> None:
    """Raise an error if there is no such suite, or if it cannot be measured here.

    Raises:
        ValueError: the suite is unknown.
        ImportError: a package for it is missing; the message contains the install command.
    """
    if suite not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {suite!r}")
    if suite == "full" and find_spec("captum") is None:
        raise ImportError(
            "Captum is not installed; --suite full needs its integrated gradients. Install it with: "
            f"{install_command('explain')}"
        )


@dataclass(frozen=True)
class Decision:
    """An output of a network, and how its change is measured.

    Attributes:
        target: the attention target, or the map's name for a classifier.
        output: takes images ``(n, C, H, W)``, returns ``(n, K)`` on the CPU.
        change: the measure of change.
        grid: ``(h, w)`` cells, of which random subsets are removed for the faithfulness correlation; one cell, which
            has no subsets, counts as 2x2.
        chunk_size: largest number of images given to ``output`` at once.
        other_changes: further measures of change by the suffix of their figures.
    """

    target: str
    output: Evaluate
    change: Change
    grid: tuple[int, int]
    chunk_size: int
    other_changes: Mapping[str, Change] = field(default_factory=dict)


def deletion_results(
    decision: Decision, images: Tensor, saliency: Mapping[str, Tensor], seed: int, level_set: str | None = None
) -> list[Result]:
    """Return the deletion effect of each map, as the quick suite measures it; arguments as in the full suite."""
    results = []
    for name, each in saliency.items():
        source = torch.Generator().manual_seed(seed)
        effect = deletion_effect(
            images, each, decision.output, decision.change, chunk_size=decision.chunk_size, generator=source
        )
        results += faithfulness_results(effect.means(), effect.counts(), level_set, decision.target, name)
    return results


def faithfulness_suite(
    decision: Decision,
    images: Tensor,
    saliency: Mapping[str, Tensor],
    neutral: Mapping[str, Tensor],
    seed: int,
    level_set: str | None = None,
) -> list[Result]:
    """Return the faithfulness of maps under every fill and every measure of change of a decision.

    Args:
        decision: the decision that the maps explain.
        images: ``(N, C, H, W)``, uint8.
        saliency: the model's map and its controls, ``(N, H, W)`` by name.
        neutral: maps by the names :data:`NEUTRAL_MAPS`, ``(N, H, W)``; measured only with the mean fill.
        seed: seed of the order of ties, subsets and noise, the same for every map.
        level_set: name of the images' levels, or of the image set, in the results.

    Returns:
        Every figure and curve by map (mean fill), the figures by fill and map, and the deletion effect by map with
        other measures of change if the decision has any (``deletion_effect_kl``, ``deletion_effect_sarfa`` ...).
    """
    output, change, target = decision.output, decision.change, decision.target
    grid = decision.grid if max(decision.grid) > 1 else (2, 2)
    results: list[Result] = []

    def source() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def measured(each: Tensor, fill: Fill = "mean") -> tuple[dict[str, float], dict[str, int], dict[str, list[float]]]:
        found = faithfulness(
            images, each, output, change, fill, grid=grid, chunk_size=decision.chunk_size, generator=source()
        )
        return found.means(), found.counts(), found.curves()

    for name, each in {**saliency, **neutral}.items():
        means, counts, curves = measured(each)
        results += faithfulness_results(means, counts, level_set, target, name)
        results += curve_results(curves, counts["deletion_effect"], level_set, target, name)
    for fill in OTHER_FILLS:
        for name, each in saliency.items():
            means, counts, _ = measured(each, fill)
            kept = {key: value for key, value in means.items() if key not in _WITHOUT_FILL}
            results += faithfulness_results(kept, counts, level_set, target, name, fill)
    for measure, other in decision.other_changes.items():
        for name, each in saliency.items():
            effect = deletion_effect(images, each, output, other, chunk_size=decision.chunk_size, generator=source())
            means = {f"{key}_{measure}": mean for key, mean in effect.means().items()}
            counts = {f"{key}_{measure}": count for key, count in effect.counts().items()}
            results += faithfulness_results(means, counts, level_set, target, name)
    return results


def stability(
    network: nn.Module,
    maps: Callable[[nn.Module, Tensor], Tensor],
    images: Tensor,
    target: str,
    seed: int,
    level_set: str | None = None,
) -> list[Result]:
    """Return the consistency of a model's own map, and its change under parameter randomization.

    Consistency: similarity of the map before and after noise of two gray levels and after a shift by one pixel.
    Randomization: rank correlation with the original map while the network's layers are randomized from the top.

    Args:
        network: the network.
        maps: takes a network like this one and images ``(n, C, H, W)``, returns maps ``(n, h, w)`` on the CPU; it must
            explain the same class or action of an image throughout.
        images: at most :data:`STABILITY_FRAMES` images, uint8.
        target: the target of the map.
        seed: seed of noise and random parameters.
        level_set: name of the images' levels, or of the image set, in the results.
    """
    results = []

    def add(figure: str, control: str, value: float, undefined: int) -> None:
        count = len(images) - undefined
        results.append(
            Result(
                figure=figure, level_set=level_set, target=target, map="own", control=control, value=value, count=count
            )
        )

    changes: dict[str, Perturbation] = {
        "noise": UniformNoise(torch.Generator().manual_seed(seed)),
        "shift": Shift(columns=1),
    }
    for name, perturb in changes.items():
        found = explanation_consistency(lambda batch: maps(network, batch), images, perturb, chunk_size=len(images))
        for key, mean in found.means().items():
            add(key, name, mean, found.undefined()[key])
    source = torch.Generator().manual_seed(seed)
    random = randomization_check(network, maps, images, source, chunk_size=len(images))
    missing = random.rank_correlation.isnan().sum(dim=1).tolist()
    for (layer, mean), undefined in zip(random.stages().items(), missing, strict=True):
        add("randomized_spearman", layer, mean, undefined)
    return results

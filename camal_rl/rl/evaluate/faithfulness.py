"""The additional measurements of ``evaluate --suite full`` on one head's map."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from camal_rl.agents import AttentivePolicy, CamalConfig
from camal_rl.agents.attributions import ExplainMethod, explain, preferred_actions
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.heads import AnswerKind, heads
from camal_rl.extras import install_command
from camal_rl.metrics import (
    Change,
    Shift,
    UniformNoise,
    deletion_effect,
    explanation_consistency,
    faithfulness,
    gaussian_divergence,
    policy_divergence,
    q_sarfa,
    randomization_check,
    sarfa,
)
from camal_rl.metrics.consistency import Perturbation
from camal_rl.metrics.fills import Fill
from camal_rl.rl.policy_outputs import CHUNK_SIZE, head_output
from camal_rl.runs.attention_results import curve_results, faithfulness_results
from camal_rl.runs.results import Result

NEUTRAL_METHODS: tuple[ExplainMethod, ...] = ("perturbation", "integrated_gradients")
"""Maps on which no method is trained; judging a method only by its own map would judge it by its training objective."""

OTHER_FILLS: tuple[Fill, ...] = ("blur", "zero", "road")
STABILITY_FRAMES = 64
"""Number of frames for consistency and parameter randomization."""

_OTHER_CHANGES: dict[AnswerKind, dict[str, Change]] = {
    "probabilities": {"kl": policy_divergence, "sarfa": sarfa},
    "gaussian": {"kl": gaussian_divergence},
    "q": {"sarfa": q_sarfa},
}
"""Further measures of change by kind of output.

A Q-network has no distribution, so there is no divergence; SARFA compares one action with the others.
"""
# These two multiply the image by the map and do not use the fill.
_WITHOUT_FILL = ("average_drop", "increase_in_confidence")


def check_suite_support() -> None:
    """Raise an ImportError with the install command if a package for the full suite is missing."""
    if find_spec("captum") is None:
        raise ImportError(
            "Captum is not installed; --suite full needs its integrated gradients. Install it with: "
            f"{install_command('explain')}"
        )


def neutral_maps(policy: AttentivePolicy, head: AttentionTarget, images: Tensor) -> dict[str, Tensor]:
    """Return the maps ``(N, H, W)`` of :data:`NEUTRAL_METHODS` for images ``(N, C, H, W)``, on the CPU."""
    return {method: explain(policy, images, method, head).cpu() for method in NEUTRAL_METHODS}


def faithfulness_suite(
    policy: AttentivePolicy,
    head: AttentionTarget,
    change: Change,
    images: Tensor,
    saliency: Mapping[str, Tensor],
    neutral: Mapping[str, Tensor],
    seed: int,
    level_set: str | None = None,
) -> list[Result]:
    """Return the faithfulness of maps under every fill and every measure of change of their target.

    Args:
        policy: the policy.
        head: the attention target.
        change: measure of change of that head's output.
        images: ``(N, C, H, W)``, uint8.
        saliency: the model's map and its controls, ``(N, H, W)`` by name.
        neutral: maps from :func:`neutral_maps`; measured only with the mean fill.
        seed: seed of the order of ties, subsets and noise, the same for every map.
        level_set: name of the images' levels in the results.

    Returns:
        Every figure and curve by map (mean fill), the figures by fill and map, and the deletion effect by map with
        other measures of change if the target has any (``deletion_effect_kl``, ``deletion_effect_sarfa`` ...).
    """
    output = head_output(policy, head)
    results: list[Result] = []
    sizes: dict[str, Any] = {"grid": policy.cam_grid, "chunk_size": CHUNK_SIZE}

    def source() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    for name, each in {**saliency, **neutral}.items():
        found = faithfulness(images, each, output, change, generator=source(), **sizes)
        counts = found.counts()
        results += faithfulness_results(found.means(), counts, level_set, head, name)
        results += curve_results(found.curves(), counts["deletion_effect"], level_set, head, name)
    for fill in OTHER_FILLS:
        for name, each in saliency.items():
            found = faithfulness(images, each, output, change, fill, generator=source(), **sizes)
            means = {key: value for key, value in found.means().items() if key not in _WITHOUT_FILL}
            results += faithfulness_results(means, found.counts(), level_set, head, name, fill)
    for measure, other in _OTHER_CHANGES.get(heads(policy)[head].kind, {}).items():
        for name, each in saliency.items():
            effect = deletion_effect(images, each, output, other, chunk_size=CHUNK_SIZE, generator=source())
            means = {f"{key}_{measure}": mean for key, mean in effect.means().items()}
            counts = {f"{key}_{measure}": count for key, count in effect.counts().items()}
            results += faithfulness_results(means, counts, level_set, head, name)
    return results


def stability(
    policy: AttentivePolicy,
    head: AttentionTarget,
    images: Tensor,
    camal: CamalConfig,
    seed: int,
    level_set: str | None = None,
) -> list[Result]:
    """Return the consistency of the model's own map, and its change under parameter randomization.

    Consistency: similarity of the map before and after noise of two gray levels and after a shift by one pixel.
    Randomization: rank correlation with the original map while the network's layers are randomized from the top.
    A map of an action always explains the action that is preferred on the unchanged image.
    """
    few = images[:STABILITY_FRAMES]
    actions = preferred_actions(policy, few.to(policy.device))

    def maps(network: nn.Module, batch: Tensor) -> Tensor:
        assert isinstance(network, AttentivePolicy)
        return network.attention(batch, actions, camal.method, camal.rectification, (head,))[head].float().cpu()

    changes: dict[str, Perturbation] = {
        "noise": UniformNoise(torch.Generator().manual_seed(seed)),
        "shift": Shift(columns=1),
    }
    results = []

    def add(figure: str, control: str, value: float, undefined: int) -> None:
        count = len(few) - undefined
        results.append(
            Result(
                figure=figure, level_set=level_set, target=head, map="own", control=control, value=value, count=count
            )
        )

    for name, perturb in changes.items():
        found = explanation_consistency(lambda batch: maps(policy, batch), few, perturb, chunk_size=len(few))
        for key, mean in found.means().items():
            add(key, name, mean, found.undefined()[key])
    source = torch.Generator().manual_seed(seed)
    random = randomization_check(policy, maps, few, source, chunk_size=len(few))
    missing = random.rank_correlation.isnan().sum(dim=1).tolist()
    for (layer, mean), undefined in zip(random.stages().items(), missing, strict=True):
        add("randomized_spearman", layer, mean, undefined)
    return results

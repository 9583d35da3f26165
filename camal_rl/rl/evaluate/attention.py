"""Attention metrics of an agent on a set of frames: alignment with the masks, and faithfulness with controls."""

from __future__ import annotations

from typing import NamedTuple

import torch

from camal_rl.agents import AttentivePolicy, CamalConfig
from camal_rl.agents.heads import AnswerKind, heads
from camal_rl.attention import upsample_cam
from camal_rl.metrics import (
    AlignmentSummary,
    Change,
    gaussian_action_drop,
    preferred_action_drop,
    q_value_change,
    random_saliency,
    value_change,
)
from camal_rl.rl.evaluate.faithfulness import head_decision, head_stability, neutral_maps
from camal_rl.rl.frames import FrameSet
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.attention_results import alignment_results
from camal_rl.runs.faithfulness_suite import deletion_results, faithfulness_suite
from camal_rl.runs.metrics_file import MapDescription
from camal_rl.runs.results import Result, Results
from camal_rl.runs.settings import Suite
from camal_rl.targets import grid_target, target_tensor

_HEADS: dict[AnswerKind, tuple[str, Change]] = {
    "value": ("value, in standard deviations of the value over the frames", value_change),
    "probabilities": ("probability of the preferred action", preferred_action_drop),
    "gaussian": (
        "density of the preferred action, as a share of that on the whole frame",
        gaussian_action_drop,
    ),
    "q": ("Q-value of the greedy action, in standard deviations over the frames", q_value_change),
}


class AttentionReport(NamedTuple):
    """Results on an agent's maps, and how the maps were computed, by target."""

    results: Results
    maps: dict[str, MapDescription]


def attention_report(
    policy: AttentivePolicy,
    frames: FrameSet,
    camal: CamalConfig,
    seed: int,
    suite: Suite = "quick",
    level_set: str | None = None,
) -> AttentionReport:
    """Measure a policy's attention on frames, for each target.

    Alignment compares the map with the mask on the CAM grid (a cell is relevant if it contains any relevant pixel).
    Faithfulness removes pixels in the order of three maps: the model's ``own``, a ``random`` one of the same
    resolution, and the ``mask`` of the relevant pixels itself. The full suite adds maps on which no method is trained,
    more figures, fills and changes, and the stability of the model's own map
    (:mod:`camal_rl.runs.faithfulness_suite`).

    Args:
        policy: the policy.
        frames: from :func:`camal_rl.rl.frames.sample_frames`.
        camal: defines the maps (method, rectification); must be the same for all policies of a comparison.
        seed: seed of all randomness: control maps, order of ties, perturbations.
        suite: ``quick`` or ``full``.
        level_set: name of the frames' levels in the results.

    Returns:
        For each attention target of the policy: alignment (means over the frames where they are defined),
        ``zero_maps``, ``nonfinite_maps``, ``empty_targets``, and faithfulness by map; in the full suite also curves,
        other fills and changes, consistency and randomization.
    """
    grid = policy.cam_grid
    target = target_tensor(torch.from_numpy(grid_target(frames.labels, frames.relevant, grid)))
    images = torch.from_numpy(frames.images).permute(0, 3, 1, 2).contiguous()
    size = (images.shape[2], images.shape[3])
    generator = torch.Generator().manual_seed(seed)
    controls = {
        "random": random_saliency((len(frames), *grid), size, generator),
        "mask": torch.from_numpy(frames.relevant[frames.labels]).float(),
    }
    found: list[Result] = []
    maps: dict[str, MapDescription] = {}
    for name, cam in attention_maps(policy, frames.images, camal).items():
        kind = heads(policy)[name].kind
        score, change = _HEADS[kind]
        maps[name] = MapDescription(f"{camal.method}, {camal.rectification[name]}", score, grid)
        found += alignment_results(AlignmentSummary.of(cam, target), level_set, name)
        saliency = {"own": upsample_cam(cam, size), **controls}
        decision = head_decision(policy, name, change)
        if suite == "quick":
            found += deletion_results(decision, images, saliency, seed, level_set)
        else:
            neutral = neutral_maps(policy, name, images)
            found += faithfulness_suite(decision, images, saliency, neutral, seed, level_set)
            found += head_stability(policy, name, images, camal, seed, level_set)
    return AttentionReport(Results(found), maps)

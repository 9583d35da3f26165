"""Attention metrics of an agent on a set of frames: alignment with the masks, and faithfulness with controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camal_rl.agents import CamalConfig, CamPolicy
from camal_rl.agents.config import AttentionTarget
from camal_rl.attention import upsample_cam
from camal_rl.experiments.frames import FrameSet
from camal_rl.metrics import AlignmentSummary, deletion_effect, preferred_action_drop, random_saliency, value_change
from camal_rl.targets import grid_target, target_tensor

_CHUNK = 128
_HEADS: dict[AttentionTarget, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "value": ("value, in standard deviations of the value over the frames", value_change),
    "policy": ("probability of the preferred action", preferred_action_drop),
}


def attention_maps(
    policy: CamPolicy, images: npt.NDArray[np.uint8], camal: CamalConfig
) -> dict[AttentionTarget, Tensor]:
    """Return the attention of images ``uint8 (N, H, W, 3)`` for each target, ``(N, h, w)`` in [0, 1], on the CPU.

    The maps are those that ``camal`` defines (method, rectification), whatever the policy was trained with.
    """
    parts: dict[AttentionTarget, list[Tensor]] = {}
    for start in range(0, len(images), _CHUNK):
        batch = images[start : start + _CHUNK]
        attention = policy.attention(batch, method=camal.method, rectification=camal.rectification)
        for name, maps in attention.items():
            parts.setdefault(name, []).append(maps.float().cpu())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def attention_report(policy: CamPolicy, frames: FrameSet, camal: CamalConfig, seed: int) -> dict[str, Any]:
    """Measure value and policy attention on frames.

    Alignment compares the map with the mask on the CAM grid (a cell is relevant when any relevant pixel falls in it).
    Faithfulness removes pixels in the order of three maps: the model's ``own``, a ``random`` one as coarse as it, and
    the ``mask`` of the relevant pixels itself.

    Args:
        policy: the policy.
        frames: from :func:`camal_rl.experiments.frames.sample_frames`.
        camal: says which maps are meant (method, rectification); give all policies of a comparison the same.
        seed: seed of the random map and of the order of ties.

    Returns:
        For ``value`` and ``policy``: ``map`` and ``score`` in words, ``alignment`` (means over the frames where they
        are defined) and ``undefined`` (how many are not), ``frames``, ``zero_maps``, ``nonfinite_maps``,
        ``empty_targets``, and ``faithfulness`` by map.
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
    report: dict[str, Any] = {}
    for name, cam in attention_maps(policy, frames.images, camal).items():
        summary = AlignmentSummary.of(cam, target)
        saliency = {"own": upsample_cam(cam, size), **controls}
        report[name] = {
            "map": f"{camal.method}, {camal.rectification[name]}",
            "alignment": dict(summary.means),
            "undefined": dict(summary.undefined),
            "frames": summary.frames,
            "zero_maps": summary.zero_maps,
            "nonfinite_maps": summary.nonfinite_maps,
            "empty_targets": summary.empty_targets,
            "score": _HEADS[name][0],
            "faithfulness": {key: _effect(policy, name, images, each, seed) for key, each in saliency.items()},
        }
    return report


def _effect(policy: CamPolicy, head: AttentionTarget, images: Tensor, saliency: Tensor, seed: int) -> dict[str, float]:
    output = _values if head == "value" else _probabilities
    effect = deletion_effect(
        images,
        saliency,
        lambda batch: output(policy, batch),
        _HEADS[head][1],
        generator=torch.Generator().manual_seed(seed),
    )
    return {**effect.means(), "undefined": effect.undefined()}


def _values(policy: CamPolicy, images: Tensor) -> Tensor:
    return policy.predict_values(images.to(policy.device)).cpu()


def _probabilities(policy: CamPolicy, images: Tensor) -> Tensor:
    distribution: Any = policy.get_distribution(images.to(policy.device)).distribution
    return torch.as_tensor(distribution.probs).cpu()

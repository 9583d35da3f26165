"""What a policy answers to images: values, probabilities of the actions, and where it looks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from torch import Tensor

from camal_rl.agents import CamalConfig, CamPolicy
from camal_rl.agents.attributions import policy_probabilities, policy_values
from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget
from camal_rl.attention import normalize_cam
from camal_rl.training_modes import evaluating, recording_gradients

CHUNK_SIZE = 64
"""Images given to the network at once: the memory of an evaluation is that of so many, and of the frames."""
_OUTPUTS_CHUNK = 128


def attention_maps(
    policy: CamPolicy, images: npt.NDArray[np.uint8], camal: CamalConfig | None = None
) -> dict[AttentionTarget, Tensor]:
    """Return the attention of images ``uint8 (N, H, W, C)``, ``(N, h, w)`` in [0, 1] on the CPU, for both targets.

    The maps are those that ``camal`` defines (method, rectification), whatever the policy was trained with; by default
    the policy's own.
    """
    method, rectification = (None, None) if camal is None else (camal.method, camal.rectification)
    parts: dict[AttentionTarget, list[Tensor]] = {}
    for start in range(0, len(images), CHUNK_SIZE):
        batch = images[start : start + CHUNK_SIZE]
        attention = policy.attention(batch, None, method, rectification, ATTENTION_TARGETS)
        for name, maps in attention.items():
            parts.setdefault(name, []).append(maps.float().cpu())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def values(policy: CamPolicy, images: Tensor) -> Tensor:
    """Return ``V(s)`` of images ``(n, C, H, W)``, ``(n, 1)``, on the CPU."""
    return policy_values(policy, images.to(policy.device)).cpu()


def probabilities(policy: CamPolicy, images: Tensor) -> Tensor:
    """Return the action probabilities of images ``(n, C, H, W)``, ``(n, A)``, on the CPU."""
    return policy_probabilities(policy, images.to(policy.device)).cpu()


def head_output(policy: CamPolicy, head: AttentionTarget) -> Callable[[Tensor], Tensor]:
    """Return the function from images ``(n, C, H, W)`` to what a head answers, values or probabilities."""
    answer = values if head == "value" else probabilities
    return lambda images: answer(policy, images)


@dataclass(frozen=True)
class PolicyOutputs:
    """What a policy answers to N images; entry ``i`` of everything belongs to image ``i``.

    Attributes:
        values: ``float32 (N,)``, V(s).
        probabilities: ``float32 (N, A)``, pi(a|s).
        actions: ``int64 (N,)``, the actions that the policy maps explain.
        maps: for ``value`` and ``policy`` the attention ``float32 (N, h, w)`` in [0, 1].
    """

    values: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    maps: Mapping[AttentionTarget, npt.NDArray[np.float32]]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.values)

    @property
    def action_probabilities(self) -> npt.NDArray[np.float32]:
        """The probability ``(N,)`` of each of ``actions``."""
        return self.probabilities[np.arange(len(self)), self.actions]


def policy_outputs(
    policy: CamPolicy,
    images: npt.NDArray[np.uint8],
    camal: CamalConfig | None = None,
    actions: npt.NDArray[np.int64] | None = None,
) -> PolicyOutputs:
    """Return values, probabilities and attention of images, all of one pass through the network.

    Args:
        policy: a policy with a categorical distribution (discrete actions).
        images: ``uint8 (N, H, W, C)``, N at least 1.
        camal: says which maps are meant (method, rectification); by default the policy's own.
        actions: ``(N,)``, the actions that the policy maps explain; by default those that the policy prefers.

    Raises:
        ValueError: no images, another number of actions, or actions that are not discrete.
    """
    if not isinstance(policy.action_dist, CategoricalDistribution):
        raise ValueError(f"decisions are shown for discrete actions, got {policy.action_space}")
    if len(images) == 0:
        raise ValueError("there are no outputs for no images; give at least one")
    if actions is not None and len(actions) != len(images):
        raise ValueError(f"expected one action for each of {len(images)} images, got {len(actions)}")
    with evaluating(policy):
        parts = [
            _chunk(policy, images[start : start + _OUTPUTS_CHUNK], camal, _part(actions, start))
            for start in range(0, len(images), _OUTPUTS_CHUNK)
        ]
    return PolicyOutputs(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.actions for part in parts]),
        {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
    )


def _part(actions: npt.NDArray[np.int64] | None, start: int) -> npt.NDArray[np.int64] | None:
    return None if actions is None else actions[start : start + _OUTPUTS_CHUNK]


def _chunk(
    policy: CamPolicy, images: npt.NDArray[np.uint8], camal: CamalConfig | None, actions: npt.NDArray[np.int64] | None
) -> PolicyOutputs:
    observations = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(policy.device)
    explained = None if actions is None else torch.from_numpy(actions).to(policy.device)
    method, rectification = (None, None) if camal is None else (camal.method, camal.rectification)
    with recording_gradients():
        evaluation = policy.evaluate_for_attention(observations, explained)
        maps = policy.attention_maps(evaluation, ATTENTION_TARGETS, method, rectification)
    distribution: Any = evaluation.distribution.distribution
    return PolicyOutputs(
        evaluation.value.detach().float().cpu().numpy(),
        distribution.probs.detach().float().cpu().numpy(),
        evaluation.actions.detach().long().cpu().numpy(),
        {name: normalize_cam(cam.detach()).float().cpu().numpy() for name, cam in maps.items()},
    )

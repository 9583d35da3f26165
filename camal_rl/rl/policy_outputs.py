"""What an agent answers to images: its attention, its values, its action probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camal_rl.agents import CamalConfig, CamPolicy
from camal_rl.agents.attributions import policy_probabilities, policy_values
from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget

CHUNK_SIZE = 64
"""Images given to the network at once: the memory of an evaluation is that of so many, and of the frames."""


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

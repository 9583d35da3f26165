"""Relevant pixels of the current observations as a compact column of the rollout, for terms that need them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.label_maps import SEGMENTATION_NEEDED, current_label_maps, masks_of
from camal_rl.envs.segmentation import SegmentedVecEnv


def segmented_env(env: VecEnv, term: str) -> SegmentedVecEnv:
    """Return the environment that gives masks.

    Args:
        env: the environment.
        term: name of the term that needs masks, for the message.

    Raises:
        ValueError: the environment has no masks.
    """
    segmented = masks_of(env)
    if segmented is None:
        raise ValueError(f"{term} needs {SEGMENTATION_NEEDED}")
    return segmented


def packed_relevant(segmented: SegmentedVecEnv, policy: BasePolicy) -> npt.NDArray[np.uint8]:
    """Return which pixels of the current observations are relevant, eight in a byte.

    Returns:
        ``uint8 (num_envs, ceil(H W / 8))``; the first pixel is the highest bit.
    """
    relevant = segmented.spec.relevant_lookup()[current_label_maps(segmented, policy)]
    return np.packbits(relevant.reshape(len(relevant), -1), axis=1)


def unpacked(packed: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the masks ``bool (B, H, W)`` that ``np.packbits`` packed into ``uint8 (B, ceil(H W / 8))``."""
    height, width = size
    bits = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return ((packed[:, :, None] >> bits) & 1).bool().flatten(1)[:, : height * width].view(-1, height, width)

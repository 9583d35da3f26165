"""The checked label maps of the current observations, for terms that need them."""

from __future__ import annotations

from typing import cast

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.gym_adapter import check_ids, image_size
from camal_rl.envs.segmentation import LabelMap, SegmentedVecEnv, find_segmented

SEGMENTATION_NEEDED = (
    "an environment with segmentation; make it with camal_rl.envs.make_vec, masks on; a Gymnasium environment of your "
    "own with make_segmented_vec(MyEnv, num_envs), a vectorized one with wrap_vec; or use weight 0"
)
"""Ending of the error message for an environment without masks."""


def masks_of(env: VecEnv) -> SegmentedVecEnv | None:
    """Return the environment with label maps, ``None`` if there is none or its masks are off."""
    segmented = find_segmented(env)
    return segmented if segmented is not None and segmented.has_segmentation else None


def current_label_maps(segmented: SegmentedVecEnv, policy: BasePolicy) -> LabelMap:
    """Return the label maps ``uint8 (num_envs, H, W)`` of the current observations.

    Raises:
        ValueError: they have another shape than the images, or contain ids without a name.
    """
    labels = segmented.segmentation()
    expected = (segmented.num_envs, *observed_size(policy))
    if labels.shape != expected or labels.dtype != np.uint8:
        raise ValueError(
            f"segmentation() must return uint8 label maps of shape {expected}, one for each observation, "
            f"got {labels.dtype} of shape {labels.shape}; check_segmented_env() helps to find out why"
        )
    check_ids(labels, segmented.spec)
    return labels


def observed_size(policy: BasePolicy) -> tuple[int, int]:
    """Return height and width of the observations; only for uint8 images the axis order is unambiguous."""
    space = policy.observation_space
    if is_image_space(space, check_channels=False):
        height, width = cast(tuple[int, ...], space.shape)[-2:]
        return height, width
    size = image_size(space)
    if size is None:
        raise ValueError(f"masks need images (H, W, C) or (C, H, W) as observations, got {space}")
    return size

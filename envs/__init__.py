"""Simulators that give an image and its ground-truth segmentation, as SB3 and as Gymnasium environments.

Importing this package registers the Gymnasium ids, for example ``gym.make("camal_rl/procgen-coinrun-v0")``.
"""

from camal_rl.envs.registry import env_ids, family_of, level_sets, make_vec, segmentation_spec
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec, SegmentedVecEnv, find_segmented

__all__ = [
    "LabelMap",
    "SegmentationSpec",
    "SegmentedVecEnv",
    "env_ids",
    "family_of",
    "find_segmented",
    "level_sets",
    "make_vec",
    "segmentation_spec",
]

"""Simulators that give an image and its ground-truth segmentation, as SB3 and as Gymnasium environments.

Importing this package registers the Gymnasium ids, for example ``gym.make("camal_rl/procgen-coinrun-v0")``.
"""

from camal_rl.envs import quiet_gym as _quiet_gym  # noqa: F401  # isort: skip  (before SB3 is imported)
from camal_rl.envs.checker import check_segmented_env
from camal_rl.envs.counterfactual import (
    IDENTITY,
    Counterfactual,
    CounterfactualEnv,
    Intervention,
    check_counterfactual_env,
    find_counterfactual,
)
from camal_rl.envs.family import EnvInfo, Family
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, make_segmented_vec, wrap_vec
from camal_rl.envs.masked_vec import MaskedVecEnv
from camal_rl.envs.masking import MASKINGS, Masking
from camal_rl.envs.registry import (
    MissingExtraError,
    env_ids,
    env_info,
    family_of,
    level_sets,
    make_vec,
    register_env,
    register_gymnasium_ids,
    segmentation_spec,
)
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec, SegmentedVecEnv, find_segmented

__all__ = [
    "IDENTITY",
    "MASKINGS",
    "Counterfactual",
    "CounterfactualEnv",
    "EnvInfo",
    "Family",
    "Intervention",
    "LabelMap",
    "MaskedVecEnv",
    "Masking",
    "MissingExtraError",
    "SegmentationSpec",
    "SegmentedGymVecEnv",
    "SegmentedVecEnv",
    "check_counterfactual_env",
    "check_segmented_env",
    "env_ids",
    "env_info",
    "family_of",
    "find_counterfactual",
    "find_segmented",
    "level_sets",
    "make_segmented_vec",
    "make_vec",
    "register_env",
    "segmentation_spec",
    "wrap_vec",
]

register_gymnasium_ids()

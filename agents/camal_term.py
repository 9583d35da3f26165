"""CAMAL as an auxiliary term of PPO, and of DQN."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.action_evaluation import AttentionEvaluation
from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.label_maps import SEGMENTATION_NEEDED, current_label_maps, masks_of, observed_size
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import TARGET_MASKS, CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss
from camal_rl.attention import normalize_cam
from camal_rl.camal_config import AttentionTarget, CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.envs.segmentation import SegmentedVecEnv
from camal_rl.mask_changes import changed_masks, kept_masks
from camal_rl.metrics.alignment import energy_pointing_game, iou
from camal_rl.targets import grid_target, marked_pixels, target_tensor
from camal_rl.training_modes import evaluating

# A CAM cell with a side of more image pixels than this is larger than most objects in 64x64 games.
COARSE_CELL = 8

# Attention maps (B, h, w) by target.
Maps = Mapping[AttentionTarget, Tensor]


class CamalTerm(AuxiliaryTerm):
    """The CAMAL loss on a minibatch's first frames, between their attention maps and masks.

    With weight 0, alignment is still logged if the environment has masks.
    """

    name: ClassVar[str] = "camal"
    config_type: ClassVar[type[Any]] = CamalConfig
    logs_at_weight_zero: ClassVar[bool] = True
    config: CamalConfig

    def __init__(self, config: CamalConfig | None = None, seed: int = 0) -> None:
        super().__init__(CamalConfig.of(config), seed)
        self._policy: AttentivePolicy | None = None

    def weight_at(self, progress: float) -> float:
        """Return the coefficient at ``progress`` in [0, 1], by the schedule."""
        return self.config.weight_at(progress)

    def num_attention_frames(self, batch_size: int) -> int:
        """Return the number of frames of a minibatch for which maps are computed."""
        return self.config.num_attention_frames(batch_size)

    # Set-up -------------------------------------------------------------------------------------------------------

    def setup(self, policy: BasePolicy, env: VecEnv | None) -> None:
        """Check that the policy has attention maps and the environment has masks if the weight is above 0."""
        if isinstance(policy, AttentivePolicy):
            self._policy = policy
        elif self.config.weight > 0:
            raise ValueError(
                f"CAMAL needs a policy with attention maps, got {type(policy).__name__}; "
                'use policy="CamPolicy" (of DQN "CamQPolicy") or weight 0'
            )
        if self.config.weight > 0:
            self._warn_of_coarse_grid()
            if env is not None:
                self._segmented(env)

    def _warn_of_coarse_grid(self) -> None:
        policy = self._own_policy()
        height, width = observed_size(policy)
        h, w = policy.cam_grid
        if (h, w) == (1, 1):
            warnings.warn(
                f"the CAM grid of encoder {policy.encoder!r} is a single cell on {height}x{width} images, so maps "
                "have no position and the CAMAL term has no effect; use larger images or another encoder ('compact' "
                "has a cell every 4 pixels)",
                stacklevel=2,
            )
        elif max(height / h, width / w) > COARSE_CELL:
            warnings.warn(
                f"the CAM grid of encoder {policy.encoder!r} is {h}x{w} on {height}x{width} images: one cell is "
                f"{height / h:.0f}x{width / w:.0f} pixels, coarser than small objects; 'compact' has a finer grid",
                stacklevel=2,
            )

    def _own_policy(self) -> AttentivePolicy:
        if self._policy is None:
            raise RuntimeError("call setup() first, with a policy that has attention maps")
        return self._policy

    def _segmented(self, env: VecEnv) -> SegmentedVecEnv | None:
        """Return the environment with masks, ``None`` if there is none and none is needed."""
        segmented = masks_of(env)
        if segmented is None and self.config.weight > 0:
            raise ValueError(f"CAMAL needs {SEGMENTATION_NEEDED}")
        return segmented

    # Training -----------------------------------------------------------------------------------------------------

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Return the masks ``uint8 (num_envs, h, w)`` of the current observations on the CAM grid, if there are any.

        ``mask_change`` and ``mask_fraction`` are applied to them.

        Raises:
            ValueError: there are no masks but the weight is above 0, or label maps have another shape than the images.
        """
        segmented, policy = self._segmented(env), self._own_policy()
        if segmented is None or (self.config.weight == 0 and not policy.has_maps):
            return {}
        labels, config = current_label_maps(segmented, policy), self.config
        relevant = segmented.spec.relevant_lookup()
        if config.mask_change != "none" or config.mask_fraction < 1:
            masks = changed_masks(relevant[labels], config.mask_change, config.mask_amount)
            labels, relevant = kept_masks(masks, config.mask_fraction).astype(np.uint8), marked_pixels()
        return {TARGET_MASKS: grid_target(labels, relevant, policy.cam_grid, config.coverage)}

    def loss(self, minibatch: CamalRolloutSamples, evaluation: AttentionEvaluation, progress: float) -> TermLoss:
        """Return the loss of the maps of a minibatch's first frames."""
        frames = self.num_attention_frames(len(minibatch.observations))
        maps = self.attention_maps(evaluation, create_graph=True)
        if evaluation.num_attention_frames != frames:
            maps = {target: cam[:frames] for target, cam in maps.items()}
        return self.map_loss(maps, minibatch.columns[TARGET_MASKS][:frames], progress)

    def attention_maps(self, evaluation: AttentionEvaluation, create_graph: bool) -> Maps:
        """Return the unnormalized maps that the configuration defines."""
        config = self.config
        return self._own_policy().attention_maps(
            evaluation, config.targets, config.method, config.rectification, create_graph
        )

    def map_loss(self, maps: Maps, masks: Tensor, progress: float) -> TermLoss:
        """Return the loss of maps ``(B, h, w)`` and their masks ``uint8 (B, h, w)``, with its parts by target."""
        found = camal_term(maps, masks, self.config, progress)
        parts = {"inside": found.inside.sum(), "outside": found.outside.sum()}
        for part, of_targets in (
            ("inside", found.inside),
            ("outside", found.outside),
            ("zero_maps", found.zero_fraction),
        ):
            for target, value in zip(self.config.targets, of_targets, strict=True):
                parts[f"{target}/{part}"] = value
        return TermLoss(found.total, parts)

    def diagnostics(self, minibatch: CamalRolloutSamples, policy: BasePolicy) -> Mapping[str, float]:
        """Return the alignment of the maps of some frames with their masks; empty without masks."""
        if minibatch.targets is None:
            return {}
        with evaluating(policy), torch.enable_grad():
            evaluation = evaluate_samples(cast(CamPolicy, policy), minibatch)
            return self.alignment(evaluation, minibatch.targets)

    def alignment(self, evaluation: AttentionEvaluation, masks: Tensor) -> Mapping[str, float]:
        """Return the alignment of the maps of an evaluation with masks ``uint8 (B, h, w)``."""
        targets, metrics = target_tensor(masks), {}
        for name, cam in self.attention_maps(evaluation, create_graph=False).items():
            cam = normalize_cam(cam.detach())
            metrics[f"{name}/epg"] = energy_pointing_game(cam, targets).nanmean().item()
            metrics[f"{name}/iou"] = iou(cam, targets).nanmean().item()
        valid = targets.flatten(1).amax(dim=1) > 0
        return {**metrics, "valid_fraction": valid.float().mean().item(), "area_fraction": targets.mean().item()}

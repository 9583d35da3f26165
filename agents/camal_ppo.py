"""PPO with the CAMAL term."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.encoders import CamEncoder, encoder_class
from camal_rl.agents.image_ppo import ImagePPO
from camal_rl.agents.map_settings import MapSettings
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer, CamalRolloutSamples
from camal_rl.attention import normalize_cam
from camal_rl.camal_config import AttentionTarget, CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.envs.gym_adapter import image_size
from camal_rl.envs.segmentation import SegmentedVecEnv, find_segmented, find_wrapped
from camal_rl.metrics.alignment import energy_pointing_game, iou
from camal_rl.module_modes import evaluating
from camal_rl.targets import grid_target, target_tensor

# Beyond this many image pixels a side, a CAM cell is larger than most objects of 64x64 games.
COARSE_CELL = 8
# Alignment is logged after every update on so many frames: enough for a curve, cheap beside the update.
ALIGNMENT_FRAMES = 256

# Figures of every minibatch, on the device: asking for each would make a GPU wait.
Records = dict[str, list[Tensor]]
# Attention maps (B, h, w) by target.
Maps = dict[AttentionTarget, Tensor]


class CAMALPPO(ImagePPO):
    """PPO whose attention is supervised by the simulator's segmentation.

    Everything of SB3's PPO stays. In training, each minibatch's attention maps are compared with the target masks of
    the same observations, and ``weight(t) * sum of the losses`` joins the PPO loss (one backward pass). With weight 0
    the parameters are those of stock PPO, bit for bit, for every policy that PPO takes; where a CamPolicy's environment
    has masks, alignment is logged all the same. Nothing changes at inference: the saved model needs no masks and loads
    with SB3's ``PPO.load`` as well. A file of stock PPO's loads here, with weight 0 unless ``load(..., camal=...)``
    says otherwise.

    Args:
        policy: ``"CamPolicy"``; with weight 0 any policy of PPO's, which then has SB3's own buffer, rollouts, update.
        env: an environment with segmentation (``camal_rl.envs.make_vec``, ``make_segmented_vec``), needed for weights
            above 0.
        *args: as in ``stable_baselines3.PPO``.
        camal: what is supervised, and how strongly; a mapping of settings, as YAML files hold them, will do.
        **kwargs: as in ``stable_baselines3.PPO``.

    Raises:
        ValueError: weight above 0 with an environment that has no segmentation or a policy that has no attention;
            images that the encoder does not take.
        TypeError: ``camal`` is neither settings nor a mapping of them.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**PPO.policy_aliases, "CamPolicy": CamPolicy}
    # What a file of stock PPO's is loaded with: load() makes an instance and then fills in what the file holds.
    camal: CamalConfig = CamalConfig(weight=0)

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *args: Any,
        camal: CamalConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if camal is not None or kwargs.get("_init_setup_model", True):
            self.camal = CamalConfig.of(camal)
        super().__init__(policy, env, *args, **kwargs)  # type: ignore[arg-type]

    def _setup_model(self) -> None:
        self.camal = CamalConfig.of(self.camal)  # load() puts its arguments here as they are
        self._check_normalization()
        if isinstance(self.policy_class, type) and issubclass(self.policy_class, CamPolicy):
            # With the policy's own arguments, so that the maps stay the model's own where stock PPO loads it.
            self.policy_kwargs = {**(self.policy_kwargs or {}), "maps": MapSettings.of(self.camal).as_dict()}
        super()._setup_model()
        if self.camal.weight > 0:
            self._check_policy()
            if self.env is not None:
                self._segmented(self.env)

    def _check_normalization(self) -> None:
        """Refuse normalized observations where the encoder wants images, before it finds no image space."""
        normalizer = None if self.env is None else find_wrapped(self.env, VecNormalize)
        if normalizer is None or not normalizer.norm_obs or not issubclass(self.policy_class, CamPolicy):
            return
        wants_images = issubclass(encoder_class(self.policy_kwargs.get("encoder", "nature")), CamEncoder)
        if wants_images and self.policy_kwargs.get("normalize_images", True):
            raise ValueError(
                "CamPolicy takes images as they are, got observations that VecNormalize normalizes; make it with "
                "VecNormalize(env, norm_obs=False), which still normalizes rewards"
            )

    def _check_policy(self) -> None:
        if not isinstance(self.policy, CamPolicy):
            raise ValueError(
                f"CAMAL needs a policy with attention maps, got {type(self.policy).__name__}; "
                'use policy="CamPolicy" or weight 0'
            )
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            raise ValueError(
                f"rollout_buffer_class must be a CamalRolloutBuffer, got {type(self.rollout_buffer).__name__}: "
                "others hold no masks; leave it out or use weight 0"
            )
        height, width = self._image_size()
        h, w = self.policy.cam_grid
        if (h, w) == (1, 1):
            warnings.warn(
                f"the CAM grid of encoder {self.policy.encoder!r} is a single cell on {height}x{width} images: it "
                "points nowhere, and the CAMAL term changes nothing; use larger images or another encoder "
                "('compact' has a cell every 4 pixels)",
                stacklevel=2,
            )
        elif max(height / h, width / w) > COARSE_CELL:
            warnings.warn(
                f"the CAM grid of encoder {self.policy.encoder!r} is {h}x{w} on {height}x{width} images: one cell is "
                f"{height / h:.0f}x{width / w:.0f} pixels, coarser than small objects; 'compact' has a finer grid",
                stacklevel=2,
            )

    def _image_size(self) -> tuple[int, int]:
        """Return height and width of the observations; only uint8 images are channels-first without doubt."""
        space = self.observation_space
        if is_image_space(space, check_channels=False):
            height, width = cast(tuple[int, ...], space.shape)[-2:]
            return height, width
        size = image_size(space)
        if size is None:
            raise ValueError(f"masks need images (H, W, C) or (C, H, W) as observations, got {space}")
        return size

    def _segmented(self, env: VecEnv) -> SegmentedVecEnv | None:
        """Return the environment that gives masks, ``None`` where there is none and none is needed."""
        segmented = find_segmented(env)
        if segmented is not None and not segmented.has_segmentation:
            segmented = None
        if segmented is None and self.camal.weight > 0:
            raise ValueError(
                "CAMAL needs an environment with segmentation; make it with camal_rl.envs.make_vec, masks on; a "
                "Gymnasium environment of your own with make_segmented_vec(MyEnv, num_envs), a vectorized one with "
                "wrap_vec; or use weight 0"
            )
        return segmented

    # Rollouts -----------------------------------------------------------------------------------------------------

    def target_masks(self, env: VecEnv) -> npt.NDArray[np.uint8] | None:
        """Return the masks ``uint8 (num_envs, h, w)`` of the current observations on the CAM grid, where there are any.

        Raises:
            ValueError: there are none and the weight is above 0, or label maps of another shape than the images.
        """
        segmented = self._segmented(env)
        if segmented is None or not isinstance(self.policy, CamPolicy):
            return None
        if self.camal.weight == 0 and not self.policy.has_maps:
            return None
        labels = segmented.segmentation()
        expected = (segmented.num_envs, *self._image_size())
        if labels.shape != expected or labels.dtype != np.uint8:
            raise ValueError(
                f"segmentation() must return uint8 label maps of shape {expected}, one for each observation, "
                f"got {labels.dtype} of shape {labels.shape}; check_segmented_env() helps to find out why"
            )
        return grid_target(labels, segmented.spec.relevant_lookup(), self.policy.cam_grid, self.camal.coverage)

    # Update -------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Update the policy from the rollout buffer: SB3's PPO update with the CAMAL term in the loss."""
        if not isinstance(self.rollout_buffer, CamalRolloutBuffer):
            super().train()
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        remaining = self._current_progress_remaining
        clip_range = self.clip_range(remaining)  # type: ignore[operator]
        clip_range_vf = None if self.clip_range_vf is None else self.clip_range_vf(remaining)  # type: ignore[operator]
        progress = 1.0 - remaining

        records: Records = defaultdict(list)
        buffer = self.rollout_buffer
        continue_training = True
        for epoch in range(self.n_epochs):
            kl_divergences = []
            for batch in buffer.get(self.batch_size):
                loss, kl_divergence = self._loss(batch, clip_range, clip_range_vf, progress, records)
                del batch  # the next one is drawn while this name still holds it
                kl_divergences.append(kl_divergence)
                if self.target_kl is not None and kl_divergences[-1].item() > 1.5 * self.target_kl:
                    continue_training = False
                    if self.verbose >= 1:
                        print(f"Early stopping at step {epoch} due to reaching max kl: {kl_divergences[-1].item():.2f}")
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
            self._n_updates += 1
            if not continue_training:
                break

        records["train/approx_kl"] = kl_divergences
        records["train/loss"] = records["train/loss"][-1:]  # SB3 logs the last minibatch's loss, not the mean
        self._log_update(records, clip_range, clip_range_vf)
        if buffer.targets is not None:
            self._log_alignment(buffer.evenly_spaced(ALIGNMENT_FRAMES), progress)

    def _loss(
        self,
        batch: CamalRolloutSamples,
        clip_range: float,
        clip_range_vf: float | None,
        progress: float,
        records: Records,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch with the CAMAL term, and the KL divergence from the policy that acted."""
        supervised = self.camal.weight_at(progress) > 0
        looked_at = self.camal.frames_of(len(batch.observations)) if supervised else 0
        evaluation, loss = self._ppo_loss(batch, clip_range, clip_range_vf, records, looked_at)
        if looked_at:
            maps = self._attention_maps(evaluation, create_graph=True)
            loss = loss + self._camal_loss(maps, cast(Tensor, batch.targets)[:looked_at], progress, records)
        records["train/loss"].append(loss.detach())
        with torch.no_grad():  # http://joschu.net/blog/kl-approx.html, the third estimator
            log_ratio = evaluation.log_prob - batch.old_log_prob
            return loss, torch.mean((torch.exp(log_ratio) - 1) - log_ratio)

    def _ppo_loss(
        self,
        batch: CamalRolloutSamples,
        clip_range: float,
        clip_range_vf: float | None,
        records: Records,
        looked_at: int,
    ) -> tuple[ActionEvaluation, Tensor]:
        """Return the evaluated minibatch and PPO's clipped loss, operation by operation as in SB3."""
        evaluation = self._evaluate(batch.observations, batch.actions, looked_at)
        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = torch.exp(evaluation.log_prob - batch.old_log_prob)
        clipped = advantages * torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(advantages * ratio, clipped).mean()

        values = evaluation.value
        if clip_range_vf is not None:
            values = batch.old_values + torch.clamp(values - batch.old_values, -clip_range_vf, clip_range_vf)
        value_loss = F.mse_loss(batch.returns, values)
        surprise = -evaluation.log_prob if evaluation.entropy is None else evaluation.entropy
        entropy_loss = -torch.mean(surprise)

        records["train/entropy_loss"].append(entropy_loss.detach())
        records["train/policy_gradient_loss"].append(policy_loss.detach())
        records["train/value_loss"].append(value_loss.detach())
        records["train/clip_fraction"].append(torch.mean((torch.abs(ratio.detach() - 1) > clip_range).float()))
        return evaluation, policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss

    def _evaluate(self, observations: Tensor, actions: Tensor, looked_at: int | None = None) -> ActionEvaluation:
        """Evaluate actions as the rollout buffer stores them: discrete ones come as a column."""
        if isinstance(self.action_space, spaces.Discrete):
            actions = actions.long().flatten()
        policy = cast(CamPolicy, self.policy)
        if not isinstance(policy.features_extractor, CamEncoder):
            observations = observations.contiguous()  # as SB3 learns; a CamEncoder brings them into its own format
        return policy.evaluate_for_attention(observations, actions, looked_at)

    def _attention_maps(self, evaluation: ActionEvaluation, create_graph: bool) -> Maps:
        return cast(CamPolicy, self.policy).attention_maps(
            evaluation, self.camal.targets, self.camal.method, self.camal.rectification, create_graph
        )

    def _camal_loss(self, maps: Maps, targets: Tensor, progress: float, records: Records) -> Tensor:
        """Return the CAMAL term of one minibatch's maps and their masks, weighted."""
        term = camal_term(maps, targets, self.camal, progress)
        parts = (("inside", term.inside), ("outside", term.outside), ("zero_maps", term.zero_fraction))
        for figure, of_targets in parts:
            for name, value in zip(self.camal.targets, of_targets, strict=True):
                records[f"camal/{name}/{figure}"].append(value)
        records["camal/loss"].append(term.total.detach())
        records["camal/inside"].append(term.inside.sum())
        records["camal/outside"].append(term.outside.sum())
        return term.loss

    # Logs ---------------------------------------------------------------------------------------------------------

    def _log_update(self, records: Records, clip_range: float, clip_range_vf: float | None) -> None:
        for key, values in records.items():
            if values:
                self.logger.record(key, torch.stack(values).double().mean().item())
        buffer = self.rollout_buffer
        # Environment by environment, as SB3 sums.
        variance = explained_variance(buffer.values.T.flatten(), buffer.returns.T.flatten())
        self.logger.record("train/explained_variance", variance)
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

    def _log_alignment(self, batch: CamalRolloutSamples, progress: float) -> None:
        """Log where the updated policy looks, on some frames of the rollout, with or without the CAMAL term."""
        target = target_tensor(cast(Tensor, batch.targets))
        with evaluating(self.policy), torch.enable_grad():
            maps = self._attention_maps(self._evaluate(batch.observations, batch.actions), create_graph=False)
        for name, cam in maps.items():
            cam = normalize_cam(cam.detach())
            self.logger.record(f"camal/{name}/epg", energy_pointing_game(cam, target).nanmean().item())
            self.logger.record(f"camal/{name}/iou", iou(cam, target).nanmean().item())
        valid = target.flatten(1).amax(dim=1) > 0
        self.logger.record("camal/valid_fraction", valid.float().mean().item())
        self.logger.record("camal/area_fraction", target.mean().item())
        self.logger.record("camal/weight", self.camal.weight_at(progress))

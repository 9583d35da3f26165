"""Callbacks for TensorBoard: attention maps on fixed frames, and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam, Image, TensorBoardOutputFormat
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.config import ACTOR_CRITIC_TARGETS
from camal_rl.overlays import attention_sheet

HIDDEN_FROM = ("stdout", "log", "json", "csv")


class OverlayCallback(BaseCallback):
    """Draws the policy's attention on a fixed set of frames at the start, every ``every_steps`` and at the end.

    The model must have an :class:`AttentivePolicy`. The maps are those with which the policy is trained.

    Args:
        frames: ``uint8 (N, H, W, 3)``.
        labels: their label maps ``uint8 (N, H, W)``.
        relevant: ``bool (256,)``, which labels are relevant (``SegmentationSpec.relevant_lookup()``).
        every_steps: environment steps between pictures, at least 1.
    """

    def __init__(
        self,
        frames: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.uint8],
        relevant: npt.NDArray[np.bool_],
        every_steps: int,
    ) -> None:
        super().__init__()
        if frames.ndim != 4 or frames.shape[:3] != labels.shape:
            raise ValueError(
                "expected frames (N, H, W, 3) and labels (N, H, W) with the same N, H and W, "
                f"got {frames.shape} and {labels.shape}"
            )
        if every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {every_steps}")
        self.frames, self.labels, self.relevant, self.every_steps = frames, labels, relevant, every_steps
        self._next = 0
        self._restored = False
        self._drawn_at: int | None = None

    def schedule(self) -> dict[str, Any]:
        """Return the step of the next picture, for checkpoints."""
        return {"next": self._next, "drawn_at": self._drawn_at}

    def restore_schedule(self, schedule: Mapping[str, Any]) -> None:
        """Restore the result of :meth:`schedule`."""
        self._next, self._drawn_at, self._restored = schedule["next"], schedule["drawn_at"], True

    def _on_training_start(self) -> None:
        if not self._restored:
            self._next = self.num_timesteps
        self._restored = False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._next = self.num_timesteps + self.every_steps
            self._draw()

    def _on_training_end(self) -> None:
        self._draw()

    def _draw(self) -> None:
        """Write a picture once at the current step; pending figures stay in the logger."""
        if self._drawn_at == self.num_timesteps:
            return
        self._drawn_at = self.num_timesteps
        maps = cast(AttentivePolicy, self.model.policy).attention(self.frames)
        pictures = {str(target): cam.cpu().numpy() for target, cam in maps.items()}
        sheet = attention_sheet(self.frames, self.labels, self.relevant, pictures)
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.write({"camal/attention": Image(sheet, "HWC")}, {"camal/attention": ()}, self.num_timesteps)


class UpdateLogCallback(BaseCallback):
    """Logs the figures of every update, including the last, at the step of its rollout.

    Stable-Baselines3 logs an update's figures only with the next rollout, and never those of the last update.
    Off-policy algorithms update every few steps and log every few episodes; with this callback they also log at the
    end.
    """

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if not isinstance(self.model, OffPolicyAlgorithm):
            self._dump()

    def _on_training_end(self) -> None:
        # Pending figures of interrupted training are logged after resuming.
        ended = self.num_timesteps >= self.model._total_timesteps
        if ended or not isinstance(self.model, OffPolicyAlgorithm):
            self._dump()

    def _dump(self) -> None:
        if self.logger.name_to_value:
            self.logger.dump(self.num_timesteps)


class HParamCallback(BaseCallback):
    """Writes the hyperparameters of a run for TensorBoard's HPARAMS page.

    Args:
        hyperparameters: flat mapping; values that TensorBoard does not support are written as text.
    """

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__()
        self.hyperparameters = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in hyperparameters.items()
        }

    def _on_step(self) -> bool:
        return True

    def _on_training_start(self) -> None:
        policy = self.model.policy
        targets = policy.attention_targets if isinstance(policy, AttentivePolicy) else ACTOR_CRITIC_TARGETS
        metrics = {"rollout/ep_rew_mean": 0.0, **{f"camal/{target}/epg": 0.0 for target in targets}}
        self.logger.record("hparams", HParam(self.hyperparameters, metrics), exclude=HIDDEN_FROM)
        self.logger.dump(self.num_timesteps)

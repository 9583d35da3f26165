"""Logs the figures of each update of PPO with auxiliary terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from camal_rl.agents.rollout_buffer import CamalRolloutBuffer

if TYPE_CHECKING:
    from camal_rl.agents.ppo_with_terms import PPOWithTerms

# Number of frames for the diagnostics after every update: enough for a curve, and cheap compared to the update.
DIAGNOSTIC_FRAMES = 256

# Metrics of every minibatch, kept on the device, since fetching each would stall a GPU.
Records = dict[str, list[Tensor]]


def log_update(model: PPOWithTerms, records: Records, clip_range: float, clip_range_vf: float | None) -> None:
    """Log the means of an update's records, and the other figures that SB3 logs."""
    for key, values in records.items():
        if values:
            model.logger.record(key, torch.stack(values).double().mean().item())
    buffer = model.rollout_buffer
    # In the order of SB3's sums, environment by environment.
    variance = explained_variance(buffer.values.T.flatten(), buffer.returns.T.flatten())
    model.logger.record("train/explained_variance", variance)
    if hasattr(model.policy, "log_std"):
        model.logger.record("train/std", torch.exp(model.policy.log_std).mean().item())
    model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
    model.logger.record("train/clip_range", clip_range)
    if clip_range_vf is not None:
        model.logger.record("train/clip_range_vf", clip_range_vf)


def log_diagnostics(model: PPOWithTerms, progress: float) -> None:
    """Log the terms' diagnostics of the updated policy on some frames of the rollout, and the terms' weights."""
    participants = model.participants
    if not participants:
        return
    samples = cast(CamalRolloutBuffer, model.rollout_buffer).evenly_spaced(DIAGNOSTIC_FRAMES)
    for term in participants:
        metrics = term.diagnostics(samples, model.policy)
        for name, value in metrics.items():
            model.logger.record(f"{term.name}/{name}", value)
        if metrics or term.config.weight > 0:
            model.logger.record(f"{term.name}/weight", term.weight_at(progress))

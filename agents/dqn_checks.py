"""Checks of DQN: invalid settings before training, and non-finite numbers during training."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from camal_rl.agents.divergence import diverged
from camal_rl.failures import check_amount, check_fits_memory

if TYPE_CHECKING:
    from camal_rl.agents.camal_dqn import CAMALDQN

_WHOLE = {"buffer_size": 1, "learning_starts": 0, "batch_size": 1, "gradient_steps": -1, "target_update_interval": 1}
_SHARES = ("tau", "gamma", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps")
_PROGRESS = (0.0, 0.5, 1.0)


def check_dqn_settings(model: CAMALDQN) -> None:
    """Raise a ValueError or TypeError that names a setting with an invalid value, including NaN and infinity."""
    for name, low in {**_WHOLE, "n_steps": 1}.items():
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < low:
            raise ValueError(f"{name} must be at least {low}, got {value}")
    for name in _SHARES:
        check_amount(name, getattr(model, name), high=1.0)
    check_amount("max_grad_norm", model.max_grad_norm)
    rate: Any = model.learning_rate
    for progress in _PROGRESS:
        check_amount("learning_rate", rate(progress) if callable(rate) else rate)
    _check_buffer_size(model)


def _check_buffer_size(model: CAMALDQN) -> None:
    """Raise a ValueError if the observations of the replay buffer are larger than the machine's memory."""
    space = model.observation_space
    if space is None or space.shape is None or space.dtype is None:
        return
    copies = 1 if model.optimize_memory_usage else 2
    size = copies * int(model.buffer_size) * int(np.prod(space.shape, dtype=object)) * space.dtype.itemsize
    check_fits_memory(f"a replay buffer of {model.buffer_size:,} steps", size, "lower buffer_size")


def check_update(model: CAMALDQN, loss: float, norm: Tensor, batch: Any) -> None:
    """Raise a :class:`camal_rl.failures.DivergedError` unless the loss and the gradient of a step are finite."""
    if not np.isfinite(loss):
        raise diverged(model, "the loss", "of temporal differences and CAMAL", _with_columns(batch))
    if not bool(norm.isfinite()):
        raise diverged(model, "the gradient", "of temporal differences and CAMAL", _with_columns(batch))


def _with_columns(batch: Any) -> Any:
    return batch if hasattr(batch, "columns") else None

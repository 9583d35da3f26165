"""Copies the parameters of a network, and checks that they are finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def non_finite_parameter(module: nn.Module) -> str | None:
    """Return the name of the first parameter with NaN or infinity, or ``None``; synchronizes with the GPU once."""
    parameters = dict(module.named_parameters())
    if bool(torch.stack([each.detach().isfinite().all() for each in parameters.values()]).all()):
        return None
    return next(name for name, each in parameters.items() if not bool(each.isfinite().all()))

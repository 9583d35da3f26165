"""The parameters of a network: a copy of them, and whether they are finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state, on the CPU and in memory of its own."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def non_finite_parameter(module: nn.Module) -> str | None:
    """Return the name of the first parameter with NaN or infinity, ``None`` without any; one wait for a GPU."""
    parameters = dict(module.named_parameters())
    if bool(torch.stack([each.detach().isfinite().all() for each in parameters.values()]).all()):
        return None
    return next(name for name, each in parameters.items() if not bool(each.isfinite().all()))

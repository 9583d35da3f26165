"""Temporarily switches to evaluation mode, or records gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode inside the block, and restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def recording_gradients() -> Iterator[None]:
    """Record gradients inside the block, even under the caller's ``no_grad`` or ``inference_mode``.

    A tensor created in inference mode must be cloned inside the block to take part in gradients.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield

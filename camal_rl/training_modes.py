"""Evaluation mode, and gradients, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode inside the block, and each of its modules back into its own afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def recording_gradients() -> Iterator[None]:
    """Record gradients inside the block, whatever the caller has switched off (``no_grad``, ``inference_mode``).

    A tensor that was made in inference mode takes part in gradients only as a clone that is made inside the block.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield

"""The initial weights of encoders."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

Initialization = Literal["stock", "glorot"]
INITIALIZATIONS: tuple[Initialization, ...] = get_args(Initialization)


def initialize_glorot(encoder: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers after Glorot and Bengio 2010 (eq. 16); biases become 0."""
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

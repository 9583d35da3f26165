"""The arithmetic that an encoder computes in: what ``auto`` stands for, and what it comes to."""

from __future__ import annotations

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents.encoders import CamEncoder, Precision, resolve_precision


def settled_precision(encoder: type[BaseFeaturesExtractor], precision: Precision, device: torch.device) -> Precision:
    """Return the arithmetic that a new model keeps, wherever its file is loaded: ``auto`` stands for no other later.

    Args:
        encoder: its class; one that is no CamEncoder computes as it likes, which counts as ``float32``.
        precision: what was asked for.
        device: where the model is made.
    """
    if precision != "auto":
        return precision
    return resolve_precision("auto", device) if issubclass(encoder, CamEncoder) else "float32"


def computing(network: nn.Module) -> dict[str, str]:
    """Return where and in what arithmetic a policy computes its features, for records of a run.

    Returns:
        ``device``, such as ``cpu``; ``precision``, such as ``float32``: that of the encoder where the policy has a
        :class:`CamEncoder`, otherwise that of its parameters.
    """
    first = next(network.parameters())
    encoder = next((module for module in network.modules() if isinstance(module, CamEncoder)), None)
    own = first.dtype if encoder is None else encoder.arithmetic(first.device)
    return {"device": first.device.type, "precision": str(own).removeprefix("torch.")}

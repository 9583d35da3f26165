"""The floating-point precision of an encoder: how ``auto`` is resolved, and the actual precision."""

from __future__ import annotations

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents.cam_encoder import CamEncoder, Precision, resolve_precision


def settled_precision(encoder: type[BaseFeaturesExtractor], precision: Precision, device: torch.device) -> Precision:
    """Return the precision of a new model, which is stored with it, so that ``auto`` is not resolved again on loading.

    Args:
        encoder: its class; an encoder other than a CamEncoder counts as ``float32``.
        precision: the requested precision.
        device: the device of the model.
    """
    if precision != "auto":
        return precision
    return resolve_precision("auto", device) if issubclass(encoder, CamEncoder) else "float32"


def computing(network: nn.Module) -> dict[str, str]:
    """Return the device and precision of a policy's features, for records of a run.

    Returns:
        ``device``, such as ``cpu``; ``precision``, such as ``float32``: that of the encoder if the policy has a
        :class:`CamEncoder`, otherwise that of its parameters.
    """
    first = next(network.parameters())
    encoder = next((module for module in network.modules() if isinstance(module, CamEncoder)), None)
    own = first.dtype if encoder is None else encoder.arithmetic(first.device)
    return {"device": first.device.type, "precision": str(own).removeprefix("torch.")}

"""Finds the layer for maps in a network of unknown architecture, by a trial run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from camal_rl.feature_layout import LayerCall, LayerTrace, layout_of, trace_layers
from camal_rl.layer_capture import FeatureLayout
from camal_rl.supervised.logits import logits_of
from camal_rl.training_modes import recording_gradients


class CamLayer(NamedTuple):
    """A layer for maps.

    Attributes:
        name: dotted name, for ``network.get_submodule``.
        token_grid: ``(h, w)`` if the output is tokens, None if it is ``(B, C, h, w)`` or ``(B, h, w, C)``.
        prefix_tokens: number of class and register tokens before the patches.
    """

    name: str
    token_grid: tuple[int, int] | None = None
    prefix_tokens: int = 0


def find_cam_layer(network: nn.Module, image_size: tuple[int, int]) -> CamLayer:
    """Return the last layer whose output has positions, most of which affect the prediction.

    In a convolutional network this is the last feature map, channels first or last. In a vision transformer that
    classifies by its class token it is the first normalization of the last block, since the other tokens have no effect
    after that block's attention. Of layers with tokens as output, only normalizations are considered. The test
    excludes the weights of the head, which some libraries initialize to zero.

    Args:
        network: maps images ``(B, 3, H, W)`` to logits; training modes and ``.grad`` do not change.
        image_size: ``(H, W)``.

    Raises:
        ValueError: there is no such layer.
    """
    image = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    trace = trace_layers(network, image.to(next(network.parameters()).device))
    logits = logits_of(trace.output)
    generator = torch.Generator().manual_seed(0)
    score_of = _head_input(trace.calls, logits)
    # A random projection, since the plain sum of a normalized vector is constant.
    with recording_gradients():
        score = (score_of * torch.randn(score_of.shape, generator=generator).to(score_of)).sum()
    candidates = [
        index for index, each in enumerate(trace.calls) if each.output is not None and each.output.requires_grad
    ]
    outputs = [cast(Tensor, trace.calls[index].output) for index in candidates]
    gradients = torch.autograd.grad(score, outputs, retain_graph=True, allow_unused=True)
    for index, gradient in zip(reversed(candidates), reversed(gradients), strict=True):
        layout = _layout(trace, index)
        if layout is not None and gradient is not None and _reaches(gradient, layout):
            return CamLayer(layout.layer, layout.token_grid, layout.prefix_tokens)
    raise ValueError(
        f"found no layer for maps in {type(network).__name__}: no output is (B, C, h, w), (B, h, w, C) or tokens that "
        "affect the prediction; give the name of a layer"
    )


def _head_input(calls: Sequence[LayerCall], logits: Tensor) -> Tensor:
    """Return the input of the last linear layer on whole images, or the logits if there is none."""
    inputs = [each.input for each in calls if isinstance(each.module, nn.Linear) and each.input is not None]
    return next((given for given in reversed(inputs) if given.dim() == 2 and given.requires_grad), logits)


def _layout(trace: LayerTrace, index: int) -> FeatureLayout | None:
    """Return the layout of an output with more than one position, ``None`` if it is not suitable for maps."""
    _, module, _, output = trace.calls[index]
    if output is None or output.dim() == 2 or (output.dim() == 3 and "norm" not in type(module).__name__.lower()):
        return None
    try:
        layout = layout_of(trace, index)
    except ValueError:
        return None
    return layout if math.prod(_positions(output, layout).shape[1:3]) > 1 else None


def _positions(tensor: Tensor, layout: FeatureLayout) -> Tensor:
    """Return a layer's output or its gradient as ``(B, h, w, C)``."""
    if layout.token_grid is not None:
        return tensor[:, layout.prefix_tokens :].unflatten(1, layout.token_grid)
    return tensor if layout.channels_last else tensor.permute(0, 2, 3, 1)


def _reaches(gradient: Tensor, layout: FeatureLayout) -> bool:
    """Return whether most positions have a gradient that is not zero."""
    return _positions(gradient, layout).abs().amax(dim=3).gt(0).float().mean().item() > 0.5

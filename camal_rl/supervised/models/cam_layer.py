"""Finds the layer that maps are made of in a network of unknown architecture, by a trial run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MAX_PREFIX_TOKENS = 16
"""Class and register tokens that are looked for before the patches."""


class CamLayer(NamedTuple):
    """A layer for maps.

    Attributes:
        name: dotted, as ``network.get_submodule`` takes it.
        token_grid: ``(h, w)`` where the output is tokens, None where it is ``(B, C, h, w)``.
        prefix_tokens: class and register tokens before the patches.
    """

    name: str
    token_grid: tuple[int, int] | None = None
    prefix_tokens: int = 0


class _Trial(NamedTuple):
    outputs: list[tuple[str, nn.Module, Tensor]]
    head_inputs: list[Tensor]
    logits: Tensor


def logits_of(output: Any) -> Tensor:
    """Return the logits of what a classifier returns: a tensor, or an object that has ``logits``."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise TypeError(
            f"a classifier must return logits (B, K), or an object with .logits; got {type(output).__name__}"
        )
    return logits


def find_cam_layer(network: nn.Module, image_size: tuple[int, int]) -> CamLayer:
    """Return the last layer whose output has positions, most of which reach the prediction.

    A convolutional network gives its last feature map. A vision transformer that reads its class token gives the
    first normalisation of its last block: after that block's attention the patches no longer matter. Of layers that
    give tokens only normalisations count. The head's weights are left out of the test: some libraries start at zero.

    Args:
        network: maps images ``(B, 3, H, W)`` to logits; modes and ``.grad`` fields stay as they are.
        image_size: ``(H, W)``.

    Raises:
        ValueError: there is no such layer; channels-last feature maps are not found either.
    """
    trial = _run(network, image_size)
    generator = torch.Generator().manual_seed(0)
    score_of = trial.head_inputs[-1] if trial.head_inputs else trial.logits
    # A random projection: the plain sum of a normalised vector is constant.
    score = (score_of * torch.randn(score_of.shape, generator=generator).to(score_of)).sum()
    tensors = [output for _, _, output in trial.outputs]
    gradients = torch.autograd.grad(score, tensors, allow_unused=True)
    for (name, module, output), gradient in zip(reversed(trial.outputs), reversed(gradients), strict=True):
        layer = _as_layer(name, module, output, image_size)
        if layer is not None and gradient is not None and _reaches(gradient, layer):
            return layer
    raise ValueError(
        f"found no layer for maps in {type(network).__name__}: none gives (B, C, h, w) or tokens that reach the "
        "prediction; name a layer yourself"
    )


def _run(network: nn.Module, image_size: tuple[int, int]) -> _Trial:
    """Run one random image through the network in evaluation mode and collect what its modules give."""
    outputs: list[tuple[str, nn.Module, Tensor]] = []
    head_inputs: list[Tensor] = []
    names = {module: name for name, module in network.named_modules() if name}

    def collect(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            outputs.append((names[module], module, output))
        if isinstance(module, nn.Linear) and inputs and inputs[0].dim() == 2 and inputs[0].requires_grad:
            head_inputs.append(inputs[0])

    modes = {module: module.training for module in network.modules()}
    handles = [module.register_forward_hook(collect) for module in names]
    parameter = next(network.parameters())
    image = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0)).to(parameter.device)
    try:
        network.eval()
        with torch.enable_grad():
            logits = logits_of(network(image.requires_grad_()))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return _Trial(outputs, head_inputs, logits)


def _as_layer(name: str, module: nn.Module, output: Tensor, image_size: tuple[int, int]) -> CamLayer | None:
    """Return the layer if its output has a grid of the image's proportions, else None."""
    if output.dim() == 4:
        height, width = output.shape[2:]
        return CamLayer(name) if height * width > 1 and height * image_size[1] == width * image_size[0] else None
    if output.dim() != 3 or "norm" not in type(module).__name__.lower():
        return None
    for prefix in range(min(MAX_PREFIX_TOKENS + 1, output.shape[1])):
        patches = output.shape[1] - prefix
        height = round((patches * image_size[0] / image_size[1]) ** 0.5)
        if height and patches % height == 0 and height * image_size[1] == patches // height * image_size[0]:
            return CamLayer(name, (height, patches // height), prefix) if patches > 1 else None
    return None


def _reaches(gradient: Tensor, layer: CamLayer) -> bool:
    """Return whether most positions have a gradient."""
    if layer.token_grid is None:
        return gradient.abs().amax(dim=1).gt(0).float().mean().item() > 0.5
    return gradient[:, layer.prefix_tokens :].abs().amax(dim=2).gt(0).float().mean().item() > 0.5

"""What a layer gives, seen as a feature map: convolutional features, or the patch tokens of a transformer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camal_rl.module_modes import evaluating


@dataclass(frozen=True)
class LayerOutput:
    """How the output of one layer becomes ``(B, C, h, w)``.

    Attributes:
        layer: the layer's name, for messages.
        token_grid: ``(h, w)`` of the patch tokens; ``None`` for the largest square that fits.
        prefix_tokens: tokens before the patches; ``None`` for what the grid leaves over.
    """

    layer: str
    token_grid: tuple[int, int] | None
    prefix_tokens: int | None

    def split(self, output: Any) -> tuple[Tensor, Any]:
        """Return the feature map and the layer's output made from exactly that tensor, with the same values.

        Feature maps pass through. Tokens are taken apart and put together again, so that the gradient of a score can be
        taken with respect to the map; where nothing before the layer is trained, its output begins to need gradients.
        """
        if isinstance(output, tuple) and output:
            features, first = self._from_tensor(output[0])
            return features, (first, *output[1:])
        return self._from_tensor(output)

    def _from_tensor(self, output: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() not in (3, 4):
            came = f"shape {shape_words(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {self.layer!r} must give a feature map (B, C, h, w) or tokens (B, P + h w, C), got {came}; "
                "choose another cam_layer"
            )
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        if output.dim() == 4:
            return output, output
        height, width = self._grid(output.shape[1])
        prefix = output.shape[1] - height * width
        features = output[:, prefix:].transpose(1, 2).unflatten(2, (height, width))
        return features, torch.cat([output[:, :prefix], features.flatten(2).transpose(1, 2)], dim=1)

    def _grid(self, tokens: int) -> tuple[int, int]:
        patches = tokens if self.prefix_tokens is None else tokens - self.prefix_tokens
        if self.token_grid is not None:
            height, width = self.token_grid
        else:
            height = width = math.isqrt(max(patches, 0))
        over = tokens - height * width
        if over < 0 or height * width == 0 or (self.prefix_tokens is not None and over != self.prefix_tokens):
            raise ValueError(
                f"layer {self.layer!r} gives {tokens} tokens, not {self.prefix_tokens or 'some'} prefix tokens and "
                f"a grid of {height} x {width} patches; set token_grid=(h, w) and prefix_tokens"
            )
        return height, width


def logits_of(output: Any) -> Tensor:
    """Return the logits ``(B, K)`` of a model's output: a tensor, or an object that holds them as ``logits``."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        came = f"shape {shape_words(logits.shape)}" if isinstance(logits, Tensor) else type(output).__name__
        raise ValueError(f"a classifier must give logits (B, K), as a tensor or as output.logits, got {came}")
    return logits


def map_layers(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return name and output shape of every layer whose output is a feature map or tokens, by one forward pass."""
    found: dict[str, tuple[int, ...]] = {}
    handles = []
    for name, module in model.named_modules():

        def hook(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if isinstance(first, Tensor) and first.dim() in (3, 4) and first.shape[-1] > 1:
                found[name] = tuple(first.shape[1:])

        if name:
            handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def shape_words(shape: tuple[int, ...]) -> str:
    """Return a shape as ``(64, 16, 16)``."""
    return f"({', '.join(map(str, shape))})"

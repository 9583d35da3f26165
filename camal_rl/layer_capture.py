"""Captures the output of a layer as a feature map to which the gradient of a score can be taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Call ``hook(module, inputs, output)`` after each of the modules inside the block."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class FeatureLayout:
    """The layout of one layer's output as a feature map ``(B, C, h, w)``; :mod:`camal_rl.feature_layout` detects it.

    Attributes:
        layer: the layer's name, for messages.
        channels_last: the output is ``(B, h, w, C)``.
        token_grid: ``(h, w)`` if the output is tokens ``(B, P + h w, C)``, row by row; otherwise ``None``.
        prefix_tokens: P, the number of tokens before those of the patches.
    """

    layer: str
    channels_last: bool = False
    token_grid: tuple[int, int] | None = None
    prefix_tokens: int = 0

    def open(self, output: Any, inputs: tuple[Any, ...] = ()) -> tuple[Tensor, Any]:
        """Return the feature map, and a copy of the layer's output that is computed from it.

        Later layers may modify their input in place without changing the feature map. If nothing up to the layer is
        trained, the feature map is set to require gradients.

        Args:
            output: the layer's output, a tensor or a tuple whose first entry is one.
            inputs: the layer's inputs; an output that shares their memory (``nn.Identity``) is copied first.
        """
        if isinstance(output, tuple) and output:
            features, first = self.open(output[0], inputs)
            return features, (first, *output[1:])
        dimensions = 4 if self.token_grid is None else 3
        if not isinstance(output, Tensor) or output.dim() != dimensions or not output.is_floating_point():
            raise ValueError(f"the output of layer {self.layer!r} has changed its kind: {output_words(output)}")
        if any(_same_memory(output, each) for each in inputs):
            output = output.clone()
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        return self._open(output)

    def _open(self, output: Tensor) -> tuple[Tensor, Tensor]:
        if self.channels_last:
            features = output.permute(0, 3, 1, 2)
            return features, features.permute(0, 2, 3, 1).clone()
        if self.token_grid is None:
            return output, output.clone()
        height, width = self.token_grid
        if output.shape[1] != self.prefix_tokens + height * width:
            raise ValueError(
                f"layer {self.layer!r} gives {output.shape[1]} tokens, not {self.prefix_tokens} prefix tokens and a "
                f"grid of {height} x {width} patches; set token_grid=(h, w) and prefix_tokens"
            )
        features = output[:, self.prefix_tokens :].transpose(1, 2).unflatten(2, (height, width))
        return features, torch.cat([output[:, : self.prefix_tokens], features.flatten(2).transpose(1, 2)], dim=1)


@contextmanager
def captured(module: nn.Module, layout: FeatureLayout) -> Iterator[list[Tensor]]:
    """Collect a module's output in every forward pass inside the block, as ``(B, C, h, w)``.

    Each is in the graph of everything computed from the module's output, and keeps its values.
    """
    found: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        features, output = layout.open(output, inputs)
        found.append(features)
        return output

    with hooked([module], hook):
        yield found


def single(found: list[Tensor], layer: str) -> Tensor:
    """Return the features of the only forward pass in :func:`captured`."""
    if len(found) != 1:
        raise ValueError(f"layer {layer!r} ran {len(found)} times in one forward pass; choose one that runs once")
    return found[0]


def shape_words(shape: tuple[int, ...]) -> str:
    """Return a shape as ``(64, 16, 16)``."""
    return f"({', '.join(map(str, shape))})"


def output_words(output: Any) -> str:
    """Describe a layer's output for a message by its shape or type."""
    return f"an output of shape {shape_words(output.shape)}" if isinstance(output, Tensor) else type(output).__name__


def _same_memory(output: Tensor, given: Any) -> bool:
    return isinstance(given, Tensor) and output.untyped_storage().data_ptr() == given.untyped_storage().data_ptr()

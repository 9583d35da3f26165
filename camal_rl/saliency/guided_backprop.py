"""Guided backpropagation for ReLUs that are modules and ReLUs that are functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from camal_rl.saliency.attribution import Score, check_score_input, checked_score, score_chunks

_RELUS: frozenset[Callable[..., Any]] = frozenset({torch.relu, Tensor.relu, functional.relu})
_RELUS_IN_PLACE: frozenset[Callable[..., Any]] = frozenset({torch.relu_, Tensor.relu_})


def guided_backprop_map(score: Score, images: Tensor, context: Sequence[Tensor] = (), chunk_size: int = 64) -> Tensor:
    """Return the magnitude of the guided gradient at each pixel, ``sum over channels of |d score / d pixel|``.

    Guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806) is the gradient with one change: the backward
    pass through a ReLU also drops negative gradients, ``1[x > 0] max(0, gradient)``. Other activations keep their
    gradient, as in Captum.

    Captum changes the gradient with hooks on ``nn.ReLU`` modules. It misses ReLUs that are called as functions, as in
    our encoders, and then returns a different map without a warning. This function intercepts ReLU calls while
    ``score`` runs. The network is not modified: no hooks, no ``.grad``, also after an exception.

    The map is not faithful: it hardly depends on the learned parameters of the layers near the output (Adebayo et al.
    2018, arXiv 1810.03292). Use it only together with other maps.

    Args:
        score: see :data:`camal_rl.saliency.attribution.Score`.
        images: ``(N, C, H, W)``, uint8 (given to ``score`` as 0 .. 255) or floating point; not changed.
        context: further inputs of ``score``, tensors with one row per image.
        chunk_size: largest number of images given to ``score`` at once; does not change the result.

    Returns:
        ``(N, H, W)``, non-negative, not normalized, detached, on the images' device.

    Raises:
        TypeError: images that are neither uint8 nor floating point.
        ValueError: wrong shapes, no image, a score that does not depend on the images, or a score without any visible
            ReLU (none in the network, or hidden in compiled code), for which the map would be a plain gradient.
    """
    check_score_input(images, context, chunk_size)
    parts = []
    for part, rest in score_chunks(images, context, chunk_size):
        real = part.clone().requires_grad_()
        with torch.enable_grad(), _GuidedReLUs() as relus:
            scores = checked_score(score)(real, *rest)
        if relus.count == 0:
            raise ValueError(
                "score ran no ReLU that guided backpropagation could change; use integrated_gradients instead "
                "(or, for a compiled or scripted network, the plain one)"
            )
        if not scores.requires_grad:
            raise ValueError("score does not depend on the images in the autograd graph; compute it with gradients")
        (gradient,) = torch.autograd.grad(scores, real, torch.ones_like(scores))
        parts.append(gradient.abs().sum(dim=1))
    return torch.cat(parts)


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = x.clamp_min(0)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return torch.where(output <= 0, 0.0, gradients[0].clamp_min(0))


class _GuidedReLUs(TorchFunctionMode):
    """Replaces every ReLU in this thread by :class:`_GuidedReLU` inside the block; ``count`` is the number of calls."""

    count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a torch function, replacing ReLUs by guided ones."""
        keywords = dict(kwargs or {})
        if func not in _RELUS and func not in _RELUS_IN_PLACE:
            return func(*args, **keywords)
        self.count += 1
        x, in_place = _relu_arguments(*args, **keywords)
        if in_place or func in _RELUS_IN_PLACE:
            return x.copy_(_GuidedReLU.apply(x.clone()))
        return _GuidedReLU.apply(x)


def _relu_arguments(input: Tensor, inplace: bool = False) -> tuple[Tensor, bool]:
    """Return the arguments of ``torch.nn.functional.relu`` and, without the second, of the other ReLUs."""
    return input, inplace

"""Features that the layers above read as a whole, and attention maps in part, with one gradient between them.

In training, the CAM features are the largest tensor that both the loss of the task and the attention loss reach.
Autograd makes one gradient of their size for each and adds the two. Here what the maps say is added where the first one
lies.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor

from camal_rl.attention import weighted_channel_sums


class SharedFeatures:
    """``features`` and ``features[:count]``, for two kinds of reader.

    Args:
        features: ``(B, C, h, w)``, the CAM layer's output.
        count: how many images, from the first on, maps are made of.
        maps: how many maps of them :meth:`channel_sums` can give without a gradient of the features' size.

    Attributes:
        for_layers: the features for the layers above. Where their gradient is held by nobody else (as that of a linear
            layer), the rest of the gradient is written into it; otherwise into a copy.
        for_maps: ``(count, C, h, w)``, those of the images that maps are made of.
    """

    def __init__(self, features: Tensor, count: int, maps: int = 2) -> None:
        self.for_layers, self.for_maps, *handles = cast(tuple[Tensor, ...], _Share.apply(features, count, maps))
        self._handles = list(zip(handles[::2], handles[1::2], strict=True))

    def channel_sums(self, weights: Tensor) -> Tensor:
        """Return ``weighted_channel_sums(self.for_maps, weights)``, signed maps ``(count, K, h, w)``.

        The gradient of the features is a product of two small factors for each map, the map's gradient and its channel
        weights; it is multiplied out where the gradient of ``for_layers`` lies. More maps than were announced are
        summed in the ordinary way.
        """
        count = weights.shape[1]
        taken = self._handles[:count] if count <= len(self._handles) else []
        self._handles = self._handles[len(taken) :]
        return weighted_channel_sums(self.for_maps, weights, *chain.from_iterable(taken))


class _Share(torch.autograd.Function):
    """Two views with one gradient, and two handles for each map, whose "gradients" are its factors.

    A handle holds nothing. It carries a factor from the backward pass of the map that it was given to, and of no other,
    to that of the features: within autograd's own order, whichever parts of the graph are asked for.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, count: int, maps: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape = features.shape
        nothing = features.new_zeros(1, 1)
        handles = ((nothing.expand(count, h * w), nothing.expand(count, c)) for c, h, w in [features.shape[1:]] * maps)
        return features.view_as(features), features[:count], *chain.from_iterable(handles)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        total, of_some, *factors = gradients
        pairs = [pair for pair in zip(factors[::2], factors[1::2], strict=True) if pair[0] is not None]
        if of_some is None and not pairs:
            return total, None, None
        if total is None:
            total = next(each for each in gradients if each is not None).new_zeros(ctx.shape)
        elif torch.is_grad_enabled() or not _has_one_holder(total):
            total = total.clone()
        if of_some is not None:
            total[: len(of_some)] += of_some
        if pairs:
            of_maps, weights = (cast(list[Tensor], list(each)) for each in zip(*pairs, strict=True))
            _add_products(total, torch.stack(of_maps, dim=2), torch.stack(weights, dim=1))
        return total, None, None


def _has_one_holder(gradient: Tensor) -> bool:
    """Say whether nobody but the caller, by one name, holds a gradient, or the tensor that it is a view of.

    The gradient of a sum, for one, is the same tensor for both of its parts.
    """
    held: Any = gradient
    if not hasattr(held, "_use_count"):
        return False
    base = held._base
    # The view itself and the name `base` hold it.
    return bool(held._use_count() == 1 and (base is None or base._use_count() == 2))


def _add_products(total: Tensor, of_maps: Tensor, weights: Tensor) -> None:
    """Add ``of_maps (n, h w, K) @ weights (n, K, C)`` to the first n of ``total (B, C, h, w)``, where it lies."""
    first = total[: len(weights)]
    if first.is_contiguous():
        first.flatten(2).baddbmm_(weights.mT, of_maps.mT)
    elif first.is_contiguous(memory_format=torch.channels_last):
        first.permute(0, 2, 3, 1).flatten(1, 2).baddbmm_(of_maps, weights)
    else:
        first += torch.bmm(of_maps, weights).mT.reshape(first.shape)

"""The common interface of classifiers: images in [0, 1] as input, logits as output, and a named layer for maps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camal_rl.supervised.ifam.images import Normalize
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.models.cam_layer import CamLayer, find_cam_layer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NO_OPTIONS: Mapping[str, bool] = MappingProxyType({})


class ImageClassifier(nn.Module):
    """A network of another library with the common interface.

    Attributes:
        cam_layer: dotted name of the default layer for maps, whose output is ``(B, C, h, w)``.
        call_options: arguments of the network's forward pass besides the images.
    """

    def __init__(
        self, network: nn.Module, normalize: Normalize, cam_layer: str, call_options: Mapping[str, bool] = NO_OPTIONS
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.network = network
        self.cam_layer = f"network.{cam_layer}"
        self.call_options = dict(call_options)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        with _differentiable_attention():
            return logits_of(self.network(self.normalize(images), **self.call_options))


class TokenClassifier(ImageClassifier):
    """An :class:`ImageClassifier` whose ``cam_layer`` has tokens ``(B, prefix + h w, C)`` as output, row by row.

    Attributes:
        token_grid: ``(h, w)``.
        prefix_tokens: number of class and register tokens before the patches.
    """

    def __init__(
        self,
        network: nn.Module,
        normalize: Normalize,
        cam_layer: str,
        call_options: Mapping[str, bool] = NO_OPTIONS,
        *,
        token_grid: tuple[int, int],
        prefix_tokens: int,
    ) -> None:
        super().__init__(network, normalize, cam_layer, call_options)
        self.token_grid = token_grid
        self.prefix_tokens = prefix_tokens


def classifier_around(
    network: nn.Module, normalize: Normalize, layer: CamLayer, call_options: Mapping[str, bool] = NO_OPTIONS
) -> ImageClassifier:
    """Return ``network`` with ``normalize`` before it and ``layer`` as its layer for maps."""
    if layer.token_grid is None:
        return ImageClassifier(network, normalize, layer.name, call_options)
    return TokenClassifier(
        network, normalize, layer.name, call_options, token_grid=layer.token_grid, prefix_tokens=layer.prefix_tokens
    )


def probed_classifier(
    network: nn.Module,
    normalize: Normalize,
    image_size: tuple[int, int],
    call_options: Mapping[str, bool] = NO_OPTIONS,
) -> ImageClassifier:
    """Like :func:`classifier_around`, for a network of unknown architecture: a trial run finds the layer."""
    layer = find_cam_layer(ImageClassifier(network, normalize, "", call_options), image_size)
    inner = layer._replace(name=layer.name.removeprefix("network."))
    return classifier_around(network, normalize, inner, call_options)


def _differentiable_attention() -> AbstractContextManager[None]:
    """Select attention that can be differentiated twice; the fused kernels have no second derivative."""
    return cast(
        "AbstractContextManager[None]", sdpa_kernel(SDPBackend.MATH) if torch.is_grad_enabled() else nullcontext()
    )

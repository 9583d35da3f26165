"""The encoders of this package, and the registry for further ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

from camal_rl.agents.cam_encoder import CamEncoder, ChannelsLastConv2d, Precision
from camal_rl.registry import Registry

Extractor = TypeVar("Extractor", bound=BaseFeaturesExtractor)


class NatureEncoder(CamEncoder):
    """SB3's NatureCNN (Mnih et al. 2015) with the same layers in the same order; CAM grid 4x4 on 64x64 images."""

    channels_last = False

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 512, precision: Precision = "float32"
    ) -> None:
        super().__init__(observation_space, features_dim, precision)
        stock = NatureCNN(observation_space, features_dim, normalized_image=True)  # check_images() did the check
        self.cnn = stock.cnn[:-1]
        self.linear = stock.linear


def _three_layers(first: nn.Conv2d) -> nn.Sequential:
    """Return a first layer, one that halves the grid, and one that keeps it, each followed by a ReLU."""
    second = ChannelsLastConv2d(first.out_channels, 32, kernel_size=3, stride=2, padding=1)
    third = ChannelsLastConv2d(32, 32, kernel_size=3, stride=1, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU())


class CompactEncoder(CamEncoder):
    """A three-layer encoder for CPUs that keeps a fine CAM grid: 16x16 on 64x64 images."""

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 256, precision: Precision = "float32"
    ) -> None:
        super().__init__(observation_space, features_dim, precision)
        first = ChannelsLastConv2d(observation_space.shape[0], 16, kernel_size=5, stride=2, padding=2)
        self.cnn = _three_layers(first)
        self.linear = self._build_linear(features_dim)


class PatchEncoder(CamEncoder):
    """A three-layer encoder that starts with patches of 4x4 pixels and needs a third of the operations of ``compact``.

    CAM grid 8x8 on 64x64 images. It suits quick experiments and images drawn in tiles. The first layer is the patch
    embedding of vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929).
    """

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 256, precision: Precision = "float32"
    ) -> None:
        super().__init__(observation_space, features_dim, precision)
        first = ChannelsLastConv2d(observation_space.shape[0], 32, kernel_size=4, stride=4)
        self.cnn = _three_layers(first)
        self.linear = self._build_linear(features_dim)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ChannelsLastConv2d(channels, channels, kernel_size=3, padding=1)
        self.second = ChannelsLastConv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.second(torch.relu(self.first(torch.relu(x)))))


class _HalvingMaxPool(nn.MaxPool2d):
    """Maxima over 3x3 pixels, stride 2. Without gradients on a CPU: rows first, then columns, at half of the time.

    PyTorch's pooling also finds where each maximum lies, which only its gradient needs.
    """

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        even_sides = x.shape[-1] % 2 == 0 and x.shape[-2] % 2 == 0
        if torch.is_grad_enabled() or x.device.type != "cpu" or not even_sides:
            return super().forward(x)
        return _pairwise_maxima(_pairwise_maxima(x, dim=2), dim=3)


def _pairwise_maxima(x: Tensor, dim: int) -> Tensor:
    """Return the maxima of elements ``2 i - 1``, ``2 i`` and ``2 i + 1`` along ``dim``, which is even."""
    pairs = x.unflatten(dim, (-1, 2))
    first, second = pairs.select(dim + 1, 0), pairs.select(dim + 1, 1)
    out = torch.maximum(first, second)
    count = out.shape[dim] - 1
    after = out.narrow(dim, 1, count)
    torch.maximum(after, second.narrow(dim, 0, count), out=after)
    return out


class ImpalaEncoder(CamEncoder):
    """The residual network of IMPALA (Espeholt et al. 2018), the usual one on Procgen; CAM grid 8x8 on 64x64."""

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int = 256,
        precision: Precision = "float32",
        depths: tuple[int, ...] = (16, 32, 32),
    ) -> None:
        super().__init__(observation_space, features_dim, precision)
        layers: list[nn.Module] = []
        channels = observation_space.shape[0]
        for depth in depths:
            layers += [
                ChannelsLastConv2d(channels, depth, kernel_size=3, padding=1),
                _HalvingMaxPool(),
                _ResidualBlock(depth),
                _ResidualBlock(depth),
            ]
            channels = depth
        self.cnn = nn.Sequential(*layers, nn.ReLU())
        self.linear = self._build_linear(features_dim)


_SHIPPED = {"nature": NatureEncoder, "impala": ImpalaEncoder, "compact": CompactEncoder, "patch": PatchEncoder}
SHIPPED_ENCODERS = tuple(_SHIPPED)
ENCODERS: Registry[type[BaseFeaturesExtractor]] = Registry("encoder", _SHIPPED, "camal_rl.encoders")


def register_encoder(name: str) -> Callable[[type[Extractor]], type[Extractor]]:
    """Register a features extractor class as an encoder, ``policy.encoder: NAME`` in configurations; a decorator."""
    return cast(Callable[[type[Extractor]], type[Extractor]], ENCODERS.register(name))


def encoder_class(encoder: str | type[BaseFeaturesExtractor]) -> type[BaseFeaturesExtractor]:
    """Return the features extractor class for an encoder's name or path (a class is returned as it is).

    Raises:
        ValueError: the name is unknown, with the nearest known name in the message; or the class is not a features
            extractor.
    """
    if not isinstance(encoder, str):
        return encoder
    found: object = ENCODERS.find(encoder)
    if not isinstance(found, type) or not issubclass(found, BaseFeaturesExtractor):
        raise ValueError(
            f"the encoder {encoder!r} must be a class derived from CamEncoder, or from SB3's BaseFeaturesExtractor, "
            f"got {found!r}"
        )
    return found


def is_shipped(encoder: object) -> bool:
    """Return whether an encoder's class is one of this package and not derived from one."""
    return type(encoder) in _SHIPPED.values()


def encoder_name(kind: type[BaseFeaturesExtractor]) -> str:
    """Return the name of an encoder class in :data:`ENCODERS`, or its class name if it is not registered."""
    return ENCODERS.name_of(kind) or kind.__name__


def encoder_kwargs(encoder: type[BaseFeaturesExtractor], precision: Precision) -> dict[str, Any]:
    """Return the arguments of an encoder class; users' features extractors do not take ``precision``."""
    if issubclass(encoder, CamEncoder):
        return {"precision": precision}
    if precision == "bfloat16":
        names = ", ".join(_SHIPPED)
        raise ValueError(f"precision={precision!r} needs one of the encoders {names}, or one derived from CamEncoder")
    return {}

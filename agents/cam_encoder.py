"""The base of image encoders: CAM layer -> Flatten -> Linear -> ReLU at the end, so attention has a closed form."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return the precision of an encoder on a device: ``auto`` is bfloat16 if the hardware supports it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        # Without these instructions a CPU computes bfloat16 more slowly than float32.
        fast = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return "bfloat16" if fast else "float32"


def _in_channels_last(parameter: Tensor) -> None:
    gradient = cast(Tensor, parameter.grad)
    if gradient.device.type == "cpu":
        parameter.grad = gradient.contiguous(memory_format=torch.channels_last)


class ChannelsLastConv2d(nn.Conv2d):
    """A convolution that computes channels-last and stores its weight as every other module does.

    A weight stored channels-last cannot be viewed as a vector, which orthogonal initialization and
    ``torch.nn.utils.parameters_to_vector`` need. On a CPU the weight's gradient keeps the memory order of the
    convolution, in which gradient clipping sums it, so rounding equals that of a network that is channels-last
    throughout.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._order_gradient()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._order_gradient()  # copies and pickles of a parameter come without its hooks

    def _order_gradient(self) -> None:
        if self.weight.requires_grad:
            self.weight.register_post_accumulate_grad_hook(_in_channels_last)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.compiler.is_compiling():  # compiled and exported programs choose their own formats
            weight = weight.contiguous(memory_format=torch.channels_last)
        return super()._conv_forward(input, weight, bias)


def check_images(space: spaces.Space, normalized: bool = True) -> None:
    """Check that an encoder accepts the observations of a space.

    Args:
        space: channels-first images ``(C, H, W)``: uint8 in [0, 255] or floats.
        normalized: whether floats are known to be in [0, 1] already (``normalize_images=False``).

    Raises:
        ValueError: the observations are of another kind; the message says what to do.
    """
    if is_image_space(space, check_channels=False):
        return
    shape = space.shape or ()
    if not isinstance(space, spaces.Box) or len(shape) != 3 or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"a CAM encoder needs images, uint8 in [0, 255] of shape (H, W, C) or (C, H, W), got {space}; "
            "for other observations use your own features extractor class as `encoder`"
        )
    if not is_image_space_channels_first(space):
        raise ValueError(
            f"float images must be channels-first (C, H, W), got shape {shape}: SB3 moves the channels only of uint8 "
            "images; use uint8 images in [0, 255], or move the channels with gymnasium.wrappers.TransformObservation"
        )
    if not normalized:
        raise ValueError(
            f"a CAM encoder needs uint8 images in [0, 255], got {space.dtype} of shape {shape}; if these floats are "
            'images in [0, 1] already, say so with policy_kwargs={"normalize_images": False}'
        )


class CamEncoder(BaseFeaturesExtractor):
    """A convolutional encoder whose last feature map is used for attention maps.

    ``forward`` is ``head(cam_features(observations))``. Subclasses set ``cnn`` (its output, after the last ReLU, is
    the CAM layer) and ``linear`` (over the flattened CAM layer: Linear -> ReLU, which gives the fastest maps, or other
    layers), and declare in ``channels_last`` the faster memory format of their convolutions
    (:class:`ChannelsLastConv2d`).

    Args:
        observation_space: channels-first images ``(C, H, W)``, uint8 in [0, 255], or floats in [0, 1] together with
            the policy's ``normalize_images=False``.
        features_dim: units of the linear layer.
        precision: precision of the encoder; ``bfloat16`` uses torch's autocast with float32 parameters; ``auto`` is
            bfloat16 on hardware that supports it, see :func:`resolve_precision`. The heads always compute in float32.
    """

    cnn: nn.Module
    linear: nn.Sequential
    channels_last = True

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 256, precision: Precision = "float32"
    ) -> None:
        check_images(observation_space)
        if precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")
        super().__init__(observation_space, features_dim)
        self.precision = precision

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        # Disabled autocast still costs time and appears in exported graphs.
        lower = self.arithmetic(device) == torch.bfloat16
        return torch.autocast(device.type, torch.bfloat16) if lower else nullcontext()

    @property
    def is_linear_relu(self) -> bool:
        """Whether the features are exactly ``relu(Linear(flatten(cam_features)))`` as in this class.

        Then attention has a closed form. For a subclass that overrides a method or puts other layers into ``linear``,
        maps are computed by automatic differentiation.
        """
        layers = list(self.linear) if type(self.linear) is nn.Sequential else []
        methods = ("forward", "cam_features", "hidden", "hidden_weight", "_images", "_autocast", "arithmetic")
        own = any(name in vars(self) or getattr(type(self), name) is not getattr(CamEncoder, name) for name in methods)
        return not own and [type(layer) for layer in layers] == [nn.Linear, nn.ReLU]

    def arithmetic(self, device: torch.device) -> torch.dtype:
        """Return the precision of the encoder on a device."""
        own = next(self.parameters()).dtype
        return torch.bfloat16 if resolve_precision(self.precision, device) == "bfloat16" else own

    def _images(self, observations: Tensor) -> Tensor:
        """Return images in [0, 1] in the encoder's memory format; those in uint8 also in its arithmetic."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        arithmetic = self.arithmetic(observations.device)
        if not self.channels_last and arithmetic != torch.bfloat16 and torch.is_grad_enabled():
            # Bit-identical to stock SB3, which acts on images as returned by environments and learns from contiguous
            # ones.
            layout = torch.contiguous_format
        if observations.dtype != torch.uint8:
            return observations.to(memory_format=layout)
        # Integers up to 255 are exact in bfloat16 too.
        return observations.to(arithmetic, memory_format=layout).div_(255)

    def cam_features(self, observations: Tensor) -> Tensor:
        """Return the CAM layer's output ``(B, C, h, w)`` for images ``(B, C, H, W)``, uint8 or float in [0, 1]."""
        images = self._images(observations)
        with self._autocast(observations.device):
            return cast(Tensor, self.cnn(images))

    def hidden(self, features: Tensor) -> Tensor:
        """Return the first linear layer's pre-activation ``(B, U)`` for CAM features ``(B, C, h, w)``."""
        linear = cast(nn.Linear, self.linear[0])
        with self._autocast(features.device):
            if features.shape[0] < linear.out_features or features.is_contiguous():
                hidden = cast(Tensor, linear(features.flatten(1)))
            else:
                # The weight is smaller than the features, so its memory order is changed, not theirs.
                weight = self.hidden_weight(features).permute(0, 2, 3, 1).flatten(1)
                hidden = functional.linear(features.permute(0, 2, 3, 1).flatten(1), weight, linear.bias)
        return hidden.float() if hidden.dtype == torch.bfloat16 else hidden

    def hidden_weight(self, features: Tensor) -> Tensor:
        """Return the first linear layer's weight on the CAM grid, ``(U, C, h, w)``."""
        return cast(Tensor, self.linear[0].weight).view(-1, *features.shape[1:])

    def forward(self, observations: Tensor) -> Tensor:
        """Return the features ``(B, features_dim)`` for images ``(B, C, H, W)``, uint8 or float in [0, 1]."""
        if not self.is_linear_relu:
            return self._own_head(self.cam_features(observations))
        plain = observations.is_floating_point() and self.arithmetic(observations.device) == observations.dtype
        if plain and not torch.is_grad_enabled():
            # Acting on SB3's floats: the layers one after the other, as in a network without attention.
            return cast(Tensor, self.linear(self.cnn(observations).flatten(1)))
        return torch.relu(self.hidden(self.cam_features(observations)))

    def _own_head(self, features: Tensor) -> Tensor:
        """Return a subclass's features ``(B, features_dim)`` of CAM features ``(B, C, h, w)``."""
        if type(self).hidden is not CamEncoder.hidden:
            return torch.relu(self.hidden(features))
        with self._autocast(features.device):
            out = cast(Tensor, self.linear(features.flatten(1)))
        return out.float() if out.dtype == torch.bfloat16 else out

    def _build_linear(self, features_dim: int) -> nn.Sequential:
        """Return Linear -> ReLU over the flattened output of ``cnn``, measured by one forward pass."""
        shape = cast(tuple[int, ...], self._observation_space.shape)
        with torch.no_grad():
            flat = self.cnn(torch.zeros(1, *shape)).flatten(1).shape[1]
        return nn.Sequential(nn.Linear(flat, features_dim), nn.ReLU())

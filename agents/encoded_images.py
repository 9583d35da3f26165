"""One pass of images through an encoder that keeps the CAM layer's output for attention maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.encoders import is_shipped
from camal_rl.feature_layout import NotAFeatureMapError, find_layout, trace_layers
from camal_rl.layer_capture import FeatureLayout, captured, single


@dataclass(frozen=True)
class EncodedImages:
    """One pass through one encoder.

    Attributes:
        features: the input of the heads, ``(B, features_dim)``.
        cam_features: the CAM layer's output ``(n, C, h, w)`` for at least the images that have maps; ``None`` if no
            maps were requested.
        hidden: pre-activation of the first linear layer ``(B, U)``; ``None`` if maps cannot have a closed form.
    """

    features: Tensor
    cam_features: Tensor | None = None
    hidden: Tensor | None = None


def encode_linear_relu(
    images: Tensor, extractor: CamEncoder, num_attention_frames: int | None, by_autograd: bool
) -> EncodedImages:
    """Encode images with an encoder whose ``is_linear_relu`` holds.

    Args:
        images: ``(B, C, H, W)``, the encoder's input.
        extractor: the encoder.
        num_attention_frames: number of first images that have maps; ``None`` means all, 0 none.
        by_autograd: whether a map needs the gradient at the features, even if no layer before them is trained.
    """
    # A user's encoder may mix images, for example in batch normalization.
    count = num_attention_frames if num_attention_frames and is_shipped(extractor) else len(images)
    cam_features = extractor.cam_features(images[:count])
    if by_autograd and torch.is_grad_enabled() and not cam_features.requires_grad and num_attention_frames != 0:
        cam_features = cam_features.detach().requires_grad_()
    hidden = extractor.hidden(cam_features)
    if count < len(images):
        # In two parts, so that the graph of the maps contains only the images that have maps.
        hidden = torch.cat([hidden, extractor.hidden(extractor.cam_features(images[count:]))])
    return EncodedImages(torch.relu(hidden), cam_features, hidden)


def encode_captured(images: Tensor, extractor: nn.Module, layout: FeatureLayout) -> EncodedImages:
    """Encode images with an encoder of any kind."""
    with captured(extractor.get_submodule(layout.layer), layout) as found:
        features = extractor(images)
    return EncodedImages(features, single(found, layout.layer))


def cam_layout(extractor: BaseFeaturesExtractor, cam_layer: str | None, probe: Tensor) -> FeatureLayout:
    """Return the layout of the CAM layer's output as a feature map, by a trial run.

    Args:
        extractor: the encoder.
        cam_layer: the layer's name; ``None`` means ``cnn`` of a CamEncoder, and else the last convolution.
        probe: a few images ``(B, C, H, W)``, the encoder's input.

    Raises:
        ValueError: the layer does not exist, or its output is not a feature map.
    """
    modules = dict(extractor.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    default = "cnn" if isinstance(extractor, CamEncoder) else (convolutions or [""])[-1]
    name = cam_layer if cam_layer is not None else default
    kind = type(extractor).__name__
    if name not in modules or not name:
        known = ", ".join(candidate for candidate in modules if candidate) or "none"
        raise ValueError(f"no CAM layer {name!r} in {kind}; its layers are: {known}")
    try:
        return find_layout(trace_layers(extractor, probe), name)
    except NotAFeatureMapError as error:
        raise ValueError(
            f"the CAM layer must give a feature map (B, C, h, w), got {error.got} ({name!r} in {kind}); set `cam_layer`"
        ) from error

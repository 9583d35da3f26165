"""Classifiers of Hugging Face's transformers: built from a configuration, or read from a local folder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from camal_rl.extras import install_command
from camal_rl.supervised.ifam.images import Normalize
from camal_rl.supervised.ifam.vit import check_vit
from camal_rl.supervised.models.cam_layer import CamLayer
from camal_rl.supervised.models.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageClassifier,
    classifier_around,
    probed_classifier,
)
from camal_rl.utf8 import read_utf8

ATTENTION = "eager"
"""The attention of the transformers library that can be differentiated twice, on every device."""


def resnet(
    num_classes: int,
    image_size: tuple[int, int],
    *,
    channels: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (1, 1, 1),
    stem_pooling: bool = False,
) -> ImageClassifier:
    """Build a ResNet with basic blocks; with the defaults, 64x64 images have a map of 8x8 cells.

    Args:
        num_classes: number of classes.
        image_size: ``(H, W)``.
        channels: number of channels of each stage; each stage but the first halves the resolution.
        depths: number of blocks of each stage.
        stem_pooling: whether the first layers halve the resolution twice, as in the published networks for
            224x224, instead of once.

    Raises:
        ValueError: the numbers of stages differ, or the image is too small for them.
    """
    _check_stages(image_size, channels, depths, halvings=len(channels) + int(stem_pooling))
    transformers = _transformers()
    config = transformers.ResNetConfig(
        embedding_size=channels[0],
        hidden_sizes=list(channels),
        depths=list(depths),
        layer_type="basic",
        num_labels=num_classes,
    )
    network = transformers.ResNetForImageClassification(config)
    if not stem_pooling:
        network.resnet.embedder.pooler = nn.Identity()
    return classifier_around(network, Normalize(), CamLayer(f"resnet.encoder.stages.{len(channels) - 1}"))


def vit(
    num_classes: int,
    image_size: tuple[int, int],
    *,
    patch_size: int = 8,
    dim: int = 128,
    depth: int = 4,
    heads: int = 4,
) -> ImageClassifier:
    """Build a vision transformer that classifies by its class token.

    Its layer for maps is the first normalization of the last block. After that block's attention, only the class token
    affects the prediction, so maps of later layers would be zero.

    Args:
        num_classes: number of classes.
        image_size: ``(H, W)``, a multiple of the patch size.
        patch_size: side of a patch in pixels.
        dim: width of the tokens, a multiple of ``heads``.
        depth: number of blocks.
        heads: number of attention heads.

    Raises:
        ValueError: a size is not a multiple of another one as required.
    """
    grid = check_vit(image_size, patch_size, dim, depth, heads)
    transformers = _transformers()
    config = transformers.ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        hidden_size=dim,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * dim,
        num_labels=num_classes,
        attn_implementation=ATTENTION,
    )
    network = transformers.ViTForImageClassification(config)
    return classifier_around(network, Normalize(), CamLayer(f"vit.layers.{depth - 1}.layernorm_before", grid, 1))


def from_folder(folder: str, num_classes: int, image_size: tuple[int, int]) -> ImageClassifier:
    """Read a classifier from a folder written by ``save_pretrained``; nothing is downloaded.

    The head is kept if it has ``num_classes`` outputs, and is new otherwise. Images are normalized as in
    ``preprocessor_config.json``, or by ImageNet's mean and standard deviation if the folder has none.

    Args:
        folder: path of the folder.
        num_classes: number of classes.
        image_size: ``(H, W)``.

    Raises:
        ValueError: the folder contains no model, its model does not classify images, or its weights are not in
            safetensors.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise ValueError(f"no transformers model in {folder!r}: expected a folder with config.json and the weights")
    try:
        network = _transformers().AutoModelForImageClassification.from_pretrained(
            path,
            num_labels=num_classes,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            # Load neither pickled weights nor code from the folder.
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=ATTENTION,
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot read an image classifier from {folder!r}: {reason}") from error
    return probed_classifier(network.float(), _folder_normalize(path), image_size, _size_options(network, image_size))


def _check_stages(image_size: tuple[int, int], channels: Sequence[int], depths: Sequence[int], halvings: int) -> None:
    if not channels or len(channels) != len(depths) or min((*channels, *depths)) < 1:
        raise ValueError(
            f"channels and depths must have one positive number for each stage, got {list(channels)} and {list(depths)}"
        )
    if min(image_size) >> halvings < 2:
        raise ValueError(
            f"images of {image_size[0]}x{image_size[1]} are too small for {len(channels)} stages; use fewer stages"
        )


def _folder_normalize(path: Path) -> Normalize:
    """Return the normalization in a folder's configuration."""
    file = path / "preprocessor_config.json"
    settings = json.loads(read_utf8(file)) if file.is_file() else {}
    return Normalize(settings.get("image_mean", IMAGENET_MEAN), settings.get("image_std", IMAGENET_STD))


def _size_options(network: Any, image_size: tuple[int, int]) -> dict[str, bool]:
    """Return the arguments that a model needs for images of another size than its own."""
    own = getattr(network.config, "image_size", image_size)
    own = (own, own) if isinstance(own, int) else tuple(own)
    interpolates = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    return {"interpolate_pos_encoding": True} if own != image_size and interpolates else {}


def _transformers() -> Any:
    """Import the library when it is needed."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"transformers is not installed; install it with: {install_command('supervised')}") from error
    return transformers

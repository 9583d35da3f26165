"""Classifiers of torchvision and timm, which are not dependencies of this package."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from camal_rl.spelling import nearest
from camal_rl.supervised.ifam.images import Normalize
from camal_rl.supervised.models.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageClassifier,
    probed_classifier,
)


def torchvision_model(
    name: str, num_classes: int, image_size: tuple[int, int], *, pretrained: bool = False
) -> ImageClassifier:
    """Build ``torchvision.models.get_model(name)`` with ``num_classes`` outputs.

    Args:
        name: name of the model in torchvision.
        num_classes: number of classes.
        image_size: ``(H, W)``.
        pretrained: start from torchvision's default weights, with a new head if the number of classes differs.
            torchvision downloads them if they are not in its cache.

    Raises:
        ImportError: torchvision is not installed.
        ValueError: the name is unknown, or the network has no linear head to replace.
    """
    models = _library("torchvision.models", "torchvision")
    _check_name("torchvision", name, models.list_models())
    if pretrained:
        network = models.get_model(name, weights="DEFAULT")
        _replace_head(network, num_classes)
    else:
        # Only torchvision's vision transformers are built for one size, and only for squares.
        sized = {"image_size": image_size[0]} if name.startswith("vit_") else {}
        network = models.get_model(name, weights=None, num_classes=num_classes, **sized)
    return probed_classifier(network, Normalize(IMAGENET_MEAN, IMAGENET_STD), image_size)


def timm_model(
    name: str, num_classes: int, image_size: tuple[int, int], *, pretrained: bool = False
) -> ImageClassifier:
    """Build ``timm.create_model(name)`` with ``num_classes`` outputs, normalized as in its configuration.

    Args:
        name: name of the model in timm.
        num_classes: number of classes.
        image_size: ``(H, W)``.
        pretrained: start from timm's weights, which timm downloads if they are not in its cache.

    Raises:
        ImportError: timm is not installed.
        ValueError: the name is unknown.
    """
    timm = _library("timm", "timm")
    # "resnet18.a1_in1k" is the architecture resnet18 with the weights a1_in1k.
    _check_name("timm", name.split(".")[0], timm.list_models())
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, img_size=image_size)
    except TypeError as error:
        # Convolutional networks accept any size and do not have this option.
        if "img_size" not in str(error):
            raise
        network = timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
    settings = getattr(network, "pretrained_cfg", None) or {}
    normalize = Normalize(settings.get("mean", IMAGENET_MEAN), settings.get("std", IMAGENET_STD))
    return probed_classifier(network, normalize, image_size)


def _library(module: str, package: str) -> Any:
    """Import a library when it is needed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{package} is not installed; install it with: pip install {package}") from error


def _check_name(library: str, name: str, known: list[str]) -> None:
    if name not in known:
        near = nearest(name, known, count=5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"{library} has no model {name!r}{hint}")


def _replace_head(network: nn.Module, num_classes: int) -> None:
    """Replace the last linear layer, unless it has ``num_classes`` outputs already."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(network).__name__} has no linear head to replace; use pretrained=False")
    name, head = linear[-1]
    if head.out_features != num_classes:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Linear(head.in_features, num_classes))

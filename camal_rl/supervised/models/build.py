"""Builds image classifiers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from camal_rl.spelling import did_you_mean
from camal_rl.supervised.ifam import build_ifam
from camal_rl.supervised.models.compact import compact
from camal_rl.supervised.models.hugging_face import from_folder, resnet, vit
from camal_rl.supervised.models.vision_libraries import timm_model, torchvision_model

_NAMED: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {"compact": compact, "resnet": resnet, "vit": vit, "ifam": build_ifam}
)
_FAMILIES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {"transformers": from_folder, "torchvision": torchvision_model, "timm": timm_model}
)


def model_names() -> tuple[str, ...]:
    """Return the names that :func:`build_model` takes, with ``<...>`` as placeholders."""
    return (*_NAMED, "transformers:<folder>", "torchvision:<name>", "timm:<name>")


def build_model(name: str, num_classes: int, image_size: int | tuple[int, int], **options: Any) -> nn.Module:
    """Build a classifier: float images ``(B, 3, H, W)`` in [0, 1] to logits ``(B, num_classes)``.

    Every model normalizes its images itself and has ``cam_layer``, the dotted name of the layer for maps. If the output
    of that layer is tokens, the model also has ``token_grid``, ``(h, w)``, and ``prefix_tokens``, the number of tokens
    before the patches. All models have second derivatives, so that maps can be trained.

    Args:
        name: ``compact``, ``resnet``, ``vit`` and ``ifam`` are built untrained; ``transformers:<folder>`` is read from
            a local folder; ``torchvision:<name>`` and ``timm:<name>`` need that library.
        num_classes: number of classes, at least 2.
        image_size: ``(H, W)``, or the side of a square.
        options: options of the model: ``width``, ``halvings`` of ``compact``; ``channels``, ``depths``,
            ``stem_pooling`` of ``resnet``; ``patch_size``, ``dim``, ``depth``, ``heads`` of ``vit`` and ``ifam``;
            ``parts``, ``temperature``, ``part_dropout``, ``mask_dropout``, ``warmup``, ``weights`` of ``ifam``;
            ``pretrained`` of ``torchvision`` and ``timm``.

    Raises:
        ImportError: a library is missing; the message contains the install command.
        TypeError: an option is unknown, or a value has the wrong type.
        ValueError: the name is unknown, or sizes do not fit.
    """
    size = _checked_size(image_size)
    _check_integer("num_classes", num_classes, 2)
    known = (*_NAMED, *_FAMILIES)
    family, _, variant = name.partition(":")
    if name in _NAMED:
        _check_options(name, _NAMED[name], options)
        return _NAMED[name](num_classes, size, **options)
    if family in _FAMILIES and variant:
        _check_options(name, _FAMILIES[family], options)
        return _FAMILIES[family](variant, num_classes, size, **options)
    hint = f"a name must follow {family}:; " if family in _FAMILIES else did_you_mean(family, known)
    raise ValueError(f"unknown model {name!r}; {hint}the models are {', '.join(model_names())}")


def _check_options(name: str, builder: Callable[..., nn.Module], options: Mapping[str, Any]) -> None:
    """Raise a TypeError for an unknown option, or a value of another type than the option's default."""
    parameters = inspect.signature(builder).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for option, value in options.items():
        if option not in known:
            listed = f"its options are {', '.join(known)}" if known else "it has none"
            raise TypeError(f"unknown option {option!r} of model {name!r}; {did_you_mean(option, known)}{listed}")
        default = known[option]
        if isinstance(default, bool) and not isinstance(value, bool):
            raise TypeError(f"option {option!r} of model {name!r} must be true or false, got {value!r}")
        if type(default) is int:
            _check_integer(f"option {option!r} of model {name!r}", value, 0)
        if isinstance(default, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"option {option!r} of model {name!r} must be a number, got {value!r}")
        if isinstance(default, tuple):
            _check_integers(f"option {option!r} of model {name!r}", value)


def _check_integers(what: str, values: Any) -> None:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of whole numbers, got {values!r}")
    for value in values:
        _check_integer(what, value, 0)


def _check_integer(what: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, got {value}")


def _checked_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2:
        raise ValueError(f"image_size must be (H, W) or one number, got {image_size!r}")
    for side in size:
        _check_integer("image_size", side, 8)
    return size[0], size[1]

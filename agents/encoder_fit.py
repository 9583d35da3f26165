"""Checks that an encoder accepts images: convolutions without padding refuse images smaller than their kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from camal_rl.agents.encoders import encoder_name
from camal_rl.training_modes import evaluating

# The largest tested side; no practical encoder needs more.
LARGEST_SIDE = 2048


def fitting_extractor(
    kind: type[BaseFeaturesExtractor], space: spaces.Space, kwargs: Mapping[str, Any]
) -> BaseFeaturesExtractor:
    """Return a features extractor after a trial on one image of a space.

    Raises:
        ValueError: the images are too small for it; the message gives the smallest accepted size.
    """
    try:
        extractor = kind(space, **kwargs)
        if len(space.shape or ()) == 3:
            _try_out(extractor, space)
    except RuntimeError as error:
        smallest = smallest_side(kind, space, kwargs)
        if smallest is None:
            raise
        height, width = cast(tuple[int, ...], space.shape)[1:]
        raise ValueError(
            f"encoder {encoder_name(kind)!r} does not fit images of {height}x{width} pixels; the smallest accepted "
            f"size is {smallest}x{smallest}"
        ) from error
    return extractor


def smallest_side(kind: type[BaseFeaturesExtractor], space: spaces.Space, kwargs: Mapping[str, Any]) -> int | None:
    """Return the side of the smallest square images that an extractor accepts, ``None`` if size is not the problem.

    Nothing is computed: the sizes are tried on torch's ``meta`` device.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return None
    low, high = 0, max(1, *space.shape[1:])
    while not _fits(kind, space, kwargs, high):
        low, high = high, 2 * high
        if high > LARGEST_SIDE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(kind, space, kwargs, middle) else (middle, high)
    return high if high > min(space.shape[1:]) else None


def _fits(kind: type[BaseFeaturesExtractor], space: spaces.Box, kwargs: Mapping[str, Any], side: int) -> bool:
    shape = (space.shape[0], side, side)
    image = spaces.Box(space.low.min(), space.high.max(), shape, cast(Any, space.dtype))
    try:
        with torch.device("meta"):
            _try_out(kind(image, **kwargs), image)
    except Exception:  # a user's encoder may raise anything
        return False
    return True


def _try_out(extractor: BaseFeaturesExtractor, space: spaces.Space) -> None:
    with evaluating(extractor), torch.no_grad():
        extractor(torch.zeros(1, *cast(tuple[int, ...], space.shape)))

"""Checks images and actions from users and converts them to the format of a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

Images = Tensor | npt.NDArray[Any] | list[Any] | tuple[Any, ...]
Actions = Tensor | npt.ArrayLike


def image_batch(images: Images, space: spaces.Space[Any]) -> Tensor:
    """Return images as a batch ``(B, C, H, W)``.

    Args:
        images: a batch, one image, or a list of images, channels first or as environments give them. They have the
            dtype of the observation space; for uint8, any dtype with values in 0 .. 255 is accepted.
        space: the policy's observation space, channels first.

    Raises:
        TypeError: the input is not numeric, or has whole numbers although the space has floating point ones.
        ValueError: there is no image, or the shape is wrong; for a uint8 space also NaN or values of another scale.
    """
    shape = tuple(space.shape or ())
    batch = _tensor(images, "images")
    got = tuple(batch.shape)
    if batch.dim() == len(shape):
        batch = batch.unsqueeze(0)
    if len(shape) == 3 and batch.dim() == 4 and tuple(batch.shape[1:]) == (*shape[1:], shape[0]) != shape:
        batch = batch.permute(0, 3, 1, 2)
    words = ", ".join(map(str, shape))
    if batch.numel() == 0:
        raise ValueError(f"expected one or more images of shape ({words}), got an empty batch of shape {got}")
    if len(shape) != 3 or tuple(batch.shape[1:]) != shape:
        raise ValueError(f"expected images of shape (B, {words}), got {got}")
    return _on_scale(batch, space)


def action_batch(actions: Actions, space: spaces.Space[Any], count: int, device: torch.device) -> Tensor:
    """Return the actions for ``count`` images in the format of a policy's distribution.

    Args:
        actions: one action for each image, or the action itself for one image. Discrete actions may be a column.
        space: the action space.
        count: the number of images.
        device: device of the result.

    Raises:
        TypeError: the input is not numeric.
        ValueError: the number or shape of the actions is wrong, or values are not finite or not in a discrete space.
    """
    batch = _tensor(actions, "actions").to(device)
    shape = tuple(space.shape or ())
    if isinstance(space, spaces.Discrete) and batch.shape == (count, 1):
        batch = batch.squeeze(1)
    if count == 1 and tuple(batch.shape) == shape:
        batch = batch.unsqueeze(0)
    if tuple(batch.shape) != (count, *shape):
        raise ValueError(
            f"expected one action for each of {count} images, shape ({', '.join(map(str, (count, *shape)))}), "
            f"got {tuple(batch.shape)}"
        )
    if isinstance(space, spaces.Box):
        if not bool(batch.isfinite().all()):
            raise ValueError("actions must be finite")
        return batch.float().flatten(1)
    sizes = torch.as_tensor(_sizes(space), device=device)
    whole = batch.long()
    if not bool((whole == batch).all() & (whole >= 0).all() & (whole < sizes).all()):
        raise ValueError(
            f"actions must be whole numbers of the action space {space}, got {batch.flatten()[:8].tolist()}"
        )
    return whole.float() if isinstance(space, spaces.MultiBinary) else whole


def _sizes(space: spaces.Space[Any]) -> Any:
    """Return the number of choices of each factor of a discrete action space."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return space.nvec if isinstance(space, spaces.MultiDiscrete) else 2


def _tensor(given: Any, what: str) -> Tensor:
    """Convert the input to a tensor; a tensor stays on its device."""
    if isinstance(given, list | tuple) and given and all(isinstance(each, Tensor) for each in given):
        shapes = sorted({tuple(each.shape) for each in given})
        if len(shapes) > 1:
            raise ValueError(f"{what} must have one shape, got {shapes[0]} and {shapes[1]}")
        given = torch.stack(list(given))
    if not isinstance(given, Tensor):
        try:
            given = torch.from_numpy(np.array(given, order="C"))
        except (TypeError, ValueError) as error:
            raise TypeError(f"{what} must be numbers in an array of one shape, got {type(given).__name__}") from error
    if (given.dtype == torch.bool and what == "images") or given.is_complex():
        raise TypeError(f"{what} must be numbers, got {given.dtype}")
    # Autograd accepts an inference tensor only as a clone.
    return given.clone() if given.is_inference() else given.detach()


def _on_scale(batch: Tensor, space: spaces.Space[Any]) -> Tensor:
    """Return images on the space's scale, or raise an error that says what is wrong."""
    if not np.issubdtype(space.dtype, np.uint8):
        if not batch.is_floating_point():
            raise TypeError(
                f"the observation space has {space.dtype} images, got {batch.dtype}; give images on the space's scale"
            )
    elif batch.is_floating_point():
        if not bool(batch.isfinite().all()):
            raise ValueError("images must be finite, got NaN or infinite values")
        if 0 < float(batch.max()) <= 1:
            raise ValueError(
                f"the observation space has uint8 images in 0 .. 255, got {batch.dtype} in 0 .. 1; give the images "
                "as the environment does, or multiply them by 255"
            )
    elif batch.dtype != torch.uint8:
        low, high = int(batch.min()), int(batch.max())
        if low < 0 or high > 255:
            raise ValueError(f"images must be in 0 .. 255, got {batch.dtype} in {low} .. {high}")
        return batch.to(torch.uint8)
    return batch

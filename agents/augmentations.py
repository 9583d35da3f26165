"""The eight image augmentations of DrAC (Raileanu et al. 2021, arXiv 2006.12862, appendix), by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["crop", "grayscale", "cutout", "cutout_color", "flip", "rotate", "random_conv", "color_jitter"]

CROP_PADDING = 12 / 64
"""The largest shift of :func:`random_crop` in each direction, as a share of a side: 12 pixels of 64."""

CUTOUT_SIDES = (7 / 64, 21 / 64)
"""The shortest and the longest side of the box of :func:`cutout`, as shares of the image's: 7 to 21 pixels of 64."""

# Factors are in [1 - x, 1 + x]; the hue rotates by up to x full turns in each direction.
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.5

TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad each image by repeating its border pixels, and crop it at a random place.

    Args:
        images: ``(B, C, H, W)``.
        generator: on the CPU; source of the offsets, at most :data:`CROP_PADDING` of a side in each direction.

    Returns:
        ``(B, C, H, W)`` of the same type.
    """
    batch, _, height, width = images.shape
    rows, columns = (_offsets(batch, side, generator).to(images.device) for side in (height, width))
    return translate(images, rows, columns)


def translate(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images whose pixel ``(y, x)`` is the pixel ``(y + rows, x + columns)``, or else the nearest border pixel.

    Args:
        images: ``(B, C, H, W)``.
        rows: integer offsets ``(B,)``.
        columns: integer offsets ``(B,)``.
    """
    batch, _, height, width = images.shape
    y = (torch.arange(height, device=images.device) + rows[:, None]).clamp_(0, height - 1)
    x = (torch.arange(width, device=images.device) + columns[:, None]).clamp_(0, width - 1)
    index = torch.arange(batch, device=images.device)[:, None, None]
    # Channels last is the memory order of simulators.
    return images.permute(0, 2, 3, 1)[index, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _offsets(batch: int, side: int, generator: torch.Generator) -> Tensor:
    reach = max(1, round(CROP_PADDING * side))
    return torch.randint(-reach, reach + 1, (batch,), generator=generator)


def color_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image at random.

    Args:
        images: as for :func:`adjust_colors`.
        generator: on the CPU; source of the factors and the rotation.
    """
    batch, device = len(images), images.device
    brightness, contrast, saturation, hue = (2 * torch.rand(4, batch, generator=generator) - 1).to(device)
    return adjust_colors(
        images, 1 + BRIGHTNESS * brightness, 1 + CONTRAST * contrast, 1 + SATURATION * saturation, HUE * hue
    )


def adjust_colors(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Return images with other colors; all frames of a stack change in the same way.

    Saturation scales and hue rotates the chroma in YIQ space, where both are linear. Contrast scales the distance from
    the image's mean, and brightness scales all values.

    Args:
        images: ``uint8 (B, C, H, W)``, or floats in [0, 1]. If C is a multiple of 3, the frames are RGB; otherwise
            they are gray, and their hue and saturation do not change.
        brightness: factors ``(B,)``, 1 changes nothing.
        contrast: factors ``(B,)``, 1 changes nothing.
        saturation: factors ``(B,)``, 1 changes nothing, 0 gives gray.
        hue: full turns ``(B,)``, 0 changes nothing.

    Returns:
        ``(B, C, H, W)`` of the same type and range.
    """
    real = images.float()
    if images.shape[1] % 3 == 0:
        frames = real.unflatten(1, (-1, 3))
        real = torch.einsum("bij,bfjhw->bfihw", _chroma_matrix(saturation, hue), frames).flatten(1, 2)
    mean = real.mean(dim=(1, 2, 3), keepdim=True)
    changed = ((real - mean) * contrast.view(-1, 1, 1, 1) + mean) * brightness.view(-1, 1, 1, 1)
    return _in_range(changed, images)


def _chroma_matrix(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return the matrices ``(B, 3, 3)`` that scale and rotate the chroma of RGB colors in YIQ space."""
    to_yiq = torch.tensor(TO_YIQ, device=hue.device)
    angle = 2 * torch.pi * hue
    turn = torch.zeros(len(hue), 3, 3, device=hue.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


def grayscale(images: Tensor, generator: torch.Generator) -> Tensor:
    """Replace the three channels of every RGB frame by its luma; gray frames do not change.

    Args:
        images: as for :func:`adjust_colors`.
        generator: unused.
    """
    if images.shape[1] % 3:
        return images
    frames = images.float().unflatten(1, (-1, 3))
    luma = torch.einsum("i,bfihw->bfhw", torch.tensor(TO_YIQ[0], device=images.device), frames)
    return _in_range(luma[:, :, None].expand_as(frames).flatten(1, 2), images)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a box of each image with black, at a random place, with sides drawn from :data:`CUTOUT_SIDES`.

    Args:
        images: as for :func:`adjust_colors`.
        generator: on the CPU; source of the boxes.
    """
    rows, columns = (_spans(len(images), side, generator) for side in images.shape[-2:])
    return fill_box(images, rows, columns, torch.zeros(images.shape[:2]))


def cutout_color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a box of each image, drawn as in :func:`cutout`, with a random color, the same for all frames of a stack.

    Args:
        images: as for :func:`adjust_colors`.
        generator: on the CPU; source of the boxes and colors.
    """
    batch, channels, height, width = images.shape
    rows, columns = (_spans(batch, side, generator) for side in (height, width))
    frame = _frame_channels(channels)
    colors = torch.rand(batch, frame, generator=generator).repeat(1, channels // frame)
    return fill_box(images, rows, columns, colors if images.is_floating_point() else (255 * colors).round())


def fill_box(images: Tensor, rows: Tensor, columns: Tensor, colors: Tensor) -> Tensor:
    """Return images, each with a box of one color.

    Args:
        images: ``(B, C, H, W)``.
        rows: integers ``(B, 2)``: the first row of the box, and the first row after it.
        columns: the same for columns.
        colors: ``(B, C)``, on the images' scale.
    """
    batch, channels, height, width = images.shape
    inside_rows, inside_columns = (
        (place >= span[:, :1]) & (place < span[:, 1:])
        for place, span in ((torch.arange(height), rows), (torch.arange(width), columns))
    )
    box = (inside_rows[:, :, None] & inside_columns[:, None]).to(images.device)
    return torch.where(box[:, None], colors.to(images).view(batch, channels, 1, 1), images)


def _spans(batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw the first position of a box along a side, and the first one after it, ``(B, 2)``."""
    shortest, longest = (max(1, round(share * side)) for share in CUTOUT_SIDES)
    lengths = torch.randint(shortest, longest + 1, (batch,), generator=generator)
    starts = (torch.rand(batch, generator=generator) * (side - lengths + 1)).long()
    return torch.stack([starts, starts + lengths], dim=1)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Args:
        images: ``(B, C, H, W)``.
        generator: on the CPU; source of the choice.
    """
    chosen = torch.randint(0, 2, (len(images),), generator=generator).bool().to(images.device)
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate each image by a random number of quarter turns; an image that is not square by 0 or 2.

    Args:
        images: ``(B, C, H, W)``.
        generator: on the CPU; source of the numbers.
    """
    square = images.shape[2] == images.shape[3]
    turns = torch.randint(0, 4 if square else 2, (len(images),), generator=generator)
    return quarter_turns(images, turns if square else 2 * turns)


def quarter_turns(images: Tensor, turns: Tensor) -> Tensor:
    """Return images, each rotated counterclockwise by its number of quarter turns, ``(B,)`` in 0 .. 3."""
    turns = turns.to(images.device)
    turned = images.clone()
    for count in (1, 2, 3):
        chosen = (turns == count).nonzero().flatten()
        if len(chosen):
            turned[chosen] = torch.rot90(images[chosen], count, (2, 3))
    return turned


def random_conv(images: Tensor, generator: torch.Generator) -> Tensor:
    """Filter each image with its own random 3x3 convolution, the same for all frames of a stack.

    Weights are normally distributed with Xavier's variance, ``2 / (fan_in + fan_out)``.

    Args:
        images: as for :func:`adjust_colors`.
        generator: on the CPU; source of the weights.
    """
    frame = _frame_channels(images.shape[1])
    spread = (2 / (2 * 9 * frame)) ** 0.5
    weights = spread * torch.randn(len(images), frame, frame, 3, 3, generator=generator)
    return filtered(images, weights)


def filtered(images: Tensor, weights: Tensor) -> Tensor:
    """Return images, each filtered with its own convolution without bias, clipped to the images' range.

    Args:
        images: as for :func:`adjust_colors`; padded with zeros.
        weights: ``(B, F, F, 3, 3)``: output channels, input channels; F is 3 if C is a multiple of 3, otherwise 1.
    """
    batch, channels, height, width = images.shape
    frame = weights.shape[1]
    frames = channels // frame
    kernels = weights.to(images.device).repeat_interleave(frames, dim=0).flatten(0, 1)
    stacked = images.float().reshape(1, batch * channels, height, width)
    made = functional.conv2d(stacked, kernels, padding=1, groups=batch * frames)
    return _in_range(made.view(batch, channels, height, width), images)


def _frame_channels(channels: int) -> int:
    """Return the number of channels of one frame: 3 for RGB, 1 for gray."""
    return 1 if channels % 3 else 3


def _in_range(made: Tensor, images: Tensor) -> Tensor:
    """Return floats ``made`` from images, on the same scale, in the images' type and range."""
    whole = not images.is_floating_point()
    made = made.clamp(0, 255 if whole else 1)
    return (made.round_() if whole else made).to(images.dtype)


AUGMENTATIONS: Mapping[Augmentation, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": random_crop,
    "grayscale": grayscale,
    "cutout": cutout,
    "cutout_color": cutout_color,
    "flip": flip,
    "rotate": rotate,
    "random_conv": random_conv,
    "color_jitter": color_jitter,
}
"""Augmentations of images ``(B, C, H, W)`` by name; each returns images of the same shape, type and range."""

"""Consistency: whether a map stays the same under an imperceptible change of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from camal_rl.attention import nonfinite_maps, upsample_cam, zero_maps
from camal_rl.metrics.fills import check_images
from camal_rl.metrics.ranking import spearman


class Perturbation(Protocol):
    """A small change of images, and the alignment of maps before and after it."""

    def apply(self, images: Tensor) -> Tensor:
        """Return changed images ``(N, C, H, W)`` of the same dtype, without modifying the given ones."""

    def align(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts ``(N, h', w')`` of two maps ``(N, H, W)`` that show the same pixels."""


@dataclass(frozen=True)
class UniformNoise:
    """Independent uniform noise on every pixel and channel.

    Attributes:
        generator: source of randomness.
        amplitude: largest change, as a share of the range of uint8 (2/255 is two gray levels; uint8 images get whole
            levels and are clipped to 0 .. 255), or in the unit of floating point images.
    """

    generator: torch.Generator
    amplitude: float = 2 / 255

    def apply(self, images: Tensor) -> Tensor:
        """Return noisy images."""
        device = self.generator.device
        if images.is_floating_point():
            noise = 2 * torch.rand(images.shape, generator=self.generator, device=device) - 1
            return images + self.amplitude * noise.to(images)
        levels = round(255 * self.amplitude)
        steps = torch.randint(-levels, levels + 1, images.shape, generator=self.generator, device=device)
        return (images + steps.to(images.device)).clamp(0, 255).to(images.dtype)

    def align(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return both maps unchanged."""
        return before, after


@dataclass(frozen=True)
class Shift:
    """A shift of the whole image by a few pixels; pixels that enter repeat the border.

    Attributes:
        rows: pixels downwards (upwards if negative).
        columns: pixels to the right (to the left if negative).
    """

    rows: int = 0
    columns: int = 1

    def apply(self, images: Tensor) -> Tensor:
        """Return shifted images."""
        height, width = images.shape[2:]
        rows = (torch.arange(height, device=images.device) - self.rows).clamp(0, height - 1)
        columns = (torch.arange(width, device=images.device) - self.columns).clamp(0, width - 1)
        return images[:, :, rows[:, None], columns]

    def align(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map before, and the map after shifted back, without pixels that left or entered the image."""
        height, width = before.shape[1:]
        (rows, moved_rows), (columns, moved_columns) = _overlap(self.rows, height), _overlap(self.columns, width)
        return before[:, rows, columns], after[:, moved_rows, moved_columns]


@dataclass(frozen=True)
class Consistency:
    """Similarity of each frame's map with its map under a small perturbation; ``(N,)``, higher is better.

    Attributes:
        consistency_spearman: rank correlation of the pixels, in [-1, 1]; 0 for unrelated maps. NaN also where a map
            is constant.
        consistency_cosine: cosine of the angle between the maps, in [0, 1]. Unrelated maps have a value above 0, since
            maps are non-negative: compare it with the rank correlation. Peaks have a large weight here, while ranks
            weight all pixels equally.
    """

    consistency_spearman: Tensor
    consistency_cosine: Tensor

    def means(self) -> dict[str, float]:
        """Return each figure's mean over the frames where it is defined; NaN if there is none."""
        return {name: float(values.nanmean()) for name, values in vars(self).items()}

    def undefined(self) -> dict[str, int]:
        """Return the number of frames for which each figure is undefined, which should be reported."""
        return {name: int(values.isnan().sum()) for name, values in vars(self).items()}


def explanation_consistency(
    explain: Callable[[Tensor], Tensor], images: Tensor, perturb: Perturbation, chunk_size: int = 256
) -> Consistency:
    """Return how similar the maps of images are before and after a small perturbation.

    Similar to the stability of explanations of Alvarez-Melis and Jaakkola 2018, arXiv 1806.08049, with two differences:
    it is a similarity of ranks and directions, which do not depend on the scale of a map, and it uses one perturbation
    instead of the worst one. Maps are compared at the size of the images, so that a shift can be undone to the pixel. A
    map that never changes (a constant, or a mask of the screen's center) is perfectly consistent, so compare
    faithfulness too.

    Args:
        explain: takes ``(n, C, H, W)`` of the images' dtype, returns non-negative maps ``(n, h, w)``.
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        perturb: such as ``UniformNoise(generator)`` or ``Shift(columns=1)``.
        chunk_size: largest number of images given to ``explain`` at once; does not change the result.

    Returns:
        The similarities of each frame; NaN where either map is zero or not finite.
    """
    check_images(images)
    size = (images.shape[2], images.shape[3])
    before = upsample_cam(explain_in_chunks(explain, images, chunk_size), size)
    after = upsample_cam(explain_in_chunks(explain, perturb.apply(images), chunk_size), size)
    first, second = perturb.align(before, after)
    undefined = zero_maps(first) | zero_maps(second) | nonfinite_maps(before) | nonfinite_maps(after)
    left, right = first.flatten(1).double(), second.flatten(1).double()
    similarities = (spearman(left, right), functional.cosine_similarity(left, right, eps=0))
    return Consistency(*(torch.where(undefined, torch.nan, each).to(before.dtype) for each in similarities))


def explain_in_chunks(explain: Callable[[Tensor], Tensor], images: Tensor, chunk_size: int) -> Tensor:
    """Return the detached maps ``(N, h, w)`` of all images, after checking their shape."""
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    if len(images) == 0:
        raise ValueError("at least one image is needed, got none")
    maps = []
    for part in images.split(chunk_size):
        each = explain(part).detach()
        if each.dim() != 3 or len(each) != len(part):
            raise ValueError(f"explain must return maps ({len(part)}, h, w), got shape {tuple(each.shape)}")
        maps.append(each)
    return torch.cat(maps)


def _overlap(offset: int, length: int) -> tuple[slice, slice]:
    """Return the positions, before and after a shift by ``offset``, of the pixels that stay in the image."""
    if abs(offset) >= length:
        raise ValueError(f"a shift must be smaller than the image's {length} pixels, got {offset}")
    if offset >= 0:
        return slice(0, length - offset), slice(offset, length)
    return slice(-offset, length), slice(0, length + offset)

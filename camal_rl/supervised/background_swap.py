"""Counterfactual: whether the prediction changes when the same object is redrawn on another background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from camal_rl.runs.results import Result, ResultKey, Results
from camal_rl.supervised.data.samples import Sample

_CHUNK = 32
Predict = Callable[[Tensor], Tensor]
"""Predicts classes ``int64 (B,)`` for images ``uint8 (B, 3, H, W)``."""


@runtime_checkable
class RedrawsBackground(Protocol):
    """An image set that can redraw an image on another background with everything else unchanged."""

    textures: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index``."""

    def background(self, index: int) -> int:
        """Return the background of the image at ``index``, an index into ``textures``."""

    def on_background(self, index: int, texture: int, texture_seed: int) -> Sample:
        """Return the image on another background, or on a new drawing of its own background."""


def background_swap(predict: Predict, images: RedrawsBackground, seed: int, level_set: str | None = None) -> Results:
    """Return how often the predicted class changes with the background.

    Args:
        predict: the classifier.
        images: a set that can redraw its images.
        seed: seed of the redrawn backgrounds.
        level_set: name of the set in the results.

    Returns:
        ``background_flips``: share of the pairs of an image and another texture whose prediction differs from that of
        the image; with the control ``any``: share of the images that any other texture flips; with the control
        ``same_texture``: share of the images whose prediction differs on a new drawing of their own texture, the effect
        of redrawing alone. ``accuracy_swapped``: accuracy on the pairs.
    """
    other: list[Tensor] = []
    same: list[Tensor] = []
    right: list[Tensor] = []
    for start in range(0, len(images), _CHUNK):
        indices = range(start, min(start + _CHUNK, len(images)))
        samples = [images[index] for index in indices]
        before = predict(torch.stack([sample.image for sample in samples]))
        labels = torch.tensor([sample.label for sample in samples])
        drawn = [_own_first(images, index, seed) for index in indices]
        textures = len(images.textures)
        after = predict(torch.stack([image for each in drawn for image in each])).view(len(samples), textures)
        changed = after != before[:, None]
        same.append(changed[:, 0])
        other.append(changed[:, 1:])
        right.append(after[:, 1:] == labels[:, None])
    flips = torch.cat(other)
    shares: dict[ResultKey, Tensor] = {
        ResultKey("background_flips"): flips,
        ResultKey("background_flips", control="any"): flips.any(dim=1),
        ResultKey("background_flips", control="same_texture"): torch.cat(same),
        ResultKey("accuracy_swapped"): torch.cat(right),
    }
    return Results(
        Result(
            figure=key.figure, level_set=level_set, control=key.control, value=float(found.float().mean()),
            count=found.numel(),
        )
        for key, found in shares.items()
    )  # fmt: skip


def _own_first(images: RedrawsBackground, index: int, seed: int) -> list[Tensor]:
    """Return an image on a new drawing of its own texture, then on each of the others."""
    own = images.background(index)
    order = [own, *(texture for texture in range(len(images.textures)) if texture != own)]
    return [images.on_background(index, texture, seed).image for texture in order]

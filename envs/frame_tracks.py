"""Recorded images and label maps, and how well their changes agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap

Image = npt.NDArray[Any]

ORIENTATIONS: Mapping[str, Callable[[LabelMap], LabelMap]] = {
    "flipped left to right": lambda labels: labels[:, ::-1],
    "flipped upside down": lambda labels: labels[::-1],
    "turned by 180 degrees": lambda labels: labels[::-1, ::-1],
    "transposed": lambda labels: labels.T,
    # np.rot90 turns to the left, which corrects a turn to the right.
    "turned by 90 degrees to the left": lambda labels: np.rot90(labels, -1),
    "turned by 90 degrees to the right": lambda labels: np.rot90(labels),
    "transposed and turned by 180 degrees": lambda labels: labels.T[::-1, ::-1],
}
"""Orientations that label maps can have by mistake, and the function that corrects a square label map."""


@dataclass
class Track:
    """The frames of one environment: images, masks, and which frames came from a reset."""

    images: list[Image] = field(default_factory=list)
    masks: list[LabelMap] = field(default_factory=list)
    starts: list[bool] = field(default_factory=list)

    def add(self, image: Image, mask: LabelMap, start: bool) -> None:
        """Append a frame; both arrays are copied."""
        self.images.append(np.array(image))
        self.masks.append(mask.copy())
        self.starts.append(start)

    def image_changes(self, frame: int, across_reset: bool = False) -> npt.NDArray[np.bool_] | None:
        """Return where the image changes from ``frame`` to the next one, bool[H, W]; ``None`` if there is no such pair.

        Args:
            frame: number of the frame.
            across_reset: whether the next frame must be the first of an episode, instead of one of the same episode.
        """
        if not 0 <= frame < len(self.masks) - 1 or self.starts[frame + 1] != across_reset:
            return None
        changed = np.asarray(self.images[frame] != self.images[frame + 1])
        return changed.any(axis=0) if changed.shape[1:] == self.masks[frame].shape else changed.any(axis=-1)

    def mask_changes(self, frame: int) -> npt.NDArray[np.bool_]:
        """Return where the mask changes from ``frame`` to the next one, bool[H, W]."""
        return self.masks[frame] != self.masks[frame + 1]

    def turned(self, turn: Callable[[LabelMap], LabelMap]) -> Track:
        """Return the same images with each mask changed by ``turn``."""
        return Track(self.images, [turn(mask) for mask in self.masks], self.starts)


def agreement(tracks: Sequence[Track], shift: int = 0, after_reset: bool | None = None) -> tuple[float, int]:
    """Return the share of the changing mask pixels that change in the image too, and the number of changing pixels.

    Args:
        tracks: the frames.
        shift: compare the mask's step ``t`` with the image's step ``t + shift``.
        after_reset: ``True``: only the first step of each episode; ``False``: only the other steps; ``None``: all.
    """
    hits, total = 0, 0
    for track in tracks:
        for frame in range(len(track.masks) - 1):
            if track.starts[frame + 1] or (after_reset is not None and track.starts[frame] != after_reset):
                continue
            image = track.image_changes(frame + shift)
            if image is not None:
                mask = track.mask_changes(frame)
                hits += int((mask & image).sum())
                total += int(mask.sum())
    return (hits / total if total else 0.0), total


def agreement_across_resets(tracks: Sequence[Track]) -> tuple[float, int]:
    """Return :func:`agreement` of the changes from the last frame of each episode to the first of the next one."""
    hits, total = 0, 0
    for track in tracks:
        for frame in range(len(track.masks) - 1):
            image = track.image_changes(frame, across_reset=True)
            if image is not None:
                mask = track.mask_changes(frame)
                hits += int((mask & image).sum())
                total += int(mask.sum())
    return (hits / total if total else 0.0), total

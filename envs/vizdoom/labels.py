"""The engine's labels, whose values change from frame to frame, as label maps with fixed ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap, SegmentationSpec
from camal_rl.envs.vizdoom.scenarios import OTHER, class_of_object
from camal_rl.envs.wrappers import resize_labels


class EngineLabel(Protocol):
    """What the engine says about one object in view."""

    value: int
    object_name: str
    object_category: str


class LabelPainter:
    """Turns the engine's labels buffers into label maps.

    A pixel of a smaller map shows the mean of several of the engine's pixels; it goes to the object that covers most of
    it, from a quarter on: at half the engine's size, to every object that any part of it shows.
    """

    def __init__(self, spec: SegmentationSpec, size: tuple[int, int]) -> None:
        """Paint the ids of ``spec`` on maps of ``size`` (H, W)."""
        self._ids = {name: label for label, name in enumerate(spec.names)}
        self._size = size

    def paint(self, buffer: npt.NDArray[np.uint8], labels: Iterable[EngineLabel]) -> LabelMap:
        """Return the label map uint8[H, W] of a labels buffer uint8[h, w]; values without a label are background."""
        lookup = np.zeros(256, dtype=np.uint8)
        for label in labels:
            kind = class_of_object(label.object_name, label.object_category)
            lookup[label.value] = self._ids.get(kind, self._ids[OTHER])
        return resize_labels(lookup.take(buffer), *self._size)

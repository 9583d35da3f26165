"""Converts the engine's labels, whose values change from frame to frame, to label maps with fixed ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap, SegmentationSpec
from camal_rl.envs.vizdoom.scenarios import OTHER, class_of_object
from camal_rl.envs.wrappers import resize_labels


class EngineLabel(Protocol):
    """The engine's data about one object in view."""

    value: int
    object_name: str
    object_category: str


class LabelPainter:
    """Converts the engine's labels buffers to label maps.

    A pixel of a smaller map covers several of the engine's pixels. It gets the class that covers most of it, if that
    class covers at least a quarter: at half the engine's size, a single pixel of the engine is enough.
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

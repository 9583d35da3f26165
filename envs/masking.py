"""Maskings: ways to mask images for an agent that sees only objects.

They are the abstractions of "Deep Reinforcement Learning via Object-Centric Attention" (Blüml et al. 2025, arXiv
2504.03024, OCCAM): objects keep their pixels, or become white, or get one gray per class; everything else is black. An
agent that is trained with a masking also needs masks to act. :class:`camal_rl.envs.masked_vec.MaskedVecEnv` applies
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap, SegmentationSpec
from camal_rl.registry import Registry

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Masking:
    """One way to show only objects.

    Attributes:
        draw: ``(images, labels, spec)`` to what the agent sees: images ``uint8[N, H, W, C]`` and label maps
            ``uint8[N, H, W]`` to ``uint8[N, H, W, C']``. Each output pixel may depend only on the same pixel and its
            label. The arguments must not be modified.
        channels: maps the number of channels ``C`` of an image to ``C'``.
    """

    draw: Callable[[Images, LabelMap, SegmentationSpec], Images]
    channels: Callable[[int], int]


def object_mask(images: Images, labels: LabelMap, spec: SegmentationSpec) -> Images:
    """Return the pixels of all objects, whatever their class, on black."""
    return np.where(labels[..., None] > 0, images, np.uint8(0))


def relevant_mask(images: Images, labels: LabelMap, spec: SegmentationSpec) -> Images:
    """Return the pixels of objects of the relevant classes on black; not in the paper."""
    return np.where(spec.relevant_lookup()[labels][..., None], images, np.uint8(0))


def binary_mask(images: Images, labels: LabelMap, spec: SegmentationSpec) -> Images:
    """Return one channel: all objects white, on black."""
    return np.where(labels[..., None] > 0, np.uint8(255), np.uint8(0))


def class_mask(images: Images, labels: LabelMap, spec: SegmentationSpec) -> Images:
    """Return one channel: the objects of each class in a gray of its own, on black.

    Class ``k`` of ``n`` besides the background has the gray ``k * (255 // n)``.
    """
    ids = np.arange(256)
    named = max(len(spec.names) - 1, 1)
    grays = np.where(ids <= named, ids * (255 // named), 0).astype(np.uint8)
    return np.asarray(grays[labels][..., None])


def _same(channels: int) -> int:
    return channels


def _one(channels: int) -> int:
    return 1


MASKINGS: Registry[Masking] = Registry(
    "masking",
    {
        "object_mask": Masking(object_mask, _same),
        "binary_mask": Masking(binary_mask, _one),
        "class_mask": Masking(class_mask, _one),
        "relevant_mask": Masking(relevant_mask, _same),
    },
    group="camal_rl.maskings",
)
"""The maskings by name; your own is a :class:`Masking`, registered here or given as ``package.module:name``."""


def find_masking(name: str) -> Masking:
    """Return the masking of a name or path.

    Raises:
        ValueError: unknown name (the message names the nearest known one), or a path that cannot be imported.
        TypeError: the object found is not a masking.
    """
    found = MASKINGS.find(name)
    if not isinstance(found, Masking):
        raise TypeError(f"a masking must be a camal_rl.envs.Masking(draw, channels), got {found!r} for {name!r}")
    return found

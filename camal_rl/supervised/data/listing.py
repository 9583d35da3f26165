"""The listing of an image set, available without reading images: labels, and which images have a mask."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from camal_rl.supervised.data.samples import ImageSet


class Listing(NamedTuple):
    """Labels ``int64 (N,)``, and whether each image has a mask, ``bool (N,)``."""

    labels: npt.NDArray[np.int64]
    has_mask: npt.NDArray[np.bool_]


@runtime_checkable
class HasListing(Protocol):
    """An image set with a listing; every set of this package has one."""

    def listing(self) -> Listing:
        """Return the listing without reading an image."""


@runtime_checkable
class CountsLostMasks(Protocol):
    """An image set that resizes images and counts the masks that were too small."""

    def lost_masks(self) -> int:
        """Return how many of the masks read so far had no pixel left."""


@runtime_checkable
class RemembersLostMasks(Protocol):
    """An image set that records which masks were too small, for checkpoints.

    Attributes:
        lost_flags: ``bool (N,)``, whether the mask of each image had no pixel left so far.
    """

    lost_flags: Tensor


def lost_masks(images: ImageSet) -> int:
    """Return how many masks of a set were too small for resizing so far; 0 for a set that does not resize."""
    return images.lost_masks() if isinstance(images, CountsLostMasks) else 0


def lost_masks_line(images: ImageSet) -> str | None:
    """Return a line about the masks that were too small for resizing, ``None`` if there are none."""
    lost = lost_masks(images)
    if not lost:
        return None
    return (
        f"{lost} of {int(listing_of(images).has_mask.sum())} masks are too small for the image size: no pixel is left, "
        "and their images count as without a mask; raise data.image_size to use them"
    )


def listing_of(images: ImageSet) -> Listing:
    """Return the listing of any image set; a set without one is read once as a whole."""
    if isinstance(images, HasListing):
        return images.listing()
    samples = [(sample.label, sample.has_mask) for sample in (images[index] for index in range(len(images)))]
    labels, has_mask = zip(*samples, strict=True) if samples else ((), ())
    return Listing(np.array(labels, dtype=np.int64), np.array(has_mask, dtype=np.bool_))


def check_index(index: int, length: int) -> None:
    """Raise an IndexError unless ``index`` is in [0, length); this also ends a ``for`` loop over an image set."""
    if not 0 <= index < length:
        raise IndexError(f"index {index} is not in [0, {length})")

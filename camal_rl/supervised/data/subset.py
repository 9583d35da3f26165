"""Parts of an image set: a selection of its images, and a split of every class in two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_number, check_seed
from camal_rl.supervised.data.listing import Listing, check_index, listing_of
from camal_rl.supervised.data.samples import ImageSet, Sample


class Subset:
    """Some images of an image set, in the given order."""

    def __init__(self, images: ImageSet, indices: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Keep the images at ``indices``."""
        self.classes, self.groups = images.classes, images.groups
        self.images, self.indices = images, np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index`` of the selection."""
        check_index(index, len(self.indices))
        return self.images[int(self.indices[index])]

    def listing(self) -> Listing:
        """Return labels and masks of the selection."""
        labels, has_mask = listing_of(self.images)
        return Listing(labels[self.indices], has_mask[self.indices])


def held_out(images: ImageSet, fraction: float, seed: int, name: str = "fraction") -> tuple[Subset, Subset]:
    """Split a set in two by class: ``(kept, held out)``, both in the order of the set.

    Of ``n`` images of a class, ``round(fraction n)`` are held out, at least one if ``fraction > 0``, and never all.

    Args:
        images: the set.
        fraction: share to hold out, in [0, .9].
        seed: seed of the choice.
        name: the user's name of ``fraction``, for messages.

    Raises:
        TypeError, ValueError: the fraction or the seed is out of range, or a class has only one image.
    """
    check_number(name, fraction, 0.0, 0.9)
    check_seed("seed", seed)
    labels = listing_of(images).labels
    generator = np.random.default_rng((seed, 1))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, class_name in enumerate(images.classes):
        members = generator.permutation(np.flatnonzero(labels == label))
        if fraction > 0 and len(members) == 1:
            raise ValueError(f"class {class_name!r} has one image, which cannot be split; set {name}=0 or add images")
        count = min(share_of(fraction, len(members)), max(len(members) - 1, 0))
        chosen[members[:count]] = True
    return Subset(images, np.flatnonzero(~chosen)), Subset(images, np.flatnonzero(chosen))


def share_of(fraction: float, count: int) -> int:
    """Return ``fraction * count``, rounded; at least one if both are above 0."""
    return min(count, max(1, round(fraction * count))) if fraction > 0 else 0

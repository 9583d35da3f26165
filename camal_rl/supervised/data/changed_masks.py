"""Training images whose masks are worse than the true ones, to study how exact masks have to be."""

from __future__ import annotations

import torch

from camal_rl.mask_changes import MaskChange, changed_masks, check_mask_change
from camal_rl.supervised.data.listing import Listing, listing_of
from camal_rl.supervised.data.samples import ImageSet, Sample


class ChangedMasks:
    """An image set whose masks are changed by :func:`camal_rl.mask_changes.changed_masks`."""

    def __init__(self, images: ImageSet, change: MaskChange, amount: float = 0.0) -> None:
        """Wrap an image set.

        Args:
            images: the set.
            change: the change of its masks.
            amount: the amount of this change, in [0, 1].

        Raises:
            TypeError, ValueError: the change is unknown, or the amount is out of range.
        """
        check_mask_change(change, amount)
        self.classes, self.groups, self.images = images.classes, images.groups, images
        self.change, self.amount = change, amount

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index`` with its changed mask, or without one if no pixel of it is left."""
        sample = self.images[index]
        changed = torch.from_numpy(changed_masks(sample.mask.numpy()[None], self.change, self.amount)[0])
        return sample._replace(mask=changed, has_mask=sample.has_mask and bool(changed.any()))

    def listing(self) -> Listing:
        """Return the labels, and which images have a mask."""
        return Listing(*listing_of(self.images))

"""Restricts masks to a share of the images, to study the benefit of annotating only 1 % or 10 % of a data set."""

from __future__ import annotations

import numpy as np
import torch

from camal_rl.argument_checks import check_number, check_seed
from camal_rl.supervised.data.listing import Listing, listing_of
from camal_rl.supervised.data.samples import ImageSet, Sample
from camal_rl.supervised.data.subset import share_of


class MaskFraction:
    """An image set in which only a share of the images keep their masks; the others are only used for classification.

    Of ``n`` images of a class, ``round(fraction n)`` keep their masks, at least one if ``fraction > 0``. They are
    chosen by ``seed`` among those that have one. The choices are nested: with the same seed, images that keep their
    mask at 1 % also keep it at 10 %.
    """

    def __init__(self, images: ImageSet, fraction: float, seed: int = 0) -> None:
        """Choose the images that keep their mask.

        Args:
            images: the set.
            fraction: share of the images, in [0, 1].
            seed: seed of the choice.

        Raises:
            TypeError, ValueError: the fraction or the seed is out of range.
        """
        check_number("mask_fraction", fraction, 0.0, 1.0)
        check_seed("seed", seed)
        self.classes, self.groups, self.images = images.classes, images.groups, images
        self._labels, has_mask = listing_of(images)
        generator = np.random.default_rng((seed, 2))
        self._keeps = np.zeros(len(self._labels), dtype=np.bool_)
        for label in range(len(images.classes)):
            of_class = self._labels == label
            marked = generator.permutation(np.flatnonzero(of_class & has_mask))
            self._keeps[marked[: share_of(fraction, int(of_class.sum()))]] = True

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index``, without its mask unless that was kept."""
        sample = self.images[index]
        if self._keeps[index]:
            return sample
        return sample._replace(mask=torch.zeros_like(sample.mask), has_mask=False)

    def listing(self) -> Listing:
        """Return the labels, and which images keep a mask."""
        return Listing(self._labels, self._keeps)

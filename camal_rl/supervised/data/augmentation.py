"""Resizing, and random crops, flips and colors that keep image and mask aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from camal_rl.argument_checks import check_integer, check_number, check_seed
from camal_rl.supervised.data.listing import Listing, check_index, listing_of
from camal_rl.supervised.data.samples import ImageSet, Sample

CROP_ATTEMPTS = 10
_ASPECT = 4 / 3  # Largest ratio of width to height of a crop; the smallest is its inverse.
_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Luma of Rec. 601.


class _Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation of training images.

    Attributes:
        crop_area: smallest share of the image's area in a random crop, in (0, 1]; 1 keeps the whole image.
        flip: probability of a horizontal flip.
        jitter: brightness, contrast and saturation are each multiplied by a number in [1 - jitter, 1 + jitter].
    """

    crop_area: float = 0.5
    flip: float = 0.5
    jitter: float = 0.2

    def __post_init__(self) -> None:
        """Check ranges."""
        check_number("augment.crop_area", self.crop_area, 0.01, 1.0)
        check_number("augment.flip", self.flip, 0.0, 1.0)
        check_number("augment.jitter", self.jitter, 0.0, 0.9)


class Resized:
    """An image set resized to squares of one size; whole images, so nothing of the mask is cut off.

    Images are averaged if they shrink and interpolated if they grow; masks use the nearest pixel. A mask that has no
    pixel left counts as missing (``has_mask`` is False), not as empty; :meth:`lost_masks` counts such masks.
    """

    def __init__(self, images: ImageSet, size: int) -> None:
        """Resize ``images`` to ``size`` x ``size`` pixels."""
        check_integer("image_size", size, 8, 4096)
        self.classes, self.groups, self.images, self._size = images.classes, images.groups, images, size
        self.lost_flags = _no_flags(len(images))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index`` in its new size."""
        sample = self.images[index]
        if sample.mask.shape == (self._size, self._size):
            return sample
        height, width = sample.mask.shape
        image, mask = _cut(_pixels(sample), sample.mask.numpy(), _Window(0, 0, height, width), self._size)
        resized = _with(sample, image, mask)
        if sample.has_mask and not resized.has_mask:
            self.lost_flags[index] = True
        return resized

    def lost_masks(self) -> int:
        """Return how many of the masks read so far had no pixel left at the new size."""
        return int(self.lost_flags.sum())

    def listing(self) -> Listing:
        """Return the listing of the images."""
        return listing_of(self.images)


class Augmented:
    """An image set for training: random crops, flips and colors, determined by seed, epoch and index.

    A crop is drawn up to :data:`CROP_ATTEMPTS` times until it contains some of the mask; if none does, the whole image
    is used. If the mask is then too small for the new size, ``has_mask`` is False in this epoch, so ``has_mask`` always
    says whether the mask has a pixel. An image without a mask uses the first crop.
    """

    def __init__(self, images: ImageSet, size: int, seed: int = 0, augmentation: Augmentation = Augmentation()) -> None:
        """Augment ``images`` and resize them to ``size`` x ``size`` pixels."""
        check_integer("image_size", size, 8, 4096)
        check_seed("seed", seed)
        self.classes, self.groups, self.images = images.classes, images.groups, images
        self._size, self._seed, self._augmentation = size, seed, augmentation
        # In shared memory, so that persistent workers see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.lost_flags = _no_flags(len(images))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        """Select the samples of another epoch; call this before each pass over the set."""
        check_integer("epoch", epoch, 0, 2**31)
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Sample:
        """Return this epoch's augmentation of the sample at ``index``."""
        check_index(index, len(self.images))
        sample = self.images[index]
        generator = np.random.default_rng((self._seed, int(self._epoch), index, 3))
        image, mask = self._crop(_pixels(sample), sample.mask.numpy(), generator)
        if generator.random() < self._augmentation.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        drawn = _with(sample, _jittered(image, self._augmentation.jitter, generator), mask)
        if sample.has_mask and not drawn.has_mask:
            self.lost_flags[index] = True
        return drawn

    def lost_masks(self) -> int:
        """Return how many masks had no pixel left at the new size in at least one epoch so far."""
        return int(self.lost_flags.sum())

    def listing(self) -> Listing:
        """Return the listing of the images."""
        return listing_of(self.images)

    def _crop(
        self, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        has_mask = mask.any()
        for _ in range(CROP_ATTEMPTS):
            window = _random_window(mask.shape, self._augmentation.crop_area, generator)
            cut_image, cut_mask = _cut(image, mask, window, self._size)
            if cut_mask.any() or not has_mask:
                return cut_image, cut_mask
        return _cut(image, mask, _Window(0, 0, *mask.shape), self._size)


def _no_flags(count: int) -> torch.Tensor:
    """Return ``bool (count,)``, all False, in shared memory, so that flags set by workers are visible to all."""
    return torch.zeros(count, dtype=torch.bool).share_memory_()


def _random_window(shape: tuple[int, ...], least_area: float, generator: np.random.Generator) -> _Window:
    """Draw a crop: uniform area, log-uniform aspect ratio relative to the image's, uniform position."""
    area = generator.uniform(least_area, 1)
    # Neither side may be longer than the image's, so |log aspect| is at most |log area|.
    bound = min(np.log(_ASPECT), abs(np.log(area)))
    stretch = np.exp(generator.uniform(-bound, bound) / 2)
    height = min(shape[0], max(1, round(shape[0] * np.sqrt(area) / stretch)))
    width = min(shape[1], max(1, round(shape[1] * np.sqrt(area) * stretch)))
    top, left = generator.integers(0, shape[0] - height + 1), generator.integers(0, shape[1] - width + 1)
    return _Window(int(top), int(left), height, width)


def _cut(
    image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], window: _Window, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return a window of image ``(H, W, 3)`` and mask ``(H, W)`` at the new size.

    OpenCV's exact nearest neighbor has the same pixel centers as the image's interpolation; its plain one is off by up
    to half a pixel.
    """
    rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
    image, mask = image[rows, columns], mask[rows, columns]
    if mask.shape == (size, size):
        return image, mask
    shrinks = min(mask.shape) >= size
    smooth = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    whole = np.ascontiguousarray(mask).view(np.uint8)
    nearest = cv2.resize(whole, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(smooth, dtype=np.uint8), nearest.view(np.bool_)


def _jittered(image: npt.NDArray[np.uint8], strength: float, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Change brightness, then contrast about the mean gray, then saturation about each pixel's gray."""
    if strength == 0:
        return image
    brightness, contrast, saturation = generator.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    values = image.astype(np.float32) * brightness
    gray = values @ _GRAY
    mean = gray.mean()
    pale = (gray - mean) * contrast + mean
    # Contrast is affine and the same in all channels, so it only scales a pixel's distance from its gray.
    values = pale[..., None] + (values - gray[..., None]) * (contrast * saturation)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _pixels(sample: Sample) -> npt.NDArray[np.uint8]:
    """Return a sample's image as ``(H, W, 3)``, the format of OpenCV."""
    return np.ascontiguousarray(sample.image.numpy().transpose(1, 2, 0))


def _with(sample: Sample, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> Sample:
    """Return the sample with another image ``(H, W, 3)`` and mask ``(H, W)``; ``has_mask`` if a pixel is marked."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    mask = np.ascontiguousarray(mask)
    return sample._replace(image=planes, mask=torch.from_numpy(mask), has_mask=bool(mask.any()))

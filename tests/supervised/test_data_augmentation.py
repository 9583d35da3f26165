"""Augmentation: image and mask stay aligned, draws follow (seed, epoch, index), a mask is never lost silently."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from camal_rl.supervised.data import Augmentation, Augmented, Resized, Sample, collate

HEIGHT, WIDTH = 40, 60
ROW_STEP, COLUMN_STEP = 6, 4


class Images:
    """Samples in memory."""

    classes = ("one", "two")
    groups = ("all",)

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def coordinates():
    """An image whose red is the column and whose green is the row: it says of each pixel where it came from."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns * COLUMN_STEP, rows * ROW_STEP, rows * 0]).astype(np.uint8)


def sample(mask, label=0, image=None):
    pixels = coordinates() if image is None else image
    return Sample(torch.from_numpy(pixels), label, torch.from_numpy(mask), bool(mask.any()), 0)


def speckles(seed=0):
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4


def check_alignment(result, source_mask):
    """Look each pixel's origin up in the source mask, but where it is too near to two pixels; return how often not."""
    column, row = result.image[0].double() / COLUMN_STEP, result.image[1].double() / ROW_STEP
    clear = ((column - column.floor() - 0.5).abs() > 0.15) & ((row - row.floor() - 0.5).abs() > 0.15)
    expected = torch.from_numpy(source_mask)[row.round().long(), column.round().long()]
    assert torch.equal(result.mask[clear], expected[clear])
    assert result.has_mask == bool(result.mask.any())
    return float(clear.float().mean())


@pytest.mark.parametrize("size", [16, 40, 97])
def test_crops_and_flips_keep_every_pixel_s_mask(size):
    mask = speckles()
    images = Augmented(Images([sample(mask)]), size, augmentation=Augmentation(crop_area=0.2, flip=0.5, jitter=0))
    areas, flips, told = [], [], []
    for epoch in range(60):
        images.set_epoch(epoch)
        result = images[0]
        assert result.image.shape == (3, size, size)
        told.append(check_alignment(result, mask))
        red = result.image[0].double()
        flips.append(bool(red[0, 0] > red[0, -1]))
        spread = (red.max() - red.min()) / COLUMN_STEP * (result.image[1].max() - result.image[1].min()) / ROW_STEP
        areas.append(float(spread) / (HEIGHT * WIDTH))
    assert np.mean(told) > 0.3
    assert 12 < sum(flips) < 48
    assert min(areas) < 0.35
    assert max(areas) > 0.7


@pytest.mark.parametrize("size", [16, 97])
def test_resizing_keeps_every_pixel_s_mask(size):
    mask = speckles(1)
    result = Resized(Images([sample(mask)]), size)[0]
    assert check_alignment(result, mask) > 0.3
    assert result.image[0].max() >= COLUMN_STEP * (WIDTH - 3)
    assert result.image[0].min() <= COLUMN_STEP * 2


def test_resizing_to_the_same_size_changes_nothing():
    square = np.ascontiguousarray(coordinates()[:, :, :HEIGHT])
    source = sample(speckles()[:, :HEIGHT].copy(), image=square)
    assert Resized(Images([source]), HEIGHT)[0] is source


def test_without_anything_to_vary_only_the_size_changes():
    source = Images([sample(speckles())])
    plain = Augmented(source, 32, augmentation=Augmentation(crop_area=1, flip=0, jitter=0))[0]
    resized = Resized(source, 32)[0]
    assert torch.equal(plain.image, resized.image)
    assert torch.equal(plain.mask, resized.mask)


def test_flip_of_one_mirrors():
    source = Images([sample(speckles())])
    mirrored = Augmented(source, 32, augmentation=Augmentation(crop_area=1, flip=1, jitter=0))[0]
    resized = Resized(source, 32)[0]
    assert torch.equal(mirrored.image, resized.image.flip(2))
    assert torch.equal(mirrored.mask, resized.mask.flip(1))


def test_crops_are_redrawn_until_the_mask_is_in():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:6, :6] = True
    images = Augmented(Images([sample(mask)]), 64, augmentation=Augmentation(crop_area=0.1, flip=0, jitter=0))
    corners = 0
    for epoch in range(60):
        images.set_epoch(epoch)
        assert images[0].has_mask
        corners += int(images[0].image[0].max()) < COLUMN_STEP * (WIDTH - 5)
    assert corners > 20  # Most crops are real ones, not the whole image.


def test_a_mask_too_small_for_the_size_is_no_mask():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[0, 0] = True  # The center of the first of 8 x 8 cells is pixel (2, 3).
    images = Images([sample(mask)])
    for wrapped in (Resized(images, 8), Augmented(images, 8, augmentation=Augmentation(1, 0, 0))):
        assert not wrapped[0].has_mask
        assert not wrapped[0].mask.any()


def test_an_image_without_a_mask_stays_so():
    result = Augmented(Images([sample(np.zeros((HEIGHT, WIDTH), dtype=bool))]), 24)[0]
    assert not result.has_mask
    assert result.mask.shape == (24, 24)


def test_draws_follow_seed_epoch_and_index():
    source = Images([sample(speckles()) for _ in range(3)])
    images, again, other = Augmented(source, 24, 5), Augmented(source, 24, 5), Augmented(source, 24, 6)
    first = [images[index].image for index in range(3)]
    assert all(torch.equal(again[index].image, first[index]) for index in reversed(range(3)))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0].image)
    images.set_epoch(1)
    assert not torch.equal(first[0], images[0].image)
    images.set_epoch(0)
    assert torch.equal(first[0], images[0].image)


def test_workers_that_stay_see_the_next_epoch():
    images = Augmented(Images([sample(speckles()) for _ in range(4)]), 16)
    loader = DataLoader(images, 4, collate_fn=collate, num_workers=2, persistent_workers=True)
    for epoch in range(2):
        images.set_epoch(epoch)
        (batch,) = loader
        assert torch.equal(batch.images, collate([images[index] for index in range(4)]).images)


def test_jitter_matches_its_formula():
    image = np.random.default_rng(3).integers(60, 180, (3, 16, 16)).astype(np.uint8)
    mask = np.ones((16, 16), dtype=bool)
    images = Augmented(Images([sample(mask, image=image)]), 16, augmentation=Augmentation(1, 0, 0.3))
    for epoch in range(20):
        images.set_epoch(epoch)
        result = images[0].image.double().numpy()
        luma = np.array([0.299, 0.587, 0.114])
        gray, before = np.einsum("c,chw->hw", luma, result), np.einsum("c,chw->hw", luma, image)
        # The brightness moves the mean; contrast and brightness scale gray about it; saturation scales color.
        assert 0.69 < gray.mean() / before.mean() < 1.31
        slope = np.polyfit(before.ravel(), gray.ravel(), 1)[0]
        assert 0.7**2 - 0.02 < slope < 1.3**2 + 0.02
        assert abs(gray - np.polyval(np.polyfit(before.ravel(), gray.ravel(), 1), before)).max() < 1.5
        distance = np.polyfit((image - before).ravel(), (result - gray).ravel(), 1)[0]
        assert 0.7 - 0.02 < distance / slope < 1.3 + 0.02


def test_jitter_leaves_the_mask_and_the_source_alone():
    source = sample(speckles())
    before = source.image.clone()
    Augmented(Images([source]), 32)[0]
    assert torch.equal(source.image, before)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"crop_area": 0}, ValueError, r"augment.crop_area must be in \[0.01, 1\], got 0"),
        ({"flip": 2}, ValueError, r"augment.flip must be in \[0, 1\], got 2"),
        ({"jitter": "strong"}, TypeError, "augment.jitter must be a number, got 'strong'"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        Augmentation(**settings)

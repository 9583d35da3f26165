"""ROAD's imputation: hand values, an iterative oracle, and its noise."""

import pytest
import torch

from camal_rl.metrics import remove_pixels
from camal_rl.metrics.road import NOISE, impute


def silent(images, removed):
    return impute(images, removed, torch.zeros(images.shape))


@pytest.mark.parametrize(
    ("image", "removed", "expected"),
    [
        ([[1.0, 0, 5]], [[0, 1, 0]], [[1.0, 3, 5]]),
        ([[0.0, 7, 7, 9]], [[0, 1, 1, 0]], [[0.0, 3, 6, 9]]),
        # The center: (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 12) / 12.
        (
            [[1.0, 2, 3], [4, 0, 6], [7, 8, 12]],
            [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
            [[1, 2, 3], [4, 63 / 12, 6], [7, 8, 12]],
        ),
        # A corner: two direct neighbors and one diagonal one, (2 * 4 + 2 * 6 + 10) / 5.
        ([[0.0, 4], [6, 10]], [[1, 0], [0, 0]], [[6.0, 4], [6, 10]]),
        # Nothing is left: the mean.
        ([[0.0, 4], [6, 10]], [[1, 1], [1, 1]], [[5.0, 5], [5, 5]]),
        ([[0.0, 4], [6, 10]], [[0, 0], [0, 0]], [[0.0, 4], [6, 10]]),
    ],
)
def test_by_hand(image, removed, expected):
    filled = silent(torch.tensor([[image]], dtype=torch.float64), torch.tensor([removed]).bool())
    torch.testing.assert_close(filled, torch.tensor([[expected]], dtype=torch.float64))


def relaxed(image, removed, sweeps=2000):
    """Return the fixed point of "every removed pixel is the weighted mean of its neighbors", pixel by pixel."""
    image = torch.where(removed, image.mean(), image).tolist()
    height, width = len(image), len(image[0])
    places = [(y, x) for y in range(height) for x in range(width) if removed[y, x]]
    for _ in range(sweeps):
        largest = 0.0
        for y, x in places:
            around = [
                (2 if (y == v) != (x == u) and (y == v or x == u) else 1, image[v][u])
                for v in range(max(0, y - 1), min(height, y + 2))
                for u in range(max(0, x - 1), min(width, x + 2))
                if (v, u) != (y, x)
            ]
            value = sum(weight * near for weight, near in around) / sum(weight for weight, _ in around)
            largest, image[y][x] = max(largest, abs(value - image[y][x])), value
        if largest < 1e-11:
            break
    return torch.tensor(image, dtype=torch.float64)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("size", [(5, 8), (8, 5)])
def test_equals_relaxation(share, size):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64)
    removed = torch.rand(2, *size, generator=generator) < share
    filled = silent(images, removed)
    for frame in range(2):
        for channel in range(3):
            torch.testing.assert_close(filled[frame, channel], relaxed(images[frame, channel], removed[frame]))


def test_noise_is_a_share_of_the_range_at_removed_pixels_only():
    images = torch.zeros(1, 1, 40, 40)
    images[..., 20:] = 30
    removed = torch.zeros(1, 40, 40, dtype=torch.bool)
    removed[:, :, :10] = True
    filled = remove_pixels(images, removed, "road", torch.Generator().manual_seed(3))
    assert torch.equal(filled[..., 10:], images[..., 10:])
    noise = filled[..., :10]
    assert float(noise.std()) == pytest.approx(30 * NOISE, rel=0.15)  # 400 samples
    assert float(noise.mean()) == pytest.approx(0, abs=0.06)
    assert not torch.equal(filled, remove_pixels(images, removed, "road", torch.Generator().manual_seed(4)))
    flat = torch.full((1, 2, 4, 4), 0.7)
    torch.testing.assert_close(remove_pixels(flat, removed[:, :4, :4], "road"), flat)


def test_uint8_is_rounded_and_clipped_and_inputs_stay():
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    images[..., 4:] = 255
    removed = torch.ones(1, 8, 8, dtype=torch.bool)
    removed[:, :, ::4] = False
    copies = images.clone(), removed.clone()
    filled = impute(images, removed, torch.full(images.shape, -60.0))  # -60 * .01 * 255 = -153
    assert filled.dtype == torch.uint8
    assert filled[0, 0, 0].tolist()[0] == 0
    assert int(filled[0, 0, 0, 1]) == 0
    # Columns 4 and after: the last three hang on column 4, 255, alone.
    assert filled[0, 0, :, 5:].unique().tolist() == [102]
    torch.testing.assert_close((images, removed), copies)


@pytest.mark.gpu
def test_on_the_device_of_the_images():
    images, removed = torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8) > 0.5
    filled = remove_pixels(images.cuda(), removed.cuda(), "road")
    assert filled.device.type == "cuda"
    torch.testing.assert_close(filled.cpu(), remove_pixels(images, removed, "road"))

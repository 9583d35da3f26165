"""The generated benchmark, against facts that can be recomputed from its pixels."""

import math
import time
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from camal_rl.supervised.data import SpuriousShapes, collate
from camal_rl.supervised.data.outlines import SHAPES, shape_pixels
from camal_rl.supervised.data.textures import TEXTURES, texture_pattern


def equal(first, second):
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(first, second, strict=True))


def colors_of(sample, inside):
    chosen = sample.mask if inside else ~sample.mask
    return {tuple(color) for color in sample.image[:, chosen].T.tolist()}


def test_sample_has_the_contract_s_types():
    sample = SpuriousShapes(image_size=48)[5]
    assert sample.image.shape == (3, 48, 48)
    assert sample.image.dtype == torch.uint8
    assert sample.mask.shape == (48, 48)
    assert sample.mask.dtype == torch.bool
    assert (sample.label, sample.has_mask) == (1, True)


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_mask_is_exactly_the_pixels_of_the_shape_s_color(difficulty):
    images = SpuriousShapes(difficulty=difficulty, num_classes=6)
    for index in range(60):
        sample = images[index]
        (shape,) = colors_of(sample, inside=True)
        background = colors_of(sample, inside=False)
        assert len(background) == 2
        assert shape not in background


def test_shape_never_touches_the_border():
    for sample in (SpuriousShapes(difficulty="easy", num_classes=6)[index] for index in range(120)):
        border = torch.cat([sample.mask[0], sample.mask[-1], sample.mask[:, 0], sample.mask[:, -1]])
        assert not border.any()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_the_area_of_the_disc(name):
    # OpenCV includes the pixels that an edge runs through, so a shape grows by about half a pixel all round.
    pixels = shape_pixels(name, 400, (199.0, 201.0), 100.0, 0.7)
    assert pixels.sum() == pytest.approx(math.pi * 100**2, rel=0.02)


def test_circle_and_square_are_where_they_should_be():
    rows, columns = np.mgrid[:200, :200]
    distance = np.hypot(columns - 90, rows - 110)
    circle = shape_pixels("circle", 200, (90.0, 110.0), 50.0, 0.3)
    assert circle[distance < 49].all()
    assert not circle[distance > 51.5].any()
    half = 50 * math.sqrt(math.pi) / 2  # Half the side of the square with the disc's area; unturned it is a diamond.
    square = shape_pixels("square", 200, (90.0, 110.0), 50.0, math.pi / 4)
    reach = np.maximum(abs(columns - 90), abs(rows - 110))
    assert square[reach < half - 1].all()
    assert not square[reach > half + 1].any()


def test_ring_has_a_hole():
    ring = shape_pixels("ring", 200, (100.0, 100.0), 50.0, 0.0)
    assert not ring[100, 100]
    assert ring[100, 100 + 50]


def test_textures_differ_in_their_statistics():
    # Pairs of equal neighbors at a distance of one pixel, and the share of the second color: two plain numbers.
    def statistics(name):
        rng = np.random.default_rng(0)
        patterns = np.stack([texture_pattern(name, 64, rng) for _ in range(40)])
        return np.array([(patterns[:, :, 1:] == patterns[:, :, :-1]).mean(), patterns.mean()])

    found = {name: statistics(name) for name in TEXTURES}
    assert found["fine_noise"][0] < 0.8 < found["stripes"][0] < found["coarse_noise"][0]
    assert found["coarse_noise"][0] > 0.92
    assert found["dots"][1] == pytest.approx(0.21, abs=0.05)
    assert found["stripes"][1] == pytest.approx(0.5, abs=0.03)
    assert found["checks"][1] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("split", "correlation", "own"),
    [("train", None, 0.95), ("train", 0.6, 0.6), ("validation", None, 0.95), ("test", None, 0.25), ("test", 0.8, 0.8)],
)
def test_backgrounds_come_with_the_asked_frequencies(split, correlation, own):
    number = 4000
    images = SpuriousShapes(split, length=number, correlation=correlation, seed=11)
    table = np.zeros((4, 4))
    for index in range(number):
        table[index % 4, images.background(index)] += 1
    shares = table / (number / 4)
    wanted = np.full((4, 4), (1 - own) / 3)
    np.fill_diagonal(wanted, own)
    # Five standard deviations of a share of 1,000 draws.
    assert (abs(shares - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 1000)).all()


def test_correlation_of_one_and_zero_are_exact():
    assert all(SpuriousShapes(correlation=1)[index].group == 5 * (index % 4) for index in range(100))
    never = SpuriousShapes(correlation=0)
    assert all(never.background(index) != index % 4 for index in range(200))


def test_groups_are_class_times_background():
    images = SpuriousShapes("test", num_classes=3)
    assert images.classes == ("circle", "triangle", "square")
    assert images.textures == ("stripes", "checks", "dots")
    assert images.groups[3 * 1 + 2] == "triangle on dots"
    for index in range(50):
        assert images[index].group == 3 * (index % 3) + images.background(index)
    assert images.listing().labels.tolist()[:5] == [0, 1, 2, 0, 1]
    assert images.listing().has_mask.all()


def test_counterfactual_keeps_the_shape_pixel_for_pixel():
    images = SpuriousShapes("test", num_classes=5)
    for index in range(15):
        original = images[index]
        for texture in range(5):
            redrawn = images.on_background(index, texture, texture_seed=7)
            assert torch.equal(redrawn.mask, original.mask)
            assert torch.equal(redrawn.image[:, redrawn.mask], original.image[:, original.mask])
            assert (redrawn.label, redrawn.group) == (original.label, 5 * original.label + texture)
            assert colors_of(redrawn, inside=False) <= colors_of(original, inside=False)
            changed = (redrawn.image != original.image).any(dim=0)[~original.mask].float().mean()
            assert changed > 0.05


def test_counterfactual_is_that_of_its_seed():
    images = SpuriousShapes("test")
    assert equal(images.on_background(3, 2, 1), images.on_background(3, 2, 1))
    assert not torch.equal(images.on_background(3, 2, 1).image, images.on_background(3, 2, 2).image)


def test_color_tells_neither_class_nor_shape():
    images = SpuriousShapes("train", correlation=1.0, length=1200)
    shape, ground = [], []
    for index in range(1200):
        sample = images[index]
        shape.append(sample.image[:, sample.mask][:, 0].numpy())
        ground.append(sample.image[:, 0, 0].numpy())
    shape, ground = np.array(shape, dtype=float), np.array(ground, dtype=float)
    # Uniform in [30, 225] and a step: mean 127.5, standard deviation about 58, so 1.7 for the mean of 1,200.
    assert abs(shape.mean(axis=0) - ground.mean(axis=0)).max() < 5 * 58 * np.sqrt(2 / 1200)
    assert abs(shape.std(axis=0) - ground.std(axis=0)).max() < 8
    by_class = np.array([shape[label::4].mean(axis=0) for label in range(4)])
    assert abs(by_class - 127.5).max() < 5 * 58 / np.sqrt(300)


def test_difficulty_sets_size_and_contrast():
    def measured(difficulty):
        sizes, contrasts = [], []
        for sample in (SpuriousShapes(difficulty=difficulty)[index] for index in range(60)):
            sizes.append(sample.mask.float().mean().item())
            (first, second), (shape,) = colors_of(sample, inside=False), colors_of(sample, inside=True)
            assert 36 - 2 < np.linalg.norm(np.array(first) - second) < 60 + 2  # Twice a step of 18 to 30, rounded.
            contrasts.append(np.linalg.norm((np.array(first) + second) / 2 - shape))
        return np.mean(sizes), np.mean(contrasts), np.min(contrasts)

    easy, medium, hard = (measured(difficulty) for difficulty in ("easy", "medium", "hard"))
    assert easy[0] > 1.3 * medium[0] > 1.3 * 1.3 * hard[0]
    assert easy[1] > medium[1] > hard[1]
    assert easy[2] > 100 > hard[2] > 30


def test_splits_and_seeds_share_no_image():
    pictures = {}
    for seed in (0, 1):
        for split in ("train", "validation", "test"):
            images = SpuriousShapes(split, length=100, correlation=1, seed=seed)
            for index in range(100):
                pictures[images[index].image.numpy().tobytes()] = (seed, split, index)
    assert len(pictures) == 600


def picture(index):
    return SpuriousShapes(seed=9)[index].image.numpy().tobytes()


def test_same_image_in_another_process_and_in_workers():
    images = SpuriousShapes(seed=9, length=24)
    with get_context("spawn").Pool(1) as pool:
        assert pool.map(picture, [5, 17]) == [images[index].image.numpy().tobytes() for index in (5, 17)]
    (batch,) = DataLoader(images, 24, collate_fn=collate, num_workers=2)
    assert equal(batch, collate([images[index] for index in range(24)]))


def test_order_of_access_does_not_matter_and_no_global_state_moves():
    images = SpuriousShapes(length=10)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    forward = [images[index] for index in range(10)]
    backward = [images[index] for index in reversed(range(10))][::-1]
    assert all(equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_drawing_is_fast_enough():
    images = SpuriousShapes(num_classes=6)
    images[0]
    started = time.process_time()
    for index in range(300):
        images[index]
    # 4,000 a second were measured; a tenth of it leaves room for a loaded machine, and still catches a slow path.
    assert 300 / (time.process_time() - started) > 400


def test_iteration_ends():
    assert len(list(SpuriousShapes(length=7))) == 7


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "dev"}, ValueError, "split must be one of 'train', 'validation', 'test', got 'dev'"),
        ({"difficulty": "insane"}, ValueError, "difficulty must be one of 'easy', 'medium', 'hard', got 'insane'"),
        ({"num_classes": 7}, ValueError, r"num_classes must be in \[2, 6\], got 7"),
        ({"correlation": 1.5}, ValueError, r"correlation must be in \[0, 1\], got 1.5"),
        ({"correlation": "much"}, TypeError, "correlation must be a number, got 'much'"),
        ({"length": 0}, ValueError, "length must be in"),
        ({"length": 2.5}, TypeError, "length must be an integer, got 2.5"),
        ({"image_size": 16}, ValueError, r"image_size must be in \[32, 1024\], got 16"),
        ({"seed": -1}, ValueError, "seed must be in"),
    ],
)
def test_bad_arguments_are_one_line(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        SpuriousShapes(**arguments)
    assert "\n" not in str(caught.value)


def test_bad_texture_is_refused():
    with pytest.raises(ValueError, match=r"texture must be in \[0, 3\], got 4"):
        SpuriousShapes().on_background(0, 4, 0)
    with pytest.raises(IndexError, match=r"index 10 is not in \[0, 10\)"):
        SpuriousShapes(length=10)[10]

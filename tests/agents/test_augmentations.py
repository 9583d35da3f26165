"""The augmentations of DrAC: each on a small image by hand, and what all of them keep."""

import pytest
import torch

from camal_rl.agents.augmentations import (
    AUGMENTATIONS,
    cutout,
    cutout_color,
    fill_box,
    filtered,
    flip,
    grayscale,
    quarter_turns,
    random_conv,
    rotate,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(channels=3, kind=torch.uint8, batch=5, side=16):
    pixels = torch.randint(0, 256, (batch, channels, side, side), dtype=torch.uint8, generator=generator())
    return pixels if kind == torch.uint8 else pixels.to(kind) / 255


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_type_shape_and_range_are_kept(name, kind, channels):
    given = images(channels, kind)
    before = given.clone()
    changed = AUGMENTATIONS[name](given, generator())
    assert (changed.dtype, changed.shape) == (given.dtype, given.shape)
    assert changed.min() >= 0
    assert changed.max() <= (255 if kind == torch.uint8 else 1)
    assert torch.equal(given, before)
    assert torch.equal(changed, given) == (name == "grayscale" and channels == 1)
    assert torch.equal(AUGMENTATIONS[name](given, generator()), changed)


def test_there_are_the_eight_of_the_paper():
    assert set(AUGMENTATIONS) == {
        *("crop", "grayscale", "cutout", "cutout_color", "flip", "rotate", "random_conv", "color_jitter")
    }


def test_grayscale_is_the_luma_of_every_frame():
    pixel = torch.tensor([100, 200, 50, 255, 0, 0], dtype=torch.uint8).view(1, 6, 1, 1)
    # .299 * 100 + .587 * 200 + .114 * 50 = 153, and .299 * 255 = 76.2.
    assert grayscale(pixel, generator()).flatten().tolist() == [153, 153, 153, 76, 76, 76]


def test_a_box_is_filled_with_a_color():
    image = torch.arange(1, 13).view(1, 1, 3, 4).expand(1, 2, 3, 4)
    filled = fill_box(image, torch.tensor([[1, 3]]), torch.tensor([[0, 2]]), torch.tensor([[0, 99]]))
    assert filled[0, 0].tolist() == [[1, 2, 3, 4], [0, 0, 7, 8], [0, 0, 11, 12]]
    assert filled[0, 1].tolist() == [[1, 2, 3, 4], [99, 99, 7, 8], [99, 99, 11, 12]]


@pytest.mark.parametrize("augment", [cutout, cutout_color])
def test_a_cut_out_box_has_sides_of_7_to_21_pixels_of_64_and_lies_anywhere(augment):
    given = torch.full((600, 6, 64, 64), -1.0)
    made = augment(given, generator())
    box = made[:, 0] != -1
    sides = [sorted(set(box.any(dim=axis).sum(dim=1).tolist())) for axis in (1, 2)]
    assert sides == [list(range(7, 22))] * 2
    assert box.any(dim=(0, 1)).all()
    assert box.any(dim=(0, 2)).all()
    for one, place in zip(made, box, strict=True):
        colors = one[:, place].unique(dim=1)
        assert colors.shape[1] == 1, "one color"
        assert torch.equal(colors[:3], colors[3:]), "that of all frames"
        assert place.sum() == place.any(dim=0).sum() * place.any(dim=1).sum(), "a box"
    assert (len(made[box[:, None].expand_as(made)].unique()) == 1) == (augment is cutout)


def test_half_of_the_images_are_mirrored_left_to_right():
    image = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = [each.tolist() for each in flip(image.expand(400, 1, 2, 3), generator())[:, 0]]
    assert found.count([[3, 2, 1], [6, 5, 4]]) + found.count(image.tolist()) == 400
    assert 150 < found.count([[3, 2, 1], [6, 5, 4]]) < 250


def test_quarter_turns_by_hand():
    image = torch.tensor([[1, 2], [3, 4]]).expand(4, 1, 2, 2)
    turned = quarter_turns(image, torch.tensor([0, 1, 2, 3]))[:, 0].tolist()
    assert turned == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_rotate_turns_squares_by_all_quarters_and_others_by_halves():
    square, wide = torch.arange(4).view(1, 1, 2, 2), torch.arange(6).view(1, 1, 2, 3)
    assert len({str(each.tolist()) for each in rotate(square.expand(100, 1, 2, 2), generator())}) == 4
    halves = {str(each.tolist()) for each in rotate(wide.expand(100, 1, 2, 3), generator())}
    assert halves == {"[[[0, 1, 2], [3, 4, 5]]]", "[[[5, 4, 3], [2, 1, 0]]]"}


def test_each_image_is_filtered_by_its_own_convolution():
    given = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).expand(2, 3, 2, 2)
    weights = torch.zeros(2, 3, 3, 3, 3)
    weights[0, 0, 1, 1, 1] = 2  # red of the first image is twice its green
    weights[1, 2, 0, 1, 2] = 1  # blue of the second is the red to the right, 0 beyond the border
    weights[1, 1, 0, 1, 1] = -1  # clipped
    made = filtered(given, weights)
    expected = torch.zeros(2, 3, 2, 2)
    expected[0, 0] = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    expected[1, 2] = torch.tensor([[0.2, 0.0], [0.4, 0.0]])
    torch.testing.assert_close(made, expected)


def test_a_random_convolution_has_xavier_weights_and_is_that_of_all_frames():
    impulse = torch.zeros(500, 3, 3, 3)
    impulse[:, :, 1, 1] = 1
    made = random_conv(impulse.repeat(1, 2, 1, 1), generator())
    assert torch.equal(made[:, :3], made[:, 3:])
    # A sum of three weights of variance 2 / 54, of which the positive half is left: 3 * (2 / 54) / 2, but for clipping.
    assert made.square().mean().item() == pytest.approx(3 / 54, rel=0.05)

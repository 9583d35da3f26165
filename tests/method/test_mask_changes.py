import numpy as np
import pytest

from camal_rl.mask_changes import MASK_CHANGES, changed_masks, kept_masks


def square(row=10, column=12, side=8, size=32):
    mask = np.zeros((1, size, size), dtype=np.bool_)
    mask[0, row : row + side, column : column + side] = True
    return mask


def test_dilation_adds_the_nearest_pixels_around_a_region():
    mask = square()
    grown = changed_masks(mask, "dilated", 0.5)
    assert grown[mask].all()
    assert grown.sum() == 96
    # 32 of the 36 pixels that touch the square: none is further away, and no side is left out.
    ring = square(9, 11, 10) & ~mask
    assert (grown & ~mask & ~ring).sum() == 0
    for side in (grown[0, 9], grown[0, 18], grown[0, :, 11], grown[0, :, 20]):
        assert side.sum() > 4


def test_erosion_takes_the_outermost_pixels_away():
    eroded = changed_masks(square(), "eroded", 0.25)
    assert eroded.sum() == 48
    assert eroded[square(11, 13, 6)].all()
    assert not (eroded & ~square()).any()


def test_erosion_leaves_a_pixel_of_every_region():
    mask = square() | square(2, 2, 1)
    eroded = changed_masks(mask, "eroded", 1.0)
    assert eroded.sum() == 2
    assert eroded[0, 2, 2]


def test_a_shift_moves_all_regions_together():
    mask = square(8, 8, 4) | square(18, 18, 4)
    shifted = changed_masks(mask, "shifted", 0.5)
    rows, columns = np.argwhere(shifted[0])[0] - (8, 8)
    assert np.hypot(rows, columns) == pytest.approx(2, abs=0.75)
    assert np.array_equal(shifted, square(8 + rows, 8 + columns, 4) | square(18 + rows, 18 + columns, 4))


def test_what_a_shift_moves_out_of_the_image_is_lost():
    mask = np.ones((1, 8, 8), dtype=np.bool_)
    shifted = changed_masks(mask, "shifted", 0.5)
    assert 0 < shifted.sum() < 64


def test_shifts_go_in_all_directions():
    moves = []
    for row in range(8, 16):
        mask = square(row)
        shifted = changed_masks(mask, "shifted", 0.5)
        moves.append(np.argwhere(shifted[0]).mean(axis=0) - np.argwhere(mask[0]).mean(axis=0))
    assert np.linalg.norm(moves, axis=1) == pytest.approx(np.full(8, 4.0), abs=0.75)
    assert len({tuple(np.sign(move)) for move in moves}) > 2


def test_boxes_fill_what_a_region_leaves_out_of_its_bounding_box():
    mask = square()
    mask[0, 10:14, 12:16] = False
    mask[0, 0, 0] = True
    boxes = changed_masks(mask, "boxes")
    assert np.array_equal(boxes[0], square()[0] | square(0, 0, 1)[0])


def test_regions_that_touch_at_a_corner_are_one():
    mask = square(4, 4, 4) | square(8, 8, 4)
    assert np.array_equal(changed_masks(mask, "boxes"), square(4, 4, 8))


def test_noise_misses_regions_and_invents_others_as_often():
    masks = np.concatenate([square(row, column, 4) for row in range(2, 26) for column in range(2, 26)])
    noisy = changed_masks(masks, "noisy", 0.3)
    missed = ~(noisy & masks).any(axis=(1, 2))
    invented = (noisy & ~masks).any(axis=(1, 2))
    assert missed.mean() == pytest.approx(0.3, abs=0.06)
    assert invented.mean() == pytest.approx(0.3, abs=0.06)


def test_noise_with_amount_1_moves_every_region():
    noisy = changed_masks(square(), "noisy", 1.0)
    assert noisy.sum() == 64
    assert not np.array_equal(noisy, square())


@pytest.mark.parametrize("change", MASK_CHANGES)
def test_equal_masks_are_changed_alike_and_the_original_stays(change):
    mask = square()
    first = changed_masks(np.concatenate([mask, square(3), mask]), change, 0.4)
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[:1], changed_masks(mask, change, 0.4))
    assert np.array_equal(mask, square())


@pytest.mark.parametrize("change", MASK_CHANGES)
def test_an_empty_mask_stays_empty(change):
    assert not changed_masks(np.zeros((2, 8, 8), dtype=np.bool_), change, 0.5).any()
    assert changed_masks(np.zeros((0, 8, 8), dtype=np.bool_), change, 0.5).shape == (0, 8, 8)


@pytest.mark.parametrize("change", ["dilated", "eroded", "shifted"])
def test_amount_0_changes_nothing(change):
    assert np.array_equal(changed_masks(square(), change, 0.0), square())


def test_a_whole_image_cannot_grow():
    mask = np.ones((1, 8, 8), dtype=np.bool_)
    assert changed_masks(mask, "dilated", 0.5).all()


def test_masks_that_are_kept_are_nested():
    masks = np.concatenate([square(row, column, 4) for row in range(2, 26) for column in range(2, 26)])
    tenth, half = (kept_masks(masks, fraction).any(axis=(1, 2)) for fraction in (0.1, 0.5))
    assert tenth.mean() == pytest.approx(0.1, abs=0.04)
    assert half.mean() == pytest.approx(0.5, abs=0.06)
    assert (half | ~tenth).all()
    assert np.array_equal(kept_masks(masks, 1.0), masks)
    assert not kept_masks(masks, 0.0).any()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((square(), "dilate", 0.1), "dilated"),
        ((square(), "dilated", 1.5), "mask_amount"),
        ((square()[0], "dilated", 0.5), "(N, H, W)"),
    ],
)
def test_arguments_are_checked(arguments, expected):
    with pytest.raises(ValueError, match=expected.replace("(", "\\(").replace(")", "\\)")):
        changed_masks(*arguments)


def test_masks_are_bool():
    with pytest.raises(TypeError, match="bool"):
        changed_masks(square().astype(np.uint8), "dilated", 0.1)

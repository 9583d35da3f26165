"""What is left of an image for an agent that sees objects only, against literals."""

import numpy as np
import pytest

from camal_rl.envs import MASKINGS, Masking, SegmentationSpec
from camal_rl.envs.masking import find_masking

SPEC = SegmentationSpec(("background", "agent", "wall", "goal"), relevant=("goal",))
IMAGES = np.array([[[[9, 8, 7], [1, 2, 3]], [[50, 60, 70], [5, 5, 5]]]], dtype=np.uint8)
LABELS = np.array([[[0, 1], [2, 3]]], dtype=np.uint8)

EXPECTED = {
    "object_mask": [[[[0, 0, 0], [1, 2, 3]], [[50, 60, 70], [5, 5, 5]]]],
    "relevant_mask": [[[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [5, 5, 5]]]],
    "binary_mask": [[[[0], [255]], [[255], [255]]]],
    "class_mask": [[[[0], [85]], [[170], [255]]]],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_masking_draws_what_it_says(name):
    images, labels = IMAGES.copy(), LABELS.copy()
    drawn = MASKINGS[name].draw(images, labels, SPEC)
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == EXPECTED[name]
    assert drawn.shape[-1] == MASKINGS[name].channels(3)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_all_maskings_that_ship_are_held_here():
    assert set(MASKINGS) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_image_without_objects_is_black(name):
    assert not MASKINGS[name].draw(IMAGES, np.zeros_like(LABELS), SPEC).any()


def test_classes_have_grays_of_their_own_up_to_the_largest_label_map():
    spec = SegmentationSpec(tuple(map(str, range(256))), ())
    labels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    drawn = MASKINGS["class_mask"].draw(np.zeros((1, 16, 16, 3), np.uint8), labels, spec)
    assert sorted(drawn.ravel().tolist()) == list(range(256))


def test_a_background_alone_can_be_drawn():
    spec = SegmentationSpec(("background",), ())
    assert not MASKINGS["class_mask"].draw(IMAGES, np.zeros_like(LABELS), spec).any()


OWN = Masking(lambda images, labels, spec: images[..., :2], lambda channels: 2)


def test_an_own_masking_is_given_by_its_path():
    assert find_masking(f"{__name__}:OWN") is OWN


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("objekt_mask", ValueError, "unknown masking 'objekt_mask'; did you mean 'object_mask'"),
        (f"{__name__}:SPEC", TypeError, "a masking must be a camal_rl.envs.Masking"),
        ("nowhere.at_all:X", ValueError, "nowhere"),
    ],
)
def test_what_is_no_masking_is_one_line(name, error, message):
    with pytest.raises(error, match=message) as caught:
        find_masking(name)
    assert "\n" not in str(caught.value)

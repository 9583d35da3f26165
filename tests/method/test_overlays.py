import numpy as np
import pytest

from camal_rl.overlays import (
    as_rgb,
    attention_sheet,
    class_colors,
    colored_segmentation,
    heatmap_overlay,
    mask_overlay,
    segmentation_sheet,
    sheet,
)


def test_classes_have_colors_of_their_own():
    colors = class_colors()[:20].astype(int)
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2)
    np.fill_diagonal(distances, 999)
    assert distances.min() > 20
    assert colored_segmentation(np.array([[0, 3]], np.uint8)).tolist() == [[[60] * 3, class_colors()[3].tolist()]]


def test_of_a_stack_of_frames_the_newest_is_shown():
    channels = np.arange(6, dtype=np.uint8)[None, None]
    assert as_rgb(channels[..., :3]).tolist() == [[[0, 1, 2]]]
    assert as_rgb(channels).tolist() == [[[3, 4, 5]]]
    assert as_rgb(channels[..., :4]).tolist() == [[[3, 3, 3]]]
    assert as_rgb(channels[..., :1]).tolist() == [[[0, 0, 0]]]


def test_mask_overlay_keeps_the_relevant_and_darkens_the_rest():
    image = np.full((2, 2, 3), 100, np.uint8)
    shown = mask_overlay(image, np.array([[True, False], [False, False]]))
    assert shown[0, 0].tolist() == [100] * 3
    assert shown[1, 1].tolist() == [35] * 3
    assert (image == 100).all()


def test_heat_is_where_the_map_is():
    cam = np.zeros((4, 4))
    cam[:2, :2] = 1
    shown = heatmap_overlay(np.full((64, 64, 3), 90, np.uint8), cam).astype(int)
    assert shown[4, 4].sum() > shown[60, 60].sum() + 100
    # The hot end of the color map is yellow, red and green above blue; outside nothing has a color.
    assert shown[4, 4, 0] > shown[4, 4, 2]
    assert np.ptp(shown[60, 60]) <= 2


def test_a_sheet_puts_pixels_where_titles_say():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    green = np.zeros((64, 64, 3), np.uint8)
    green[..., 1] = 255
    picture = sheet({"left": [red, green], "right": [green, red]}, height=128)
    assert picture.shape == (22 + 128 + 6 + 128, 128 + 6 + 128, 3)
    assert picture[22, 0].tolist() == picture[-1, -1].tolist() == [255, 0, 0]
    assert picture[22, -1].tolist() == picture[-1, 0].tolist() == [0, 255, 0]


def test_columns_must_match():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="same number of pictures"):
        sheet({"a": [image], "b": [image, image]})
    with pytest.raises(ValueError, match="same number of pictures"):
        sheet({})


def test_attention_and_segmentation_sheets_have_a_column_each():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (3, 64, 64), dtype=np.uint8)
    relevant = np.zeros(256, bool)
    relevant[1] = True
    picture = attention_sheet(frames, labels, relevant, {"value": rng.random((3, 16, 16))})
    assert picture.shape == (22 + 3 * 128 + 2 * 6, 3 * 128 + 2 * 6, 3)
    np.testing.assert_array_equal(picture[22 : 22 + 128 : 2, :128:2], frames[0])
    legend = segmentation_sheet(frames, labels, ["background", "goal", "wall"], relevant)
    assert legend.shape[0] > 22 + 3 * 192 + 2 * 6
    patches = {tuple(color) for color in legend[22 + 3 * 192 + 2 * 6 :].reshape(-1, 3)}
    assert {tuple(class_colors()[label]) for label in (0, 1, 2)} <= patches
    assert tuple(class_colors()[3]) not in patches


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="uint8"):
        colored_segmentation(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match="image's size"):
        mask_overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        heatmap_overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 2)))


def test_the_end_of_a_long_title_is_still_there():
    picture = np.zeros((64, 64, 3), np.uint8)
    titles = [f"a method with a very long name, {target}" for target in ("value", "policy")]
    value, policy = (sheet({title: [picture]}) for title in titles)
    assert value.shape == policy.shape
    assert (value != policy).any()

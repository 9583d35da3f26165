"""Atari masks: on the objects by their colors, aligned across resets, made of boxes as the rules say."""

import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs import make_vec
from camal_rl.envs.atari import AtariEnv
from camal_rl.envs.atari.boxes import Box
from camal_rl.envs.atari.labels import LabelPainter
from camal_rl.envs.atari.options import parse_options
from camal_rl.envs.atari.raw_env import RawAtariEnv

MISSING = [name for name in ("ale_py", "ocatari") if importlib.util.find_spec(name) is None]
if MISSING and "CI" not in os.environ:
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)

# In the field of these games an object's color is nothing else's.
PONG = {"player": (92, 186, 92), "enemy": (213, 130, 74), "ball": (236, 236, 236)}
PONG_FIELD = slice(34, 194)
FREEWAY = {"chicken": (252, 252, 84)}
FREEWAY_FIELD = slice(110, 184)


def raw_frames(game, steps, action=None, **options):
    """Play raw frames in color, with one action or at random; give screen, label map and class names."""
    env = RawAtariEnv(parse_options(game, {"grayscale": False, "frame_skip": 1, **options}))
    rng = np.random.default_rng(0)
    image, info = env.reset(seed=0)
    chosen = 1 if action is None else action
    for _ in range(steps):
        yield image, info["segmentation"], env.options.spec().names
        if action is None and rng.random() < 0.1:
            chosen = int(rng.integers(env.action_space.n))
        image, _, _, _, info = env.step(chosen)


@pytest.mark.parametrize(
    ("game", "colors", "field", "action"), [("Pong", PONG, PONG_FIELD, None), ("Freeway", FREEWAY, FREEWAY_FIELD, 1)]
)
def test_silhouettes_are_the_pixels_in_the_objects_color(game, colors, field, action):
    """What ALE draws in a color is the truth; silhouettes are found by no color that is written down."""
    both, either = dict.fromkeys(colors, 0), dict.fromkeys(colors, 0)
    for image, labels, names in raw_frames(game, 600, action):
        for name, color in colors.items():
            drawn = (image[field] == color).all(axis=-1)
            labeled = labels[field] == names.index(name)
            both[name] += int((drawn & labeled).sum())
            either[name] += int((drawn | labeled).sum())
    for name in colors:
        assert either[name] > 1000
        assert both[name] / either[name] > 0.9, name


def test_boxes_hold_the_pixels_in_the_objects_color():
    for image, labels, names in raw_frames("Pong", 600, segmentation="box"):
        for name, color in PONG.items():
            drawn = (image[PONG_FIELD] == color).all(axis=-1)
            rows = np.flatnonzero((labels[PONG_FIELD] == names.index(name)).any(axis=1))
            if drawn.any() and len(rows):
                outside = drawn & (labels[PONG_FIELD] != names.index(name))
                assert outside.sum() <= 0.25 * drawn.sum(), name


def green(observations):
    """Return where observations in color are green, as only Pong's player and its score are."""
    red, green, blue = (observations[..., channel].astype(int) for channel in range(3))
    return (green > red + 20) & (green > blue + 20)


@pytest.mark.parametrize("subproc", [False, True])
def test_masks_belong_to_the_observations_across_automatic_resets(subproc):
    options = {"grayscale": False, "frame_stack": 1, "max_frames": 60, "num_levels": 50}
    num_envs = 1 if subproc else 2
    env = make_vec("atari/Pong", num_envs, 3, subproc=subproc, **options)
    ids = [env.spec.names.index(name) for name in ("player", "player_score")]
    rng = np.random.default_rng(1)
    observations, resets = env.reset(), 0
    agreements = {False: [], True: []}
    for _ in range(60):
        labeled = np.isin(env.segmentation(), ids)
        for index in range(num_envs):
            drawn = green(observations[index])
            agreements[False].append((drawn & labeled[index]).sum() / (drawn | labeled[index]).sum())
        observations, _, dones, _ = env.step(rng.integers(6, size=num_envs))
        resets += int(dones.sum())
        for index in np.flatnonzero(dones):
            drawn, labeled = green(observations[index]), np.isin(env.segmentation()[index], ids)
            agreements[True].append((drawn & labeled).sum() / (drawn | labeled).sum())
    env.close()
    assert resets >= 3 * num_envs
    for after_reset in (False, True):
        assert min(agreements[after_reset]) > 0.6, after_reset
        assert np.mean(agreements[after_reset]) > 0.75, after_reset


def test_the_newest_frame_of_the_stack_is_labeled_and_the_union_covers_all():
    """In Freeway the cars move all the time: the newest label map fits the last channel, the union every channel."""
    newest, union, single = (
        AtariEnv("Freeway", num_levels=1, segmentation="box", **options)
        for options in ({}, {"stack_labels": "union"}, {"frame_stack": 1})
    )
    maps = [np.where(env.reset(seed=0)[1]["segmentation"], 1, 0) for env in (newest, union, single)]
    history = [maps[2]] * 4
    for _ in range(30):
        results = [env.step(0) for env in (newest, union, single)]
        labels = [result[4]["segmentation"] for result in results]
        history = [*history[1:], labels[2]]
        np.testing.assert_array_equal(results[0][0][..., -1:], results[2][0])
        np.testing.assert_array_equal(labels[0], labels[2])
        np.testing.assert_array_equal(labels[1] > 0, np.any([each > 0 for each in history], axis=0))
        assert (labels[1] > 0).sum() > (labels[0] > 0).sum()


def test_other_colors_leave_the_masks_as_they_are():
    for (image, labels, _), (recolored, same_labels, _) in zip(
        raw_frames("Breakout", 30), raw_frames("Breakout", 30, theme="recolored"), strict=True
    ):
        np.testing.assert_array_equal(recolored, np.stack([image[..., 1], image[..., 2], image[..., 0]], axis=-1))
        np.testing.assert_array_equal(labels, same_labels)
    plain, other = (AtariEnv("Breakout", theme=theme).reset(seed=0)[0] for theme in ("ale", "recolored"))
    assert plain.shape == other.shape
    assert np.abs(plain.astype(int) - other).mean() > 3


def test_a_silhouette_by_hand():
    """A cross in color 9 on a ground of 1 and 2: the ground is as dense around the box as inside."""
    screen = np.ones((20, 20), np.uint8)
    screen[:, ::2] = 2
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    screen[8:11, 8:11][cross] = 9
    box = Box(4, 7, 7, 5, 5)
    silhouette = LabelPainter("silhouette").paint(screen, [box])
    expected = np.zeros((20, 20), np.uint8)
    expected[8:11, 8:11][cross] = 4
    np.testing.assert_array_equal(silhouette, expected)
    filled = LabelPainter("box").paint(screen, [box])
    assert np.argwhere(filled).min(axis=0).tolist() == [7, 7]
    assert (filled == 4).sum() == 25


def test_boxes_are_cut_at_the_screens_edge_and_small_ones_lie_on_top():
    screen = np.zeros((10, 10), np.uint8)
    boxes = [Box(1, -2, -2, 5, 5), Box(2, 0, 0, 1, 1), Box(3, 8, 8, 9, 9), Box(4, 20, 20, 3, 3), Box(5, -9, 2, 4, 4)]
    labels = LabelPainter("box").paint(screen, boxes)
    assert {label: int((labels == label).sum()) for label in range(1, 6)} == {1: 8, 2: 1, 3: 4, 4: 0, 5: 0}
    assert not LabelPainter("silhouette").paint(screen, boxes).any()


def test_a_remembered_silhouette_is_that_of_the_screen():
    """The second screen differs from the first only inside the box, then only around it."""
    painter, box = LabelPainter("silhouette"), Box(1, 5, 5, 4, 4)
    rng = np.random.default_rng(0)
    for _ in range(30):
        screen = rng.integers(0, 3, (15, 15)).astype(np.uint8)
        np.testing.assert_array_equal(painter.paint(screen, [box]), LabelPainter("silhouette").paint(screen, [box]))
        screen[6, 6] = 7
        assert painter.paint(screen, [box])[6, 6] == 1

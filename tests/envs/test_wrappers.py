"""Wrappers that keep image and label map aligned, on a toy whose object can be found in the image itself."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from camal_rl.envs import SegmentationSpec, check_segmented_env, make_segmented_vec
from camal_rl.envs.wrappers import (
    SegmentedCrop,
    SegmentedFrameSkip,
    SegmentedFrameStack,
    SegmentedGrayscale,
    SegmentedResize,
    pool_frames,
    resize_image,
    resize_labels,
    union_labels,
)

HEIGHT, WIDTH, SIDE, COLOR = 24, 18, 4, 200


class Square(gymnasium.Env):
    """A square of 4 x 4 bright pixels on black that jumps at every frame; label 1, and the buffers are reused."""

    observation_space = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    action_space = spaces.Discrete(2)
    segmentation_spec = SegmentationSpec(("background", "square"), ("square",))

    def __init__(self, length=7, masks=True):
        self.length, self.masks = length, masks
        self.image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self.labels = np.zeros((HEIGHT, WIDTH), np.uint8)

    def frame(self):
        top, left = self.np_random.integers(HEIGHT - SIDE), self.np_random.integers(WIDTH - SIDE)
        self.image[:], self.labels[:] = 0, 0
        self.image[top : top + SIDE, left : left + SIDE] = COLOR
        self.labels[top : top + SIDE, left : left + SIDE] = 1
        return self.image, {"segmentation": self.labels, "count": self.count} if self.masks else {"count": self.count}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.frame()

    def step(self, action):
        self.count += 1
        return (*self.frame()[:1], 1.0, self.count == self.length, False, self.frame_info())

    def frame_info(self):
        return {"segmentation": self.labels, "count": self.count} if self.masks else {"count": self.count}


WRAPPERS = {
    "resize": lambda env: SegmentedResize(env, 12, 9),
    "uneven resize": lambda env: SegmentedResize(env, 10, 7),
    "enlarge": lambda env: SegmentedResize(env, 31, 40),
    "gray": SegmentedGrayscale,
    "crop": lambda env: SegmentedCrop(env, 3, 2, 15, 11),
    "stack": lambda env: SegmentedFrameStack(env, 3),
    "skip": lambda env: SegmentedFrameSkip(env, 4, 2),
    "limit": lambda env: TimeLimit(env, 5),
    "all": lambda env: SegmentedFrameStack(
        SegmentedGrayscale(SegmentedResize(SegmentedCrop(TimeLimit(SegmentedFrameSkip(env), 3), 2, 2, 20, 16), 10)), 4
    ),
}


def newest(env, observation):
    """Return the newest frame of a stack of them, in gray."""
    per_frame = 1 if observation.shape[-1] == 4 else 3
    return observation[..., -per_frame:].mean(axis=-1)


def frames_of(env, count, seed=0):
    """Play and give observation, info and how the episode stands, with resets."""
    observation, info = env.reset(seed=seed)
    yield observation, info, False, False
    for _ in range(count):
        observation, _, terminated, truncated, info = env.step(0)
        yield observation, info, terminated, truncated
        if terminated or truncated:
            observation, info = env.reset()
            yield observation, info, False, False


@pytest.mark.parametrize("name", WRAPPERS)
def test_labels_lie_on_the_object_at_resets_and_steps(name):
    env = WRAPPERS[name](Square())
    ends = 0
    for observation, info, terminated, truncated in frames_of(env, 40):
        labels = info["segmentation"]
        ends += terminated or truncated
        assert env.observation_space.contains(observation)
        assert (labels.dtype, labels.shape) == (np.uint8, observation.shape[:2])
        brightness = newest(env, observation)
        # A pixel is labeled where the object covers a quarter of it; rounding of the image allows for one step.
        assert (brightness[labels == 1] >= COLOR / 4 - 1).all()
        assert (brightness[labels == 0] <= COLOR / 4 + 1).all()
        assert labels.any() == brightness.any() or name in ("crop", "all")
    assert ends >= 5


@pytest.mark.parametrize("name", WRAPPERS)
def test_without_label_maps_images_are_the_same_and_infos_hold_none(name):
    with_masks, without = (WRAPPERS[name](Square(masks=masks)) for masks in (True, False))
    for one, other in zip(frames_of(with_masks, 20), frames_of(without, 20), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert "segmentation" not in other[1]
        assert other[1]["count"] == one[1]["count"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_was_handed_out_stays_as_it_was(name):
    """The toy writes every frame into the same buffers; a stack or a maximum of them must not change with that."""
    env = WRAPPERS[name](Square())
    if name in ("limit", "gray", "skip"):
        pytest.skip("hands on what it was given")
    kept = [
        (observation, observation.copy(), info["segmentation"], info["segmentation"].copy())
        for observation, info, *_ in frames_of(env, 12)
    ]
    for observation, copy, labels, labels_copy in kept:
        np.testing.assert_array_equal(observation, copy)
        np.testing.assert_array_equal(labels, labels_copy)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resize", (12, 9, 3)),
        ("gray", (24, 18, 1)),
        ("crop", (15, 11, 3)),
        ("stack", (24, 18, 9)),
        ("all", (10, 10, 4)),
    ],
)
def test_spaces_by_hand(name, shape):
    space = WRAPPERS[name](Square()).observation_space
    assert (space.shape, space.dtype, space.low.max(), space.high.min()) == (shape, np.uint8, 0, 255)


class Buffered(gymnasium.Wrapper):
    """Copies what the toy hands out, as the checker asks for."""

    def reset(self, **arguments):
        observation, info = self.env.reset(**arguments)
        return observation.copy(), {**info, "segmentation": info["segmentation"].copy()}

    def step(self, action):
        observation, *rest, info = self.env.step(action)
        return observation.copy(), *rest, {**info, "segmentation": info["segmentation"].copy()}


def test_the_checker_and_automatic_resets():
    def make():
        return WRAPPERS["all"](Buffered(Square()))

    check_segmented_env(make())
    env = make_segmented_vec(make, 2)
    check_segmented_env(env)


def test_pooled_frames_show_the_last_two_and_their_labels():
    raw = Square(length=100)
    env = SegmentedFrameSkip(raw, 4, 2)
    env.reset(seed=3)
    twin = Square(length=100)
    twin.reset(seed=3)
    for _ in range(5):
        frames = []
        for _ in range(4):
            image, _, _, _, info = twin.step(0)
            frames.append((image.copy(), info["segmentation"].copy()))
        observation, reward, _, _, info = env.step(0)
        np.testing.assert_array_equal(observation, np.maximum(frames[2][0], frames[3][0]))
        np.testing.assert_array_equal(info["segmentation"], frames[2][1] | frames[3][1])
        assert (reward, info["count"] % 4) == (4.0, 0)


def test_an_episode_that_ends_within_a_skip_shows_nothing_of_the_step_before():
    """Of 7 raw frames the second step has three and shows two; of 5 it has one."""
    for length, shown in ((7, 2), (6, 2), (5, 1)):
        env = SegmentedFrameSkip(Square(length=length), 4, 2)
        env.reset(seed=1)
        env.step(0)
        observation, reward, terminated, _, info = env.step(0)
        assert (terminated, reward) == (True, length - 4.0)
        assert SIDE**2 <= info["segmentation"].sum() <= shown * SIDE**2
        np.testing.assert_array_equal(info["segmentation"] == 1, observation[..., 0] == COLOR)


def test_time_limits_truncate_and_keep_the_label_map():
    env = SegmentedFrameStack(TimeLimit(Square(length=100), 6), 2)
    env.reset(seed=0)
    for step in range(1, 7):
        observation, _, terminated, truncated, info = env.step(0)
        assert (terminated, truncated) == (False, step == 6)
        np.testing.assert_array_equal(info["segmentation"] == 1, observation[..., -1] == COLOR)


def test_a_stack_is_oldest_first_and_starts_with_its_first_frame():
    env, twin = SegmentedFrameStack(Square(length=100), 3), Square(length=100)
    observation, _ = env.reset(seed=5)
    frames = [twin.reset(seed=5)[0].copy()] * 3
    np.testing.assert_array_equal(observation, np.concatenate(frames, axis=-1))
    for _ in range(5):
        frames = [*frames[1:], twin.step(0)[0].copy()]
        np.testing.assert_array_equal(env.step(0)[0], np.concatenate(frames, axis=-1))


def test_a_union_covers_every_frame_of_the_stack_and_is_forgotten_at_a_reset():
    env = SegmentedFrameStack(Square(length=9), 3, labels="union")
    for observation, info, *_ in frames_of(env, 30):
        bright = (observation == COLOR).any(axis=-1)
        np.testing.assert_array_equal(info["segmentation"] == 1, bright)


def test_newer_labels_lie_over_older_ones():
    newer, older = np.array([[0, 2, 0]], np.uint8), np.array([[1, 1, 0]], np.uint8)
    np.testing.assert_array_equal(union_labels([newer, older]), [[1, 2, 0]])
    np.testing.assert_array_equal(pool_frames([newer, older]), [[1, 2, 0]])


def test_thin_and_small_objects_survive_any_shrinking():
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = np.zeros((210, 160), np.uint8)
        for label in range(1, 6):
            top, left = rng.integers(0, 200), 32 * (label - 1) + rng.integers(0, 20)
            labels[top : top + rng.integers(1, 4), left : left + rng.integers(1, 4)] = label
        for size in ((84, 84), (42, 30), (20, 16)):
            assert set(np.unique(resize_labels(labels, *size))) == set(range(6))


def test_two_objects_of_one_class_both_survive():
    labels = np.zeros((100, 100), np.uint8)
    labels[50, 10] = labels[50, 90] = 1
    small = resize_labels(labels, 10, 10)
    assert np.argwhere(small).tolist() == [[5, 1], [5, 9]]


def test_coverage_by_hand():
    """Pixels of 2 x 2: a quarter is enough, the larger share wins, a saved object lies over a large one."""
    labels = np.array([[1, 0, 2, 2], [0, 0, 2, 3]], np.uint8)
    np.testing.assert_array_equal(resize_labels(labels, 1, 2), [[1, 2]])
    np.testing.assert_array_equal(resize_labels(labels, 1, 2, min_coverage=0.3), [[1, 3]])


@pytest.mark.parametrize("size", [(84, 84), (100, 37)])
def test_labels_are_resized_as_images_are(size):
    """A full-scale image of the object, resized as an image, says how much of each pixel the object covers."""
    rng = np.random.default_rng(1)
    labels = np.zeros((210, 160), np.uint8)
    labels[60:130, 40:101] = 1
    labels[rng.integers(65, 125, 40), rng.integers(45, 95, 40)] = 0
    coverage = resize_image(labels[..., None] * np.uint8(255), *size)[..., 0]
    resized = resize_labels(labels, *size)
    clear = abs(coverage.astype(int) - 64) > 2
    np.testing.assert_array_equal(resized[clear] == 1, coverage[clear] > 64)


def test_images_keep_their_mean_and_more_channels_than_opencv_takes():
    image = np.random.default_rng(2).integers(0, 256, (40, 40, 12), dtype=np.uint8)
    small = resize_image(image, 20, 20)
    expected = image.reshape(20, 2, 20, 2, 12).mean(axis=(1, 3))
    assert abs(small - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SegmentedResize(Square(), 0), "at least 1 x 1, got 0 x 0"),
        (lambda: SegmentedResize(Square(), 8, min_coverage=0), "in \\(0, 1\\], got 0"),
        (lambda: SegmentedCrop(Square(), 10, 0, 15, 5), "in the image of 24 x 18, got rows 10 to 24"),
        (lambda: SegmentedCrop(Square(), 0, -1, 5, 5), "in the image of 24 x 18"),
        (lambda: SegmentedGrayscale(SegmentedGrayscale(Square())), "RGB images uint8\\[H, W, 3\\], got 1 channel"),
        (lambda: SegmentedFrameStack(Square(), 0), "at least 1 frame, got 0"),
        (lambda: SegmentedFrameStack(Square(), 2, "both"), "'newest' or 'union', got 'both'"),
        (lambda: SegmentedFrameSkip(Square(), 2, 3), "1 <= pool <= skip"),
        (lambda: SegmentedFrameSkip(gymnasium.make("CartPole-v1")), "needs image observations"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)

"""Pictures, rewards, flags and actions that training does not take: each is refused with the remedy."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from camal_rl.envs.checker import check_segmented_env
from camal_rl.envs.gym_adapter import make_segmented_vec
from tests.envs.test_checker import Ball


class FloatPictures(Ball):
    observation_space = spaces.Box(0, 1, (8, 8, 3), np.float32)

    def picture(self):
        return super().picture().astype(np.float32) / 255


class NoChannel(Ball):
    observation_space = spaces.Box(0, 255, (8, 8), np.uint8)

    def picture(self):
        return super().picture()[..., 0]


class Stacked(Ball):
    observation_space = spaces.Box(0, 255, (4, 8, 8, 3), np.uint8)

    def picture(self):
        return np.stack([super().picture()] * 4)


class InDict(Ball):
    observation_space = spaces.Dict({"speed": spaces.Box(-1, 1), "view": spaces.Box(0, 255, (8, 8, 3), np.uint8)})

    def picture(self):
        return {"speed": np.zeros(1, np.float32), "view": super().picture()}


class InTuple(Ball):
    observation_space = spaces.Tuple([spaces.Box(0, 255, (8, 8, 3), np.uint8)])

    def picture(self):
        return (super().picture(),)


class NoPicture(Ball):
    observation_space = spaces.Box(0, 255, (7,), np.uint8)


class NarrowBounds(Ball):
    observation_space = spaces.Box(0, 1, (8, 8, 3), np.uint8)


class SignedPictures(Ball):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.int64)


class OddActions(Ball):
    action_space = spaces.Dict({"move": spaces.Discrete(2)})


class CutToBlack(Ball):
    """Says uint8 and gives floats in [0, 1], which SB3 cuts."""

    def picture(self):
        return super().picture().astype(np.float32) / 255


class Dark(Ball):
    """Cuts its pictures itself."""

    def picture(self):
        return (super().picture() / 255).astype(np.uint8)


class OtherSize(Ball):
    def picture(self):
        return super().picture()[:4]


class NotAnArray(Ball):
    def picture(self):
        return super().picture().tolist()


class WideLabels(Ball):
    def labels(self):
        return super().labels().astype(np.int64)


class StepWith(Ball):
    """A step with one of its five values replaced."""

    at, value = 1, float("nan")

    def step(self, action):
        result = list(super().step(action))
        result[self.at] = self.value
        return tuple(result)


def step_with(at, value):
    return type(f"StepWith{at}", (StepWith,), {"at": at, "value": value})


class OldStep(Ball):
    def step(self, action):
        observation, reward, done, _, info = super().step(action)
        return observation, reward, done, info


class OldReset(Ball):
    def reset(self, **given):
        return super().reset(**given)[0]


MISTAKES = [
    (FloatPictures, r"uint8\[H, W, C\].*float32.*return np.round\(255 \* image\).astype\(np.uint8\)"),
    (NoChannel, r"add an axis for the channel.*\(8, 8, 1\)"),
    (Stacked, r"along the channels.*SegmentedFrameStack"),
    (InDict, r"only the image: .*TransformObservation\(env, .*observation\['view'\]"),
    (InTuple, r"only the image: .*observation\[0\]"),
    (NoPicture, "render the state as an image"),
    (NarrowBounds, "the bounds must be 0 and 255"),
    (SignedPictures, r"image.astype\(np.uint8\)"),
    (OddActions, "the action space must be one of Discrete, Box"),
    (CutToBlack, "float32, but the observation space has uint8: .*become black"),
    (OtherSize, r"shape \(4, 8, 3\), but the observation space has \(8, 8, 3\)"),
    (NotAnArray, "NumPy arrays, got a list of 8"),
    (WideLabels, "got int64; add .astype"),
    (step_with(1, float("nan")), "the reward nan"),
    (step_with(1, float("-inf")), "the reward -inf"),
    (step_with(1, None), r"the reward from step\(\) must be a number, got None"),
    (step_with(2, None), r"terminated from step\(\) must be True or False, got None"),
    (step_with(3, 0), r"truncated from step\(\) must be True or False, got 0"),
    (step_with(4, None), r"the info from step\(\) must be a dictionary, got None"),
    (OldStep, "terminated, truncated, info, got a tuple of 4"),
    (OldReset, "observation, info, got an array"),
]
NOT_VECTORIZED_BY_SB3 = (InTuple, OddActions)


@pytest.mark.parametrize(("broken", "message"), MISTAKES)
def test_each_mistake_is_found_with_its_remedy(broken, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_segmented_env(broken())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("broken", "message"), [each for each in MISTAKES if each[0] not in NOT_VECTORIZED_BY_SB3])
def test_mistakes_are_found_behind_the_adapter_too(broken, message):
    with pytest.raises(ValueError, match=message):
        check_segmented_env(make_segmented_vec(broken, 3))


@pytest.mark.parametrize(
    "remedy",
    [
        lambda: gymnasium.wrappers.TransformObservation(
            InDict(), lambda observation: observation["view"], InDict.observation_space["view"]
        ),
        lambda: gymnasium.wrappers.TransformObservation(
            NoChannel(), lambda image: image[..., None], spaces.Box(0, 255, (8, 8, 1), np.uint8)
        ),
        lambda: gymnasium.wrappers.TransformObservation(
            FloatPictures(), lambda image: np.round(255 * image).astype(np.uint8), Ball.observation_space
        ),
    ],
)
def test_the_remedies_are_remedies(remedy):
    check_segmented_env(remedy())


def test_pictures_that_are_cut_to_black_are_a_warning():
    with pytest.warns(UserWarning, match=r"brighter than 1 of 255.*round\(255"):
        check_segmented_env(make_segmented_vec(Dark, 2))

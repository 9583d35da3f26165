"""One deliberately broken environment for each mistake, and sound ones that pass in silence."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper

from camal_rl.envs import SegmentationSpec, SegmentedVecEnv, make_vec
from camal_rl.envs.checker import check_segmented_env
from camal_rl.envs.gym_adapter import make_segmented_vec, wrap_vec
from camal_rl.envs.toy_grid.env import ToyGridEnv

SPEC = SegmentationSpec(names=("background", "ball"), relevant=("ball",))


class Ball(gymnasium.Env):
    """A 2x2 ball on an 8x8 field that hops to a random place at every step; 9 steps an episode."""

    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = spaces.Discrete(2)
    segmentation_spec = SPEC

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.ground = int(self.np_random.integers(100))
        self.place = self.np_random.integers(7, size=2)
        return self.picture(), {"segmentation": self.labels()}

    def step(self, action):
        self.count += 1
        self.place = self.np_random.integers(7, size=2)
        return self.picture(), 0.0, self.count == 9, False, {"segmentation": self.labels()}

    def paint(self, array, value):
        array[self.place[0] : self.place[0] + 2, self.place[1] : self.place[1] + 2] = value
        return array

    def picture(self):
        return self.paint(np.full((8, 8, 3), self.ground, dtype=np.uint8), 200)

    def labels(self):
        return self.paint(np.zeros((8, 8), dtype=np.uint8), 1)


class NoKey(Ball):
    def step(self, action):
        return *super().step(action)[:4], {}


class NoKeyAtReset(Ball):
    def reset(self, **given):
        return super().reset(**given)[0], {}


class WrongType(Ball):
    def labels(self):
        return super().labels().astype(np.int32)


class WrongShape(Ball):
    def labels(self):
        return super().labels()[:4, :4].copy()


class Unnamed(Ball):
    def labels(self):
        return super().labels() * 7


class Frozen(Ball):
    def labels(self):
        return np.eye(8, dtype=np.uint8)


class NothingRelevant(Ball):
    segmentation_spec = SegmentationSpec(names=("background", "ball", "goal"), relevant=("goal",))


class SharedBuffer(Ball):
    buffer = np.zeros((8, 8), dtype=np.uint8)

    def labels(self):
        self.buffer[:] = super().labels()
        return self.buffer


class OldEpisode(Ball):
    """Computes the label map of a reset before it places the new ball."""

    place = np.zeros(2, dtype=np.int64)

    def reset(self, **given):
        old = self.labels()
        return super().reset(**given)[0], {"segmentation": old}


class Behind(Ball):
    """Gives the label map of the frame before."""

    place, count = np.zeros(2, dtype=np.int64), 0

    def reset(self, **given):
        observation, info = super().reset(**given)
        self.last = info["segmentation"]
        return observation, info

    def step(self, action):
        *rest, info = super().step(action)
        info["segmentation"], self.last = self.last, info["segmentation"]
        return *rest, info


class Lagging(ToyGridEnv):
    """Labels of the frame before, but for resets."""

    def reset(self, **given):
        observation, info = super().reset(**given)
        self.last = info["segmentation"]
        return observation, info

    def step(self, action):
        *rest, info = super().step(action)
        info["segmentation"], self.last = self.last, info["segmentation"]
        return *rest, info


class Turned(ToyGridEnv):
    turn = staticmethod(np.transpose)

    def _info(self):
        info = super()._info()
        return {**info, "segmentation": np.ascontiguousarray(self.turn(info["segmentation"]))}


class Shifted(Turned):
    turn = staticmethod(lambda labels: np.roll(labels, (19, 27), axis=(0, 1)))


class Static(Ball):
    """The ball moves at resets only; the label maps are flipped."""

    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed)
        self.ground = 0
        return self.picture(), info

    def step(self, action):
        self.count += 1
        return self.picture(), 0.0, self.count == 4, False, {"segmentation": self.labels()}

    def labels(self):
        return super().labels()[::-1].copy()


class Invisible(Ball):
    """A class that no picture shows comes and goes."""

    def picture(self):
        return np.zeros((8, 8, 3), dtype=np.uint8)


MISTAKES = [
    (NoKey, "step\\(\\) returns no info\\['segmentation'\\]; put"),
    (NoKeyAtReset, "reset\\(\\) returns no info"),
    (WrongType, "got int32; add .astype"),
    (WrongShape, "\\(8, 8\\), got shape \\(4, 4\\)"),
    (Unnamed, "ids without a name: \\[7\\]"),
    (Frozen, "the same in all .* compute it anew"),
    (NothingRelevant, "no relevant class was ever visible.*\\['goal'\\]"),
    (SharedBuffer, "return a copy"),
    (OldEpisode, "after a reset"),
    (Behind, "one frame behind"),
    (Lagging, "one frame behind"),
]
TURNS = {
    "flipped left to right": lambda labels: labels[:, ::-1],
    "flipped upside down": lambda labels: labels[::-1],
    "transposed": np.transpose,
    "turned by 180 degrees": lambda labels: labels[::-1, ::-1],
    "turned by 90 degrees to the left": np.rot90,
    "turned by 90 degrees to the right": lambda labels: np.rot90(labels, -1),
}


@pytest.mark.parametrize(("broken", "message"), MISTAKES)
def test_each_mistake_is_found_and_named(broken, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_segmented_env(broken())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (broken, message)
        for broken, message in MISTAKES
        if broken in (Unnamed, Frozen, NothingRelevant, OldEpisode, Behind, Lagging)
    ],
)
def test_mistakes_are_found_behind_the_adapter_too(broken, message):
    with pytest.raises(ValueError, match=message):
        check_segmented_env(make_segmented_vec(broken, 3))


class FromInfos(VecEnvWrapper, SegmentedVecEnv):
    """The usual mistake with SB3: reads every label map from ``infos``, the terminal frame's at a boundary."""

    def __init__(self, venv, spec):
        super().__init__(venv)
        self.spec = spec

    def reset(self):
        observations = self.venv.reset()
        self.labels = np.stack([info["segmentation"] for info in self.venv.reset_infos])
        return observations

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        self.labels = np.stack([info["segmentation"] for info in infos])
        return observations, rewards, dones, infos

    def segmentation(self):
        return self.labels


class WrongDtype(FromInfos):
    def segmentation(self):
        return self.labels.astype(np.int64)


class OneOnly(FromInfos):
    def segmentation(self):
        return self.labels[:1]


@pytest.mark.parametrize(
    ("broken", "message"), [(FromInfos, "reset_infos"), (WrongDtype, "got int64"), (OneOnly, "uint8\\[3, H, W\\]")]
)
@pytest.mark.parametrize("make", [Ball, ToyGridEnv])
def test_mistakes_of_vectorized_environments(broken, message, make):
    env = broken(DummyVecEnv([make] * 3), make().segmentation_spec)
    with pytest.raises(ValueError, match=message):
        check_segmented_env(env)


def test_same_picture_with_different_label_maps_is_a_warning():
    with pytest.warns(UserWarning, match="same observation came with different label maps"):
        check_segmented_env(Invisible())


@pytest.mark.parametrize("word", TURNS)
@pytest.mark.parametrize("vectorized", [False, True])
def test_turned_label_maps_are_a_warning_that_says_how(word, vectorized):
    broken = type("Broken", (Turned,), {"turn": staticmethod(TURNS[word])})
    with pytest.warns(UserWarning, match=f"the image changes in .*they seem to be {word}"):
        check_segmented_env(make_segmented_vec(broken, 2) if vectorized else broken())


def test_label_maps_that_lie_elsewhere_are_a_warning_also_where_nothing_moves_within_an_episode():
    with pytest.warns(UserWarning, match="where the label maps change, the image changes in"):
        check_segmented_env(Shifted())
    with pytest.warns(UserWarning, match="they seem to be flipped upside down"):
        check_segmented_env(Static())


def test_a_dictionary_is_a_spec_and_a_wrong_one_is_refused_before_anything_is_played():
    check_segmented_env(Ball(), {"names": ["background", "ball"], "relevant": ["ball"]})
    with pytest.raises(ValueError, match="unknown relevant class 'bal'"):
        check_segmented_env(Ball(), {"names": ["background", "ball"], "relevant": ["bal"]})
    with pytest.raises(TypeError, match="did you mean 'relevant'"):
        check_segmented_env(Ball(), {"names": ["background", "ball"], "relevnt": ["ball"]})


def test_rare_relevant_class_is_a_warning():
    spec = SegmentationSpec(names=("background", "ball", "goal"), relevant=("ball", "goal"))
    with pytest.warns(UserWarning, match="never visible: goal"):
        check_segmented_env(Ball(), spec)


@pytest.mark.parametrize(
    "make",
    [
        Ball,
        ToyGridEnv,
        lambda: ToyGridEnv(segmentation="box"),
        lambda: make_vec("toy_grid/default", 4, 0),
        lambda: wrap_vec(DummyVecEnv([Ball, Ball]), SPEC),
        lambda: wrap_vec(SubprocVecEnv([Ball, Ball], start_method="fork"), SPEC),
    ],
)
def test_sound_environments_pass_in_silence(make):
    env = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_segmented_env(env)
    env.close()


def test_what_it_cannot_check_is_refused():
    with pytest.raises(TypeError, match="wrap_vec"):
        check_segmented_env(DummyVecEnv([Ball]))
    with pytest.raises(TypeError, match="make_segmented_vec"):
        check_segmented_env(DummyVecEnv([Ball]))
    with pytest.raises(TypeError, match="the class Ball, not an instance"):
        check_segmented_env(Ball)
    with pytest.raises(TypeError, match="got str"):
        check_segmented_env("toy_grid/default")
    with pytest.raises(ValueError, match="steps must be at least 10"):
        check_segmented_env(Ball(), steps=3)
    nameless = Ball()
    nameless.segmentation_spec = None
    with pytest.raises(ValueError, match="give spec=SegmentationSpec"):
        check_segmented_env(nameless)

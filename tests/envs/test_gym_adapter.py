"""Label maps of Gymnasium environments, exact across automatic resets."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from camal_rl.envs import SegmentationSpec, SegmentedVecEnv, find_segmented, toy_grid
from camal_rl.envs.gym_adapter import image_size, make_segmented_vec, wrap_vec
from camal_rl.envs.toy_grid.env import ToyGridEnv

SPEC = SegmentationSpec(names=("background", *(f"class {label}" for label in range(1, 6))), relevant=("class 1",))


class Counter(gymnasium.Env):
    """Each frame shows its own number, 20 * episode + step; the label map is that number modulo 6.

    Episodes last 3 steps; odd ones end by truncation.
    """

    observation_space = spaces.Box(0, 255, (6, 4, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.episode, self.count = -1, 0
        self.buffer = np.zeros((6, 4), dtype=np.uint8)

    def frame(self):
        number = 20 * self.episode + self.count
        self.buffer[:] = number % 6
        return np.full((6, 4, 3), number, dtype=np.uint8), {"segmentation": self.buffer, "number": number}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.count = self.episode + 1, 0
        return self.frame()

    def step(self, action):
        self.count += 1
        done = self.count == 3
        odd = self.episode % 2 == 1
        observation, info = self.frame()
        return observation, 1.0, done and not odd, done and odd, info


class Spoilt(Counter):
    """A counter whose label map is spoilt at one step or at resets."""

    def __init__(self, spoil, at_reset):
        super().__init__()
        self.spoil, self.at_reset = spoil, at_reset

    def frame(self):
        observation, info = super().frame()
        if (self.count == 0) == self.at_reset:
            self.spoil(info)
        return observation, info


def numbers(observations):
    return observations[:, 0, 0, 0].tolist()


def assert_aligned(env, observations):
    labels = env.segmentation()
    assert (labels.dtype, labels.shape) == (np.uint8, (env.num_envs, 6, 4))
    np.testing.assert_array_equal(labels, observations[..., 0] % 6)


def forked(makers):
    """Make processes that need not import everything again."""
    return SubprocVecEnv(makers, start_method="fork")


@pytest.mark.parametrize("kind", [DummyVecEnv, forked])
def test_label_maps_belong_to_the_observations_across_resets(kind):
    env = wrap_vec(kind([Counter, Counter, Counter]), SPEC)
    observations = env.reset()
    assert_aligned(env, observations)
    seen = []
    for _ in range(10):
        observations, _, dones, infos = env.step(np.zeros(3, dtype=np.int64))
        assert_aligned(env, observations)
        seen.append(numbers(observations)[0])
        for index, done in enumerate(dones):
            assert ("terminal_observation" in infos[index]) == done
            assert "segmentation" not in infos[index]
            if done:
                assert env.reset_infos[index] == {"number": numbers(observations)[index]}
            else:
                assert infos[index]["number"] == numbers(observations)[index]
    env.close()
    assert seen == [1, 2, 20, 21, 22, 40, 41, 42, 60, 61]


def test_truncation_is_handed_on():
    env = wrap_vec(DummyVecEnv([Counter]), SPEC)
    env.reset()
    flags = []
    for _ in range(6):
        _, _, dones, infos = env.step(np.zeros(1, dtype=np.int64))
        flags.append((bool(dones[0]), infos[0]["TimeLimit.truncated"]))
    assert flags == [(False, False), (False, False), (True, False), (False, False), (False, False), (True, True)]


def test_a_wrapper_below_does_not_hide_the_reset_infos():
    env = wrap_vec(VecMonitor(DummyVecEnv([Counter, Counter])), SPEC)
    assert_aligned(env, env.reset())
    for _ in range(7):
        observations, *_ = env.step(np.zeros(2, dtype=np.int64))
        assert_aligned(env, observations)


def test_returned_label_maps_are_copies():
    env = wrap_vec(DummyVecEnv([Counter]), SPEC)
    env.reset()
    labels = env.segmentation()
    env.step(np.zeros(1, dtype=np.int64))
    assert (labels == 0).all()
    labels[:] = 9
    assert (env.segmentation() == 1).all()


def test_it_is_a_segmented_environment_that_wrappers_find():
    env = wrap_vec(DummyVecEnv([Counter]), SPEC)
    assert isinstance(env, SegmentedVecEnv)
    assert env.spec is SPEC
    assert find_segmented(env) is env


def test_order_of_calls_is_checked():
    env = wrap_vec(DummyVecEnv([Counter]), SPEC)
    with pytest.raises(RuntimeError, match="before the first reset"):
        env.segmentation()


@pytest.mark.parametrize("at_reset", [True, False])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda info: info.pop("segmentation"), "returned no info\\['segmentation'\\]"),
        (lambda info: info.update(segmentation=[[0]]), "got list"),
        (lambda info: info.update(segmentation=np.zeros((6, 4), np.int64)), "dtype uint8.*got int64"),
        (lambda info: info.update(segmentation=np.zeros((4, 6), np.uint8)), "\\(6, 4\\), got shape \\(4, 6\\)"),
        (lambda info: info.update(segmentation=np.zeros((6, 4, 1), np.uint8)), "got shape \\(6, 4, 1\\)"),
    ],
)
def test_spoilt_label_maps_are_refused_in_one_line(spoil, message, at_reset):
    env = wrap_vec(DummyVecEnv([lambda: Spoilt(spoil, at_reset)]), SPEC)

    def go():
        env.reset()
        env.step(np.zeros(1, dtype=np.int64))

    with pytest.raises(ValueError, match=message) as caught:
        go()
    assert "\n" not in str(caught.value)
    assert ("reset()" if at_reset else "step()") in str(caught.value)


def test_make_from_an_id_takes_the_environments_own_spec():
    toy_grid.register()
    env = make_segmented_vec("camal_rl/toy_grid-default-v0", 2, seed=3)
    assert env.spec.names[2] == "goal"
    first = env.reset()
    again = make_segmented_vec("camal_rl/toy_grid-default-v0", 2, seed=3)
    np.testing.assert_array_equal(again.reset(), first)
    assert not np.array_equal(first[0], first[1])


def test_make_agrees_with_single_environments():
    env = make_segmented_vec(lambda: ToyGridEnv(max_steps=5), 2, seed=8)
    singles = [ToyGridEnv(max_steps=5) for _ in range(2)]
    observations = env.reset()
    frames = [single.reset(seed=8 + index) for index, single in enumerate(singles)]
    rng = np.random.default_rng(0)
    for _ in range(40):
        for index, (observation, info) in enumerate(frames):
            np.testing.assert_array_equal(observations[index], observation)
            np.testing.assert_array_equal(env.segmentation()[index], info["segmentation"])
        actions = rng.integers(4, size=2)
        observations, *_ = env.step(actions)
        for index, single in enumerate(singles):
            observation, _, ended, cut, info = single.step(actions[index])
            frames[index] = single.reset() if ended or cut else (observation, info)


def test_make_reports_episodes_and_runs_in_processes():
    env = make_segmented_vec(Counter, 1, spec=SPEC, subproc=True)
    assert_aligned(env, env.reset())
    for _ in range(3):
        observations, _, _, infos = env.step(np.zeros(1, dtype=np.int64))
        assert_aligned(env, observations)
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (3.0, 3)
    env.close()


def test_make_asks_for_what_it_needs():
    with pytest.raises(ValueError, match="give spec=SegmentationSpec"):
        make_segmented_vec(Counter, 1)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_segmented_vec(Counter, 0, spec=SPEC)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (spaces.Box(0, 255, (64, 48, 3), np.uint8), (64, 48)),
        (spaces.Box(0, 255, (4, 84, 80), np.uint8), (84, 80)),
        (spaces.Box(0, 255, (84, 80), np.uint8), (84, 80)),
        (spaces.Box(0, 1, (7,), np.float32), None),
        (spaces.Dict({"image": spaces.Box(0, 255, (8, 8, 3), np.uint8)}), None),
    ],
)
def test_image_size_by_hand(space, size):
    assert image_size(space) == size


class WithStep(Counter):
    """A counter whose observation also holds the step."""

    observation_space = spaces.Dict({"image": Counter.observation_space, "step": spaces.Discrete(100)})

    def frame(self):
        image, info = super().frame()
        return {"image": image, "step": self.count}, info


@pytest.mark.parametrize(
    ("venv", "named"),
    [
        (lambda: DummyVecEnv([WithStep]), "observations of several parts"),
        (lambda: VecMonitor(DummyVecEnv([Counter])), "a VecMonitor"),
    ],
)
def test_states_that_cannot_be_saved_are_refused_by_their_reason(venv, named):
    wrapped = wrap_vec(venv(), SPEC)
    wrapped.reset()
    with pytest.raises(ValueError, match=f"do not support {named}.*saves environments with all"):
        wrapped.get_state()

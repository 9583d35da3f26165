"""Own Gymnasium environments with their wrappers, and SB3's wrappers around them, go on bit for bit."""

from collections import deque
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers as gym_wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from camal_rl.envs import SegmentationSpec, SegmentedGymVecEnv, make_segmented_vec, wrap_vec
from camal_rl.envs.levels import SeededLevels
from camal_rl.envs.saved_states import restore_env, save_env
from camal_rl.envs.wrappers import SegmentedFrameSkip, SegmentedFrameStack, SegmentedGrayscale, SegmentedResize
from tests.envs.saved_plays import actions_of, check_goes_on, digest, play, written_and_read


class Walk(gymnasium.Env):
    """A dot walks by chance until it falls off; nothing of it can be saved from outside."""

    observation_space = gymnasium.spaces.Box(0, 255, (12, 12, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)
    segmentation_spec = SegmentationSpec(("background", "dot"), ("dot",))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.trail = deque([int(self.np_random.integers(2, 9))] * 2, maxlen=2)
        return self.shown()

    def step(self, action):
        self.trail.append(self.trail[-1] + int(action) - 1 + int(self.np_random.integers(-1, 2)))
        over = not 0 <= self.trail[-1] < 11
        return *self.shown()[:1], self.np_random.normal(), over, False, self.shown()[1]

    def shown(self):
        labels = np.zeros((12, 12), np.uint8)
        labels[np.clip(self.trail[-1], 0, 11), np.clip(self.trail[0], 0, 11)] = 1
        return (labels * 200)[..., None].repeat(3, axis=-1), {"segmentation": labels}


class SavedWalk(Walk):
    """The same, with the two methods."""

    def get_state(self):
        return {"trail": list(self.trail)} if hasattr(self, "trail") else {}

    def set_state(self, state):
        if state:
            self.trail = deque(state["trail"], maxlen=2)


class Bonus(gymnasium.Wrapper):
    """A wrapper of a stranger that counts."""

    def __init__(self, env):
        super().__init__(env)
        self.count = 0

    def step(self, action):
        self.count += 1
        observation, reward, *rest = self.env.step(action)
        return observation, reward + self.count % 7, *rest


class SavedBonus(Bonus):
    def get_state(self):
        return self.count

    def set_state(self, state):
        self.count = state


class Plain(gymnasium.RewardWrapper):
    """A wrapper of a stranger that has nothing to save."""

    def reward(self, reward):
        return 2 * reward


class Failing(Walk):
    def get_state(self):
        raise NotImplementedError("later\nperhaps")

    def set_state(self, state):
        pass


class Foreign(Walk):
    def get_state(self):
        return {"trail": self.trail, "lock": object()}

    def set_state(self, state):
        pass


def limited():
    return gym_wrappers.TimeLimit(SavedWalk(), 6)


def many_wrappers():
    env = gym_wrappers.OrderEnforcing(gym_wrappers.StickyAction(SavedBonus(limited()), 0.3))
    env = SegmentedFrameStack(SegmentedGrayscale(SegmentedResize(env, 10)), 3, "union")
    env = gym_wrappers.NormalizeReward(gym_wrappers.RecordEpisodeStatistics(Plain(env)))
    return Monitor(env)


def levels():
    return SeededLevels(SegmentedFrameSkip(limited(), 2, 1), 3, 50)


@pytest.mark.parametrize("make", [SavedWalk, limited, many_wrappers, levels], ids=lambda each: each.__name__)
def test_an_own_environment_that_gives_its_state_goes_on(make):
    check_goes_on(partial(make_segmented_vec, make, 3, seed=4), 40, 60)


def test_so_it_does_in_workers():
    check_goes_on(partial(make_segmented_vec, limited, 1, seed=4, subproc=True), 20, 30)


@pytest.mark.parametrize(
    "around",
    [
        lambda venv: VecNormalize(VecMonitor(venv), norm_obs=False, gamma=0.9),
        lambda venv: VecNormalize(venv, norm_obs=True),
        lambda venv: VecTransposeImage(VecNormalize(VecFrameStack(venv, 3), norm_obs=False)),
        lambda venv: VecMonitor(VecFrameStack(venv, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_sb3s_wrappers_go_on(around):
    def make():
        return around(make_segmented_vec(limited, 2, seed=4))

    check_goes_on(make, 25, 40)


def test_normalized_rewards_keep_every_bit_of_their_statistics():
    def make():
        return VecNormalize(make_segmented_vec(limited, 2, seed=4), norm_obs=False, gamma=0.9)

    venv, other = make(), make()
    venv.reset()
    play(venv, actions_of(venv, 25))
    restore_env(other, written_and_read(save_env(venv)))
    for name in ("mean", "var", "count"):
        assert digest(getattr(other.ret_rms, name)) == digest(getattr(venv.ret_rms, name))
    assert digest(other.returns) == digest(venv.returns)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Walk, "Walk has no get_state"),
        (lambda: Bonus(SavedWalk()), "Bonus has no get_state"),
        (Failing, "NotImplementedError: later perhaps"),
        (Foreign, "Foreign returned something that cannot be saved"),
    ],
)
def test_what_cannot_be_saved_is_named_and_its_episodes_start_again(make, told):
    venv, other = make_segmented_vec(make, 2, seed=4), make_segmented_vec(make, 2, seed=4)
    first = venv.reset()
    play(venv, actions_of(venv, 9))
    saved = save_env(venv)
    assert not saved.exact
    assert told in saved.why_inexact
    assert "\n" not in saved.why_inexact
    again = restore_env(other, written_and_read(saved))
    assert again.shape == first.shape
    # The same wherever it starts again, and not the first episodes once more.
    third = make_segmented_vec(make, 2, seed=77)
    assert digest(restore_env(third, saved)) == digest(again)
    assert digest(play(third, actions_of(venv, 20))) == digest(play(other, actions_of(venv, 20)))
    assert digest(play(venv, actions_of(venv, 20))) != digest(play(other, actions_of(venv, 20)))


def test_drawn_levels_go_on_where_episodes_start_again():
    def make():
        return make_segmented_vec(partial(SeededLevels, Walk(), 0, 1000), 1, seed=4)

    venv, other = make(), make()
    venv.reset()
    play(venv, actions_of(venv, 9))
    saved = save_env(venv)
    assert digest(restore_env(other, saved)) == digest(venv.reset())
    assert other.reset_infos == venv.reset_infos


class Doubled(VecEnvWrapper):
    """A vectorized wrapper of a stranger."""

    total = 0.0

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        self.total += float(rewards.sum())
        return observations, rewards + self.total, dones, infos


class SavedDoubled(Doubled):
    def get_state(self):
        return {"total": self.total}

    def set_state(self, state):
        self.total = state["total"]


def test_a_strangers_vectorized_wrapper_is_saved_by_its_own_methods():
    check_goes_on(lambda: SavedDoubled(make_segmented_vec(limited, 2, seed=4)), 25, 40)
    venv = VecTransposeImage(Doubled(make_segmented_vec(limited, 2, seed=4)))
    venv.reset()
    assert "Doubled has no get_state" in save_env(venv).why_inexact


def test_sb3s_environments_go_on_after_wrap_vec_where_they_can_be_reached():
    def make():
        return wrap_vec(DummyVecEnv([limited, limited]))

    venv, other = make(), make()
    venv.seed(3)
    venv.reset()
    play(venv, actions_of(venv, 9))
    restore_env(other, written_and_read(save_env(venv)))
    assert digest(play(other, actions_of(venv, 20))) == digest(play(venv, actions_of(venv, 20)))
    workers = wrap_vec(SubprocVecEnv([limited], start_method="fork"))
    workers.reset()
    assert "SubprocVecEnv" in save_env(workers).why_inexact
    workers.close()


@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_other_wrappers_other_limits_and_a_state_that_does_not_fit_are_refused_in_one_line():
    venv = make_segmented_vec(limited, 2, seed=4)
    venv.reset()
    saved = save_env(venv)
    longer = make_segmented_vec(lambda: gym_wrappers.TimeLimit(SavedWalk(), 7), 2, seed=4)
    for other, told in (
        (make_segmented_vec(SavedWalk, 2), "TimeLimit"),
        (longer, "max_episode_steps"),
        (VecMonitor(make_segmented_vec(SavedWalk, 2)), "VecMonitor"),
    ):
        with pytest.raises(ValueError, match=told) as error:
            restore_env(other, saved)
        assert "\n" not in str(error.value)
    broken = written_and_read(saved)
    layer = broken.tree["layers"][-1]["envs"][0]["layers"][-1]
    layer["episode"]["given"] = {"other": 3}
    with pytest.raises(ValueError, match="rejected the saved state") as error:
        restore_env(make_segmented_vec(limited, 2), broken)
    assert "\n" not in str(error.value)


def test_what_is_saved_does_not_change_when_the_environment_goes_on():
    venv = make_segmented_vec(many_wrappers, 2, seed=4)
    venv.reset()
    play(venv, actions_of(venv, 9))
    saved = save_env(venv)
    before = digest(saved.tree)
    restore_env(venv, saved)
    play(venv, actions_of(venv, 20))
    assert digest(saved.tree) == before


def test_states_as_bytes_can_be_put_back_again_and_again():
    venv = make_segmented_vec(limited, 2, seed=4)
    with pytest.raises(ValueError, match="call reset"):
        venv.get_state()
    venv.reset()
    play(venv, actions_of(venv, 9))
    states = venv.get_state()
    masks = venv.segmentation()
    told = play(venv, actions_of(venv, 20))
    assert all(isinstance(each, bytes) for each in states)
    for _ in range(2):
        observations = venv.set_state(states)
        assert (digest(venv.segmentation()), digest(observations)) == (digest(masks), digest(venv.set_state(states)))
        assert digest(play(venv, actions_of(venv, 20))) == digest(told)
    with pytest.raises(ValueError, match="expected 2 states"):
        venv.set_state(states[:1])
    with pytest.raises(ValueError, match="belongs to another environment"):
        make_segmented_vec(levels, 2).set_state(states)
    with pytest.raises(ValueError, match="got something else"):
        venv.set_state([b"x", b"y"])


def test_environments_without_a_state_say_so():
    venv = make_segmented_vec(Walk, 2)
    venv.reset()
    with pytest.raises(ValueError, match="Walk has no get_state"):
        venv.get_state()


class Asked(SegmentedGymVecEnv):
    """Adds a method and nothing that lasts."""

    def ask(self):
        return self.venv.num_envs


class Scaled(Asked):
    """Changes what the base gives, perhaps by something that it keeps."""

    def step_wait(self):
        return super().step_wait()


def test_a_subclass_is_saved_like_its_base_unless_it_overrides_something():
    def make(kind):
        made = make_segmented_vec(limited, 2, seed=4)
        return kind(made.venv, made.spec)

    check_goes_on(partial(make, Asked), 9, 20)
    venv = make(Scaled)
    venv.reset()
    assert "Scaled has no get_state" in save_env(venv).why_inexact

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.rl.evaluate.returns import episode_quota, play_episodes


class ScriptedVecEnv(VecEnv):
    """Environment i plays episodes of the given lengths, reward 1 each step; pixel 0 of a frame tells the episode."""

    def __init__(self, lengths):
        super().__init__(len(lengths), spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Discrete(2))
        self.lengths = lengths
        self.actions_seen = []

    def _frames(self):
        frames = np.zeros((self.num_envs, 4, 4, 3), np.uint8)
        frames[:, 0, 0, 0] = self.episode
        frames[:, 0, 1, 0] = self.time
        return frames

    def reset(self):
        self.episode = np.zeros(self.num_envs, int)
        self.time = np.zeros(self.num_envs, int)
        return self._frames()

    def step_async(self, actions):
        self.actions_seen.append(np.array(actions))

    def step_wait(self):
        self.time += 1
        length = [plan[min(k, len(plan) - 1)] for plan, k in zip(self.lengths, self.episode, strict=True)]
        dones = self.time >= length
        self.time[dones] = 0
        self.episode[dones] += 1
        infos = [{"length": int(each), "terminal_observation": self._frames()[0]} for each in length]
        return self._frames(), np.ones(self.num_envs, np.float32), dones, infos

    def close(self): ...

    def get_attr(self, attr_name, indices=None):
        return [None] * self.num_envs

    def set_attr(self, attr_name, value, indices=None): ...

    def env_method(self, method_name, *args, indices=None, **kwargs): ...

    def env_is_wrapped(self, wrapper_class, indices=None): ...


class CoinActor:
    """Flips coins with torch's generator, or always acts 0."""

    def predict(self, observation, *, deterministic=False):
        coins = torch.randint(2, (len(observation),)).numpy()
        return (np.zeros_like(coins) if deterministic else coins), None


def test_quota_is_as_equal_as_possible():
    assert episode_quota(5, 3).tolist() == [1, 2, 2]
    assert episode_quota(6, 3).tolist() == [2, 2, 2]
    assert episode_quota(2, 4).tolist() == [0, 0, 1, 1]


def test_short_episodes_are_not_favored():
    venv = ScriptedVecEnv([[1], [10]])
    played = play_episodes(CoinActor(), venv, 4, deterministic=True, seed=0)
    # The first four episodes to end would be [1, 1, 1, 1], mean 1.
    assert sorted(played.returns) == [1, 1, 10, 10]
    assert sorted(played.lengths) == [1, 1, 10, 10]
    found = {each.figure: each for each in played.results("train", "stochastic")}
    assert {(each.level_set, each.control) for each in found.values()} == {("train", "stochastic")}
    # Returns 1, 1, 10, 10: the standard deviation is 4.5, the error of the mean half of it.
    assert (found["return"].value, found["return"].count, found["return"].error) == (5.5, 4, 2.25)
    assert (found["episode_length"].value, found["episode_length"].count) == (5.5, 4)


def test_each_environment_counts_its_first_episodes():
    venv = ScriptedVecEnv([[2, 3, 50], [4, 1, 60]])
    played = play_episodes(CoinActor(), venv, 4, deterministic=True, seed=0)
    assert sorted(played.returns) == [1, 2, 3, 4]


def test_duplicates_of_training_levels_do_not_count():
    venv = ScriptedVecEnv([[1, 2, 3], [10, 20, 30]])
    seen = []

    def is_duplicate(frame):
        seen.append((int(frame[0, 0, 0]), int(frame[0, 1, 0])))
        return frame[0, 0, 0] == 1

    played = play_episodes(CoinActor(), venv, 6, deterministic=True, seed=0, is_duplicate=is_duplicate)
    assert sorted(played.returns) == [1, 3, 10, 30]
    mean, length, excluded = played.results()
    assert (mean.count, length.count) == (4, 4)
    assert (excluded.figure, excluded.value, excluded.count) == ("excluded_episodes", 2, 6)
    # Only first frames of the episodes that are needed are looked at: 3 in each of 2 environments.
    assert sorted(seen) == [(0, 0), (0, 0), (1, 0), (1, 0), (2, 0), (2, 0)]


def test_the_last_info_of_each_episode_that_counts_is_kept_without_its_image():
    def is_duplicate(frame):
        return frame[0, 0, 0] == 1

    played = play_episodes(CoinActor(), ScriptedVecEnv([[1, 2, 3], [10, 20, 30]]), 6, True, 0, is_duplicate)
    assert [info["length"] for info in played.last_infos] == played.lengths.tolist()
    assert sorted(played.lengths.tolist()) == [1, 3, 10, 30]
    assert all(set(info) == {"length"} for info in played.last_infos)


def test_all_duplicates_give_no_mean():
    played = play_episodes(CoinActor(), ScriptedVecEnv([[2]]), 3, True, 0, is_duplicate=lambda _: True)
    mean, length, excluded = played.results()
    assert (mean.value, mean.error, mean.count, length.value) == (None, None, 0, None)
    assert (excluded.value, excluded.count) == (3, 3)


def test_actions_depend_on_the_seed_and_global_randomness_is_left_alone():
    def actions(seed, deterministic):
        venv = ScriptedVecEnv([[20]])
        play_episodes(CoinActor(), venv, 1, deterministic, seed)
        return np.concatenate(venv.actions_seen).tolist()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = actions(1, False), actions(1, False), actions(2, False)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other
    assert actions(1, True) == [0] * 20


def test_no_episodes_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        play_episodes(CoinActor(), ScriptedVecEnv([[2]]), 0, True, 0)

"""Procgen as a single Gymnasium environment."""

import importlib.util
import os

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from camal_rl.envs.procgen import ProcgenEnv, ProcgenVecEnv, env_names, register
from camal_rl.envs.procgen.libraries import MODULE

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)

register()


def test_every_game_is_registered_and_registering_again_is_harmless():
    register()
    assert all(f"camal_rl/procgen-{game}-v0" in gymnasium.registry for game in env_names())


@pytest.mark.filterwarnings("ignore:.*rgb_array.*")
def test_checkers_pass():
    env = gymnasium.make("camal_rl/procgen-coinrun-v0", num_levels=200)
    check_gymnasium(env.unwrapped)
    check_sb3(env.unwrapped)
    env.close()


def test_masks_belong_to_the_frames_that_come_with_them():
    """The same seed in the vectorized environment gives the same frames; there the masks are tested."""
    env = ProcgenEnv("bigfish", num_levels=200)
    frame, info = env.reset(seed=11)
    simulator_seed = env._venv._seed
    vectorized = ProcgenVecEnv("bigfish", 1, simulator_seed, num_levels=200)
    np.testing.assert_array_equal(vectorized.reset()[0], frame)
    np.testing.assert_array_equal(vectorized.segmentation()[0], info["segmentation"])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(600):
        action = int(rng.integers(15))
        last_frame, last_labels = frame, info["segmentation"]
        frame, reward, terminated, truncated, info = env.step(action)
        expected, rewards, dones, _ = vectorized.step(np.array([action]))
        assert (reward, terminated, truncated) == (float(rewards[0]), bool(dones[0]), False)
        if terminated:
            ends += 1
            np.testing.assert_array_equal(frame, last_frame)
            np.testing.assert_array_equal(info["segmentation"], last_labels)
            frame, info = env.reset()
        np.testing.assert_array_equal(frame, expected[0])
        np.testing.assert_array_equal(info["segmentation"], vectorized.segmentation()[0])
    assert ends >= 1


def test_reset_with_a_seed_is_deterministic_and_without_one_goes_on():
    env = ProcgenEnv("coinrun")
    first = env.reset(seed=5)
    second = env.reset()
    assert second[1]["level_seed"] != first[1]["level_seed"]
    again = env.reset(seed=5)
    np.testing.assert_array_equal(first[0], again[0])
    assert env.reset()[1]["level_seed"] == second[1]["level_seed"]
    assert env.reset(seed=6)[1]["level_seed"] != first[1]["level_seed"]


def test_masks_off_and_large_pictures():
    env = ProcgenEnv("maze", segmentation=None, render_mode="rgb_array")
    _, info = env.reset(seed=0)
    assert "segmentation" not in info
    assert env.render().shape == (512, 512, 3)


def test_stepping_where_there_is_no_episode_says_so():
    env = ProcgenEnv("maze")
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\[0, 14\], got 15"):
        env.step(15)

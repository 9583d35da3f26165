"""Procgen's vectorized environment: what Stable-Baselines3 and users rely on."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecMonitor

from camal_rl.envs import make_vec, segmentation_spec
from camal_rl.envs.procgen import ProcgenVecEnv, env_names
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.segmentation import find_segmented

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)


def make(game, num_envs=4, seed=0, **options):
    return ProcgenVecEnv(game, num_envs, seed, **{"num_levels": 200, "num_threads": 0, **options})


def play(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [env.step(rng.integers(0, 15, env.num_envs)) for _ in range(steps)]


def test_there_are_sixteen_games_and_make_vec_knows_them():
    assert len(env_names()) == 16
    env = make_vec("procgen/coinrun", 2, 0, relevant=["coin"], num_threads=0)
    assert env.spec.relevant == ("coin",)
    assert env.spec.names == segmentation_spec("procgen/coinrun").names
    assert env.reset().shape == (2, 64, 64, 3)
    assert env.segmentation().dtype == np.uint8
    assert env.segmentation().shape == (2, 64, 64)


def test_masks_can_be_changed_without_changing_the_environments():
    env = make("coinrun")
    env.reset()
    before = env.segmentation()
    env.segmentation()[:] = 7
    np.testing.assert_array_equal(env.segmentation(), before)


def test_masks_do_not_change_the_game():
    with_masks, without = make("bossfight"), make("bossfight", segmentation=None)
    np.testing.assert_array_equal(with_masks.reset(), without.reset())
    for first, second in zip(play(with_masks, 60), play(without, 60), strict=True):
        for expected, got in zip(first[:3], second[:3], strict=True):
            np.testing.assert_array_equal(expected, got)


def test_masks_off_say_so_when_asked_for():
    env = make("coinrun", segmentation=None)
    env.reset()
    with pytest.raises(ValueError, match="segmentation='box'"):
        env.segmentation()
    assert env.num_mask_resyncs == 0


def test_episode_statistics_are_sums_of_what_step_returned():
    env = make("dodgeball", num_envs=6)
    env.reset()
    returns, lengths, ends = np.zeros(6), np.zeros(6, dtype=int), 0
    for _, rewards, dones, infos in play(env, 250):
        returns += rewards
        lengths += 1
        for index, info in enumerate(infos):
            assert ("episode" in info) == bool(dones[index])
            assert "terminal_observation" not in info
            if dones[index]:
                assert info["episode"]["r"] == pytest.approx(returns[index])
                assert info["episode"]["l"] == lengths[index]
                ends += 1
        returns[dones], lengths[dones] = 0.0, 0
    assert ends >= 4


def test_levels_stay_in_the_level_set_and_infos_name_them():
    env = make("leaper", num_envs=8, start_level=500, num_levels=5)
    env.reset()
    levels = np.array([info["level_seed"] for info in env.reset_infos])
    seen = set(levels.tolist())
    for _, _, dones, infos in play(env, 200):
        assert [info["prev_level_seed"] for info in infos] == levels.tolist()
        levels = np.array([info["level_seed"] for info in infos])
        seen |= set(levels[dones].tolist())
    assert seen <= set(range(500, 505))
    assert len(seen) > 1


def test_reset_starts_new_episodes_and_seed_brings_the_same_levels_again():
    env = make("coinrun", num_envs=8)
    first = env.reset()
    play(env, 5)
    second = env.reset()
    assert (first != second).any()
    masks = env.segmentation()
    assert env.seed(0) == [0] * 8
    np.testing.assert_array_equal(env.reset(), first)
    play(env, 5)
    np.testing.assert_array_equal(env.reset(), second)
    np.testing.assert_array_equal(env.segmentation(), masks)
    env.seed(1)
    assert (env.reset() != first).any()


def test_wrappers_find_the_masks():
    env = VecMonitor(make("maze", num_envs=2))
    env.reset()
    found = find_segmented(env)
    assert isinstance(found, ProcgenVecEnv)
    assert found.get_attr("game") == ["maze", "maze"]
    assert found.env_is_wrapped(VecMonitor) == [False, False]
    with pytest.raises(AttributeError, match="have no method"):
        found.env_method("anything")
    with pytest.raises(AttributeError, match="give options to make_vec"):
        found.set_attr("game", "coinrun")


def test_render_tiles_observations_or_large_frames():
    env = make("coinrun", num_envs=4)
    env.reset()
    assert env.render("rgb_array").shape == (128, 128, 3)
    large = make("coinrun", num_envs=1, render_mode="rgb_array")
    large.reset()
    assert large.render("rgb_array").shape == (512, 512, 3)
    assert "rgb" not in play(large, 1)[0][3][0]


def test_set_state_refuses_what_does_not_belong():
    env, other = make("coinrun", num_envs=2), make("maze", num_envs=2)
    env.reset()
    with pytest.raises(ValueError, match="expected 2 states"):
        env.set_state(env.get_state()[:1])
    with pytest.raises(ValueError, match="belongs to 'maze'"):
        env.set_state(other.get_state())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_level": 5}, TypeError, "did you mean 'num_levels'"),
        ({"segmentatoin": None}, TypeError, "did you mean 'segmentation'"),
        ({"num_levels": 2.5}, TypeError, "num_levels must be an integer, got 2.5"),
        ({"use_backgrounds": 1}, TypeError, "use_backgrounds must be True or False, got 1"),
        ({"num_levels": -1}, ValueError, "at least 0"),
        ({"start_level": 2**31 - 1, "num_levels": 1}, ValueError, "at most 2147483647"),
        ({"distribution_mode": "memory"}, ValueError, "coinrun has no distribution_mode 'memory'"),
        ({"distribution_mode": "exploration", "start_level": 3}, ValueError, "one level of its own"),
        ({"segmentation": "outline"}, ValueError, "'box', 'silhouette' or None"),
        ({"use_generated_assets": True}, ValueError, "segmentation=None"),
        ({"relevant": ["gold"]}, ValueError, "unknown relevant class 'gold'"),
        ({"num_threads": -1}, ValueError, "num_threads must be at least 0"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None or 'rgb_array'.*vec_env.render"),
    ],
)
def test_bad_options_are_refused_with_the_remedy(options, error, message):
    with pytest.raises(error, match=message):
        ProcgenVecEnv("coinrun", 1, 0, **options)


def test_bad_seed_and_game_are_refused():
    with pytest.raises(ValueError, match="seed must be in"):
        ProcgenVecEnv("coinrun", 1, -1)
    with pytest.raises(ValueError, match="unknown Procgen game 'doom'"):
        ProcgenVecEnv("doom", 1, 0)


@pytest.mark.parametrize("actions", [[0, -1], [0, 15], [0, 1, 2]])
def test_actions_that_do_not_exist_are_refused(actions):
    env = make("maze", num_envs=2)
    env.reset()
    with pytest.raises(ValueError, match="expected 2 actions"):
        env.step(np.array(actions))


def test_generated_assets_play_without_masks_and_without_states():
    env = make("coinrun", num_envs=2, use_generated_assets=True, segmentation=None)
    env.reset()
    play(env, 2)
    with pytest.raises(ValueError, match="cannot save states with use_generated_assets"):
        env.get_state()


def test_nothing_is_printed():
    program = (
        "import camal_rl.envs, stable_baselines3\n"
        "env = camal_rl.envs.make_vec('procgen/coinrun', 2, 0)\n"
        "env.reset(); env.segmentation(); env.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class _Held:
    """A lock that is held: whoever wants it would wait for ever."""

    def __enter__(self):
        raise AssertionError("a simulator that is closed must not wait for the lock of library loading")

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("segmentation", ["box", "silhouette", None])
def test_closing_does_not_need_the_lock_under_which_libraries_are_loaded(segmentation, monkeypatch):
    """Otherwise a garbage collection within a load, which closes an environment, waits for itself."""
    env = make("maze", num_envs=1, segmentation=segmentation)
    library = env._real._library._env
    if not hasattr(library, "_ffi"):
        pytest.skip("ctypes has no such lock")
    monkeypatch.setattr(library._ffi, "_lock", _Held())
    env.close()

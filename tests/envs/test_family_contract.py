"""What every family promises in the same words: Gymnasium's and SB3's own checks, order of calls, names, pictures."""

import importlib.util
import os
import pickle
import sys
import types
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as check_gymnasium
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecVideoRecorder

from camal_rl.envs import env_info, make_vec
from camal_rl.envs.env_attributes import number_of_actions
from camal_rl.rl.environments import make_training_env
from camal_rl.runs.loading import load_config
from tests.envs.actions import drawn_action, drawn_actions, some_action
from tests.envs.gl import needs_dm_control

ATARI = {"max_frames": 60, "noop_max": 0}
QUICK = {
    "toy_grid/default": {},
    "minigrid/DoorKey-5x5": {},
    "vizdoom/Basic": {"frame_skip": 35},
    "atari/Freeway": ATARI,
    "procgen/bigfish": {},
    "crafter/Reward": {"length": 40},
    "dm_control/reacher-easy": {"action_repeat": 100, "size": 64},
}
FAMILIES = [
    pytest.param(
        env_id,
        marks=needs_dm_control
        if env_id.startswith("dm_control")
        else pytest.mark.skipif(
            not env_info(env_id).installed and "CI" not in os.environ, reason="the simulator is not installed"
        ),
    )
    for env_id in QUICK
]
ACTIONS = {
    "toy_grid/default": ("up", "right", "down", "left"),
    "minigrid/DoorKey-5x5": ("left", "right", "forward", "pick up", "drop", "toggle", "done"),
    "vizdoom/Basic": ("none", "move_left", "move_right", "attack"),
    "atari/Freeway": ("noop", "up", "down"),
    "dm_control/reacher-easy": ("shoulder", "wrist"),
}
EVERY_FAMILY = pytest.mark.parametrize("env_id", FAMILIES)


def gymnasium_id(env_id):
    return f"camal_rl/{env_id.replace('/', '-')}-v0"


def single(env_id, **options):
    return gymnasium.make(gymnasium_id(env_id), **QUICK[env_id], **options)


def vectorized(env_id, num_envs=2, **options):
    return make_vec(env_id, num_envs, 0, **QUICK[env_id], **options)


def play_to_the_end(env, rng):
    env.reset(seed=0)
    for _ in range(1_000):
        _, _, terminated, truncated, _ = env.step(drawn_action(env.action_space, rng))
        if terminated or truncated:
            return
    pytest.fail("no episode ended")


@EVERY_FAMILY
def test_gymnasiums_and_sb3s_checks_pass_without_a_warning_about_what_is_returned(env_id):
    env = single(env_id)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_gymnasium(env.unwrapped)
        check_sb3(env.unwrapped)
    env.close()
    texts = [
        str(each.message)
        for each in caught
        if not issubclass(each.category, ResourceWarning)
        # The suite sets shapes of arrays, which NumPy 2.5 discourages.
        and not (issubclass(each.category, DeprecationWarning) and "/dm_control/mujoco/" in each.filename)
    ]
    assert [text for text in texts if "render" not in text and "wrapper" not in text] == []


@EVERY_FAMILY
def test_a_whole_episode_passes_the_passive_checker(env_id):
    env = single(env_id)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        play_to_the_end(env, np.random.default_rng(0))
        env.reset()
    env.close()


@EVERY_FAMILY
def test_an_unused_environment_can_be_pickled_and_its_entry_in_the_registry_too(env_id):
    """As Gymnasium's own test of its environments, with the results compared."""
    env = single(env_id)
    spec = pickle.loads(pickle.dumps(env.spec))
    copy = pickle.loads(pickle.dumps(env))
    assert spec == env.spec == copy.spec
    assert data_equivalence(env.reset(seed=3), copy.reset(seed=3), exact=True)
    for number in (1, 0, 2):
        action = some_action(env.action_space, number)
        assert data_equivalence(env.step(action), copy.step(action), exact=True)
    env.close()
    copy.close()


@EVERY_FAMILY
def test_a_step_without_a_running_episode_is_an_error(env_id):
    env = single(env_id).unwrapped
    with pytest.raises(RuntimeError, match=r"no running episode; call reset\(\)"):
        env.step(some_action(env.action_space))
    play_to_the_end(env, np.random.default_rng(0))
    with pytest.raises(ResetNeeded, match=r"no running episode; call reset\(\)"):
        env.step(some_action(env.action_space))
    env.reset()
    env.step(some_action(env.action_space))
    env.close()


@EVERY_FAMILY
def test_every_family_reports_an_episode_once(env_id):
    env = vectorized(env_id)
    assert env.env_is_wrapped(Monitor) == [True, True]
    env.reset()
    rng = np.random.default_rng(0)
    returns, lengths, reported = np.zeros(2), np.zeros(2, int), []
    for _ in range(600):
        _, rewards, dones, infos = env.step(drawn_actions(env.action_space, 2, rng))
        returns, lengths = returns + rewards, lengths + 1
        for index in range(2):
            assert ("episode" in infos[index]) == dones[index]
            if dones[index]:
                episode = infos[index]["episode"]
                assert set(episode) == {"r", "l", "t"}
                assert (episode["r"], episode["l"]) == (pytest.approx(returns[index], abs=1e-4), lengths[index])
                reported.append(episode)
        returns[dones], lengths[dones] = 0, 0
        if len(reported) > 2:
            break
    env.close()
    assert reported


def test_training_has_no_second_monitor():
    env = make_training_env(load_config("toy_grid", ["env.num_envs=2", "algorithm.batch_size=64"]))
    while hasattr(env, "venv"):
        assert not isinstance(env, VecMonitor)
        env = env.venv


@EVERY_FAMILY
def test_actions_have_names_in_both_forms_and_through_wrappers(env_id):
    env = vectorized(env_id, 1)
    alone = gymnasium.wrappers.TransformReward(single(env_id), float)
    expected = ACTIONS.get(env_id, env.action_names)
    assert env.action_names == alone.get_wrapper_attr("action_names") == expected
    assert len(expected) == number_of_actions(env.action_space)
    env.close()
    alone.close()


@EVERY_FAMILY
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb'.*")
def test_render_modes_mean_the_same_in_every_family(env_id):
    for make in (lambda mode: vectorized(env_id, 1, render_mode=mode), lambda mode: single(env_id, render_mode=mode)):
        with pytest.raises(ValueError, match=r"render_mode must be None or 'rgb_array', got 'rgb'"):
            make("rgb")
    with pytest.raises(ValueError, match=r"got 'human'; for a window: gymnasium.make"):
        vectorized(env_id, 1, render_mode="human")
    env = single(env_id)
    assert env.metadata["render_modes"] == ["rgb_array"]
    env.reset(seed=0)
    assert env.render() is None
    env.close()


@EVERY_FAMILY
@pytest.mark.filterwarnings("ignore:.*human.*")
def test_gymnasium_opens_a_window_for_every_family(env_id, monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = single(env_id, render_mode="human")
    assert isinstance(env, gymnasium.wrappers.HumanRendering)
    env.close()


@pytest.fixture
def clips(monkeypatch):
    """Stand in for MoviePy, which both recorders hand their frames to."""
    found = []

    class ImageSequenceClip:
        def __init__(self, frames, fps):
            found.append((list(frames), fps))

        def write_videofile(self, path, **_):
            pass

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[name].ImageSequenceClip = ImageSequenceClip
    monkeypatch.setattr(
        sys.modules["moviepy"], "__spec__", importlib.util.spec_from_loader("moviepy", None), raising=False
    )
    return found


@EVERY_FAMILY
@pytest.mark.parametrize("options", [{}, {"render_mode": "rgb_array"}], ids=["as it is", "large"])
def test_sb3s_recorder_records_every_family(env_id, options, clips, tmp_path):
    env = VecVideoRecorder(vectorized(env_id, **options), str(tmp_path), lambda step: step == 0, video_length=3)
    env.reset()
    for _ in range(4):
        env.step(np.stack([some_action(env.action_space)] * 2))
    env.close()
    ((frames, fps),) = clips
    assert len(frames) == 4
    assert all(frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 for frame in frames)
    assert any(frame.any() for frame in frames)
    assert fps == single(env_id).metadata["render_fps"]


@EVERY_FAMILY
@pytest.mark.filterwarnings("ignore:.*Overwriting existing videos.*")
def test_gymnasiums_recorder_records_every_family(env_id, clips, tmp_path):
    env = gymnasium.wrappers.RecordVideo(single(env_id, render_mode="rgb_array"), str(tmp_path), video_length=3)
    env.reset(seed=0)
    for _ in range(4):
        env.step(some_action(env.action_space))
    env.close()
    assert len(clips[0][0]) >= 3

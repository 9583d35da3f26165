"""ViZDoom's scenarios as environments: options, episodes, levels, and alignment across resets."""

import importlib.util
import os
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from camal_rl.envs import MissingExtraError, check_segmented_env, env_info, level_sets, make_vec, segmentation_spec
from camal_rl.envs.vizdoom import VizdoomEnv, env_names, register
from camal_rl.envs.vizdoom.env import make_env
from camal_rl.envs.vizdoom.options import parse_options

if importlib.util.find_spec("vizdoom") is None and "CI" not in os.environ:
    pytest.skip("ViZDoom is not installed", allow_module_level=True)

TICS_OF_BASIC = 300


@pytest.fixture
def make():
    """Make environments that are closed after the test."""
    made = []

    def make_one(scenario, **options):
        made.append(VizdoomEnv(scenario, parse_options(scenario, options), "rgb_array"))
        return made[-1]

    yield make_one
    for env in made:
        env.close()


def play(env, level, actions):
    """Return what reset and every step gave, until the episode ends."""
    frames = [env.reset(seed=level)]
    for action in actions:
        frames.append(env.step(np.int64(action)))
        if frames[-1][2] or frames[-1][3]:
            break
    return frames


def assert_same(frames, others):
    assert len(frames) == len(others)
    for one, other in zip(frames, others, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[-1]["segmentation"], other[-1]["segmentation"])
        assert one[1:-1] == other[1:-1]


def test_what_is_known_without_the_simulator(monkeypatch):
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    assert len(env_names()) == 10
    for name in env_names():
        env_id = f"vizdoom/{name}"
        spec = segmentation_spec(env_id)
        assert spec.names[0] == "background"
        assert spec.relevant
        assert not {"self", "effect", "corpse", "other"} & set(spec.relevant)
        sets = level_sets(env_id)
        assert sets["train"]["num_levels"] == 200
        assert all(sets[key]["start_level"] == 200 for key in ("held_out", "held_out_appearance"))
        assert env_info(env_id).extra == "vizdoom"
        parse_options(name, dict(sets["held_out_appearance"]))
        register()
        assert f"camal_rl/vizdoom-{name}-v0" in gymnasium.registry
    with pytest.raises(MissingExtraError, match=r"pip install 'vizdoom>=1.3'"):
        make_vec("vizdoom/Basic", 1, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frameskip": 4}, TypeError, "did you mean 'frame_skip'"),
        ({"xyz": 4}, TypeError, "options are start_level"),
        ({"frame_skip": 0}, ValueError, r"\[1, 35\], got 0"),
        ({"frame_skip": "4"}, TypeError, "must be an integer"),
        ({"max_buttons_pressed": 9}, ValueError, r"\[1, 3\], got 9"),
        ({"size": [240, 320]}, ValueError, r"height in size must be in \[16, 120\], got 240"),
        ({"size": "64"}, TypeError, r"\[height, width\]"),
        ({"appearance": "dark"}, ValueError, "'original' or 'held_out'"),
        ({"segmentation": "box"}, ValueError, "'silhouette' or None"),
        ({"relevant": "cacodemon"}, TypeError, "list of class names"),
        ({"relevant": ["imp"]}, ValueError, "unknown relevant class 'imp'"),
        ({"start_level": -1}, ValueError, "at least 0"),
        ({"subproc": 1}, TypeError, "True or False"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as caught:
        make_vec("vizdoom/Basic", 1, 0, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*rgb_array.*")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*")
def test_checkers_pass():
    register()
    env = gymnasium.make("camal_rl/vizdoom-DefendLine-v0", num_levels=20)
    check_gymnasium(env.unwrapped)
    check_sb3(env)
    check_segmented_env(env, steps=100)
    env.close()


def test_a_level_is_its_seed_whatever_was_played_before(make):
    actions = np.random.default_rng(0).integers(4, size=40)
    env, other = make("DefendLine"), make("DefendLine")
    first = play(env, 5, actions)
    play(env, 6, actions[::-1])
    assert_same(play(env, 5, actions), first)
    play(other, 7, actions[:3])
    assert_same(play(other, 5, actions), first)
    levels = [play(env, level, actions[:20])[-1][0] for level in (8, 9)]
    assert not np.array_equal(*levels)


def test_the_level_set_is_what_is_played():
    env = make_env("HealthGathering", start_level=200, num_levels=3)
    alone = VizdoomEnv("HealthGathering", parse_options("HealthGathering", {}))
    env.reset(seed=0)
    seen = set()
    for _ in range(12):
        image, info = env.reset()
        np.testing.assert_array_equal(alone.reset(seed=info["level_seed"])[0], image)
        seen.add(info["level_seed"])
    assert seen == {200, 201, 202}
    env.close()
    alone.close()


@pytest.mark.parametrize("frame_skip", [4, 7])
def test_a_time_out_is_a_truncation_with_a_real_last_frame(make, frame_skip):
    """Without a shot, every tic costs 1 until the time is up: so many tics there were. The last action is a move."""
    env = make("Basic", frame_skip=frame_skip)
    num_steps = -(-TICS_OF_BASIC // frame_skip)
    frames = play(env, 0, [0] * (num_steps - 1) + [1] * 10)
    assert len(frames) == 1 + num_steps
    assert sum(frame[1] for frame in frames[1:]) == -TICS_OF_BASIC
    assert all(frame[2:4] == (False, False) for frame in frames[1:-1])
    assert frames[-1][2:4] == (False, True)
    assert not np.array_equal(frames[-1][0], frames[-2][0])
    assert not np.array_equal(frames[-1][-1]["segmentation"], frames[-2][-1]["segmentation"])
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.int64(0))


def test_a_death_is_a_termination_that_shows_the_last_frame_again(make):
    env = make("DeadlyCorridor")
    frames = play(env, 0, [0] * 200)
    assert frames[-1][2:4] == (True, False)
    assert frames[-1][1] <= -100
    np.testing.assert_array_equal(frames[-1][0], frames[-2][0])
    np.testing.assert_array_equal(frames[-1][-1]["segmentation"], frames[-2][-1]["segmentation"])
    assert frames[-1][0].max() > 0


@pytest.mark.parametrize(("subproc", "num_envs"), [(False, 2), (True, 1)])
def test_masks_belong_to_the_frames_across_automatic_resets(subproc, num_envs):
    """Single environments that are played along give the frames, label maps and last frames that have to come."""
    options = {"num_levels": 5}
    venv = make_vec("vizdoom/DeadlyCorridor", num_envs, 3, subproc=subproc, **options)
    singles = [make_env("DeadlyCorridor", **options) for _ in range(num_envs)]
    observations = venv.reset()
    expected = [single.reset(seed=3 + index) for index, single in enumerate(singles)]
    rng, ends = np.random.default_rng(1), 0
    for _ in range(60):
        labels = venv.segmentation()
        for index, (image, info) in enumerate(expected):
            np.testing.assert_array_equal(observations[index], image)
            np.testing.assert_array_equal(labels[index], info["segmentation"])
        actions = rng.integers(venv.action_space.n, size=num_envs)
        observations, _, dones, infos = venv.step(actions)
        for index, single in enumerate(singles):
            image, _, terminated, truncated, info = single.step(np.int64(actions[index]))
            assert dones[index] == (terminated or truncated)
            if dones[index]:
                ends += 1
                assert infos[index]["TimeLimit.truncated"] == truncated
                np.testing.assert_array_equal(infos[index]["terminal_observation"], image)
                image, info = single.reset()
            expected[index] = image, info
    assert ends >= 2
    for env in (venv, *singles):
        env.close()


def test_without_masks_everything_else_is_the_same(make):
    actions = np.random.default_rng(2).integers(3, size=10)
    masked, plain = play(make("TakeCover"), 1, actions), play(make("TakeCover", segmentation=None), 1, actions)
    for frame, other in zip(masked, plain, strict=True):
        np.testing.assert_array_equal(frame[0], other[0])
        assert frame[1:-1] == other[1:-1]
        assert "segmentation" in frame[-1]
        assert "segmentation" not in other[-1]
    venv = make_vec("vizdoom/Basic", 1, 0, segmentation=None, relevant=["self"])
    assert not venv.has_segmentation
    assert venv.spec.relevant == ("self",)
    with pytest.raises(ValueError, match="switched off"):
        venv.segmentation()
    venv.close()


def test_sizes_and_pictures(make):
    env = make("HealthGathering", size=48)
    image, info = env.reset(seed=0)
    assert (image.shape, info["segmentation"].shape) == ((48, 48, 3), (48, 48))
    assert env.render().shape == (120, 160, 3)
    large, _ = make("HealthGathering", size=[120, 160]).reset(seed=0)
    np.testing.assert_array_equal(large, env.render())


def test_actions_are_sets_of_buttons(make):
    single, pairs = make("Basic"), make("Basic", max_buttons_pressed=2)
    assert single.action_names == ("none", "move_left", "move_right", "attack")
    assert pairs.action_names[4:] == ("move_left+move_right", "move_left+attack", "move_right+attack")
    assert pairs.action_space.n == 7
    # Seventeen buttons and nothing; the three that take an angle or a speed are never pressed.
    assert make("Deathmatch").action_space.n == 18
    waited, moved, both = (play(env, 0, [action])[1][0] for env, action in ((single, 0), (single, 1), (pairs, 4)))
    np.testing.assert_array_equal(both, waited)
    assert not np.array_equal(moved, waited)
    with pytest.raises(ValueError, match=r"\[0, 3\], got 4"):
        single.step(np.int64(4))


def test_nothing_is_written_where_the_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A wad of this name here would otherwise be played with.
    Path("doom2.wad").write_bytes(b"none")
    tmp_path.chmod(0o555)
    env = make_env("Basic")
    env.reset(seed=0)
    env.step(np.int64(1))
    env.close()
    tmp_path.chmod(0o755)
    assert [path.name for path in tmp_path.iterdir()] == ["doom2.wad"]

"""A restored environment goes on as if nothing had happened, bit for bit; what cannot be saved starts new episodes."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from camal_rl.envs import make_vec
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.saved_states import restore_env, save_env
from camal_rl.rl.environments import make_training_env
from camal_rl.runs.checkpoints import write_checkpoint
from camal_rl.runs.loading import load_config
from tests.envs.gl import why_not
from tests.envs.saved_plays import actions_of, check_goes_on, digest, play, written_and_read

MODULES = {
    "procgen": MODULE,
    "minigrid": "minigrid",
    "atari": "ale_py",
    "vizdoom": "vizdoom",
    "crafter": "crafter",
    "dm_control": "dm_control",
}
FEW, ALL = {"num_levels": 5}, {"num_levels": 0}
BOX, SILHOUETTE, OFF = ({"segmentation": each} for each in ("box", "silhouette", None))


def needs(env_id):
    """Skip, outside of CI, what needs a simulator that is not installed."""
    module = MODULES.get(env_id.partition("/")[0])
    if module is not None and importlib.util.find_spec(module) is None and "CI" not in os.environ:
        pytest.skip(f"{module} is not installed")
    if module == "dm_control" and why_not():
        pytest.skip(why_not())


PLAYS = [
    ("toy_grid/default", {}, 57, 100),
    ("toy_grid/default", {**ALL, **OFF, "theme": "held_out"}, 57, 100),
    ("procgen/starpilot", {**ALL, **SILHOUETTE}, 130, 150),
    ("procgen/coinrun", {**FEW, **BOX, "use_sequential_levels": True}, 60, 120),
    ("procgen/bigfish", {**FEW, **SILHOUETTE, "distribution_mode": "hard"}, 80, 120),
    ("procgen/maze", {**ALL, **OFF}, 520, 120),
    ("procgen/plunder", {**FEW, **SILHOUETTE}, 60, 120),
    ("procgen/jumper", {**ALL, **BOX, "paint_vel_info": True}, 60, 120),
    ("procgen/heist", {**FEW, **BOX}, 60, 100),
    ("procgen/bossfight", {**ALL, **BOX}, 60, 100),
    ("minigrid/DoorKey-6x6", {**FEW}, 150, 250),
    ("minigrid/Dynamic-Obstacles-6x6", {**ALL, **BOX}, 20, 60),
    ("minigrid/Fetch-5x5-N2", {**ALL, "view": "partial"}, 40, 120),
    ("minigrid/ObstructedMaze-1Dlhb", {**FEW, **OFF}, 40, 100),
    ("minigrid/LockedRoom", {**FEW}, 20, 60),
    ("minigrid/MultiRoom-N2-S4", {**ALL}, 20, 80),
    ("crafter/Reward", {**FEW, "length": 70}, 100, 120),
    ("crafter/Reward", {**ALL, **BOX, "daylight": "night", "world": "rugged"}, 150, 100),
    ("crafter/NoReward", {**FEW, **OFF, "size": 48, "theme": "recolored"}, 170, 80),
    ("atari/Breakout", {**FEW, "stack_labels": "union", "episodic_life": True}, 60, 80),
    ("atari/Qbert", {**ALL}, 45, 60),
    ("atari/MsPacman", {**ALL, **BOX}, 45, 50),
    ("atari/Pong", {**OFF, "repeat_action_probability": 0.25}, 45, 50),
    *(
        (f"dm_control/{name}", {**ALL, "size": 32, "action_repeat": 50, **options}, 7, 20)
        for name, options in (
            ("cartpole-swingup", {"stack_labels": "union"}),
            ("finger-turn_hard", {"appearance": "color_hard", "frame_stack": 1}),
            ("point_mass-hard", {"appearance": "video_hard"}),
            ("swimmer-swimmer6", {"camera": "moving", **OFF}),
            ("walker-walk", {}),
        )
    ),
]


@pytest.mark.parametrize(("env_id", "options", "before", "after"), PLAYS, ids=[each[0] for each in PLAYS])
def test_a_restored_environment_plays_on_bit_for_bit(env_id, options, before, after):
    needs(env_id)
    check_goes_on(partial(make_vec, env_id, 2, 5, **options), before, after)


def test_the_plays_above_cross_automatic_resets():
    told = check_goes_on(partial(make_vec, "toy_grid/default", 3, 5), 57, 100)
    assert any("episode" in info for _, _, dones, _, infos in told for info in infos)
    assert any(0 < dones.sum() < len(dones) for _, _, dones, _, _ in told)


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("toy_grid/default", {}),
        ("procgen/starpilot", {"segmentation": "silhouette"}),
        ("minigrid/DoorKey-6x6", {}),
        ("crafter/Reward", {"daylight": "night", "num_levels": 5}),
        ("atari/Breakout", {}),
        ("dm_control/reacher-easy", {"size": 32, "action_repeat": 20}),
    ],
)
def test_another_process_goes_on_from_a_checkpoint(env_id, options, tmp_path):
    needs(env_id)
    venv = make_vec(env_id, 2, 5, **options)
    venv.reset()
    play(venv, actions_of(venv, 60))
    write_checkpoint(tmp_path, 120, {"env": save_env(venv).tree})
    expected = digest(play(venv, actions_of(venv, 40, seed=1)))
    venv.close()
    command = [sys.executable, "-m", "tests.envs.saved_plays", str(tmp_path), env_id, json.dumps(options), "40"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize("subproc", [False, True], ids=["Dummy", "Subproc"])
def test_minigrid_goes_on_in_this_process_and_in_workers(subproc):
    needs("minigrid/Empty-5x5")
    check_goes_on(partial(make_vec, "minigrid/Empty-5x5", 1, 5, subproc=subproc), 30, 60)


@pytest.mark.parametrize("name", ["toy_grid", "procgen/starpilot"])
def test_the_environment_of_a_training_goes_on_with_its_normalized_rewards(name):
    needs("procgen/starpilot" if name.startswith("procgen") else name)
    config = load_config(
        name, ["env.num_envs=2", "algorithm.batch_size=64", "env.normalize_reward=true", "algorithm.n_steps=64"]
    )
    told = check_goes_on(partial(make_training_env, config), 80, 80)
    assert any(rewards.any() for _, rewards, _, _, _ in told)


def test_before_the_first_reset_the_first_episodes_are_the_same():
    for env_id in ("toy_grid/default", "procgen/coinrun", "minigrid/Empty-5x5", "atari/Pong", "crafter/Reward"):
        needs(env_id)
        venv, other = make_vec(env_id, 2, 5), make_vec(env_id, 2, 6)
        saved = save_env(venv)
        assert saved.exact, saved.why_inexact
        first = venv.reset()
        restore_env(other, written_and_read(saved))
        assert digest(other.reset()) == digest(first)
        venv.close()
        other.close()


def test_a_seed_that_waits_for_the_next_reset_is_saved():
    for env_id in ("toy_grid/default", "procgen/coinrun", "minigrid/DoorKey-6x6"):
        needs(env_id)
        venv, other = make_vec(env_id, 2, 5), make_vec(env_id, 2, 6)
        venv.reset()
        venv.seed(9)
        restore_env(other, written_and_read(save_env(venv)))
        assert digest(other.reset()) == digest(venv.reset())
        venv.close()
        other.close()


def test_the_generator_of_an_action_space_goes_on():
    venv, other = make_vec("toy_grid/default", 2, 5), make_vec("toy_grid/default", 2, 5)
    venv.action_space.seed(3)
    venv.action_space.sample()
    restore_env(other, written_and_read(save_env(venv)))
    assert [venv.action_space.sample() for _ in range(20)] == [other.action_space.sample() for _ in range(20)]


def test_a_vizdoom_environment_starts_new_episodes_and_goes_on_drawing_levels():
    needs("vizdoom/Basic")
    venv, other = make_vec("vizdoom/Basic", 1, 5), make_vec("vizdoom/Basic", 1, 5)
    venv.reset()
    play(venv, actions_of(venv, 5))
    saved = save_env(venv)
    assert not saved.exact
    assert "VizdoomEnv" in saved.why_inexact
    observations = restore_env(other, written_and_read(saved))
    assert digest(observations) == digest(venv.reset())
    assert digest(play(venv, actions_of(venv, 9))) == digest(play(other, actions_of(venv, 9)))
    venv.close()
    other.close()


def test_generated_assets_start_new_episodes_and_say_why():
    needs("procgen/coinrun")
    options = {"segmentation": None, "use_generated_assets": True}
    venv, other = make_vec("procgen/coinrun", 2, 5, **options), make_vec("procgen/coinrun", 2, 5, **options)
    venv.reset()
    play(venv, actions_of(venv, 5))
    saved = save_env(venv)
    assert (saved.exact, "use_generated_assets" in saved.why_inexact) == (False, True)
    first = other.reset()
    assert digest(restore_env(other, saved)) != digest(first)
    venv.close()
    other.close()


@pytest.mark.parametrize(
    ("env_id", "num_envs", "options", "told"),
    [
        ("toy_grid/default", 3, {}, "num_envs"),
        ("toy_grid/default", 2, {"max_steps": 7}, "max_steps"),
        ("toy_grid/default", 2, {"segmentation": None}, "segmentation"),
        ("procgen/coinrun", 2, {}, "ProcgenVecEnv"),
    ],
)
def test_the_state_of_another_environment_is_refused_in_one_line(env_id, num_envs, options, told):
    needs(env_id)
    venv = make_vec("toy_grid/default", 2, 5)
    venv.reset()
    saved = save_env(venv)
    other = make_vec(env_id, num_envs, 5, **options)
    with pytest.raises(ValueError, match=told) as error:
        restore_env(other, saved)
    assert "\n" not in str(error.value)
    other.close()


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("procgen/starpilot", {}),
        ("procgen/coinrun", {"num_levels": 7}),
        ("minigrid/DoorKey-5x5", {}),
        ("minigrid/DoorKey-6x6", {"num_levels": 7}),
    ],
)
def test_another_game_other_levels_and_other_processes_are_refused(env_id, options):
    needs(env_id)
    family = env_id.partition("/")[0]
    venv = make_vec({"procgen": "procgen/coinrun", "minigrid": "minigrid/DoorKey-6x6"}[family], 2, 5)
    venv.reset()
    other = make_vec(env_id, 2, 5, **options)
    with pytest.raises(ValueError, match="belongs to another environment"):
        restore_env(other, save_env(venv))
    venv.close()
    other.close()

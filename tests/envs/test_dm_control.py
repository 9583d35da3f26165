"""The DeepMind Control Suite: its table, pictures, masks and episodes against the suite itself."""

import contextlib
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from camal_rl.envs import MissingExtraError, dm_control, make_vec
from camal_rl.envs.counterfactual import IDENTITY, check_counterfactual_env
from camal_rl.envs.dm_control import NoRendererError
from camal_rl.envs.dm_control.engine import import_suite
from camal_rl.envs.dm_control.options import parse_options
from camal_rl.envs.dm_control.tasks import TASKS
from tests.envs.dm_control_plays import check_identity, single, started
from tests.envs.gl import needs_dm_control

pytestmark = needs_dm_control
LEFT_OUT = {"dog", "lqr", "quadruped-escape", "humanoid-run_pure_state"}
SIX = ("cartpole-swingup", "ball_in_cup-catch", "finger-turn_easy", "reacher-easy", "swimmer-swimmer6", "walker-walk")
MORE = ("fish-swim", "manipulator-insert_peg", "point_mass-hard", "quadruped-fetch", "stacker-stack_2")


def simulator(name):
    task = TASKS[name]
    return import_suite().load(task.domain, task.task, task_kwargs={"random": 0})


def test_the_table_is_the_suites_own():
    suite, found = import_suite(), set()
    for domain, task in suite.ALL_TASKS:
        if domain not in LEFT_OUT and f"{domain}-{task}" not in LEFT_OUT:
            found.add(f"{domain}-{task}")
    assert found == set(TASKS)


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, os, camal_rl.envs as e; e.env_info('dm_control/cartpole-swingup'); "
        "print('mujoco' in sys.modules, 'dm_control' in sys.modules, os.environ.get('LP_NUM_THREADS'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "LP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False False None\n"


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_triton_is_loaded_before_the_drivers_whose_llvm_it_cannot_follow(tmp_path, broken):
    drawing = "any(word in open('/proc/self/maps').read() for word in ('EGL', 'OSMesa', 'LLVM', 'gallium'))"
    (tmp_path / "triton.py").write_text(f"print('drawing:', {drawing})\n" + "raise OSError\n" * broken)
    code = (
        f"from camal_rl.envs import make_vec; make_vec('dm_control/cartpole-swingup', 1, 0).reset(); print({drawing})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == ("drawing: False", "True")


def test_a_missing_simulator_gives_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    monkeypatch.delitem(sys.modules, "dm_control.suite", raising=False)
    with pytest.raises(MissingExtraError, match="dm_control"):
        make_vec("dm_control/cartpole-swingup", 1, 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"MUJOCO_GL": "osmesa", "LD_LIBRARY_PATH": ""}, "MUJOCO_GL=osmesa"),
        ({"MUJOCO_GL": "nonsense"}, "MUJOCO_GL=nonsense"),
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "99"}, "MUJOCO_GL=egl"),
    ],
)
def test_without_a_renderer_the_command_line_says_so_in_one_line(settings, told, tmp_path):
    if settings["MUJOCO_GL"] == "osmesa" and importlib.util.find_spec("OpenGL") is not None:
        import ctypes.util

        if ctypes.util.find_library("OSMesa"):
            pytest.skip("OSMesa is installed")
    command = [sys.executable, "-m", "camal_rl.cli.main", "masks", "dm_control/cartpole-swingup"]
    environment = {**os.environ, **settings}
    environment.pop("PYOPENGL_PLATFORM", None)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("camal-rl: dm_control cannot draw: ")
    assert told in line
    assert "libegl1" in line
    assert "libosmesa6" in line


def test_a_renderer_is_chosen_only_where_nobody_has_chosen_one_and_no_display_is_there(monkeypatch):
    from camal_rl.envs.dm_control import engine

    monkeypatch.setattr(engine.sys, "platform", "linux")
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine, "_loads", lambda file: file.startswith("libOSMesa"))
    engine._choose_renderer()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    engine._choose_renderer()
    assert os.environ["MUJOCO_GL"] == "glfw"
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(engine, "_loads", lambda file: False)
    with pytest.raises(NoRendererError, match="neither EGL nor OSMesa is installed; install EGL"):
        engine._choose_renderer()
    monkeypatch.setenv("DISPLAY", ":0")
    engine._choose_renderer()
    assert "MUJOCO_GL" not in os.environ


@pytest.mark.parametrize("name", ["cartpole-swingup", "reacher-easy", "quadruped-walk"])
def test_pictures_rewards_and_episodes_are_the_suites(name):
    """Shadows, reflections and smoothing are off in both; everything else is the suite's."""
    theirs = simulator(name)
    limits, camera = theirs.action_spec(), TASKS[name].camera
    actions = np.random.default_rng(0).uniform(-1, 1, (5, *limits.shape)).astype(np.float32)
    theirs.task.random.seed(7)
    theirs.reset()
    theirs.physics.model.vis.quality.offsamples = 0
    off = dict.fromkeys(("shadow", "reflection", "haze", "fog"), False)
    shown, gained = [theirs.physics.render(84, 84, camera_id=camera, render_flag_overrides=off)], []
    for action in actions.astype(float):
        scaled = limits.minimum + (action + 1) / 2 * (limits.maximum - limits.minimum)
        gained.append(sum(theirs.step(scaled if name == "quadruped-walk" else action).reward for _ in range(3)))
        shown.append(theirs.physics.render(84, 84, camera_id=camera, render_flag_overrides=off))
    theirs.close()
    # The suite takes its own context for the current one, so ours is made after its last picture.
    ours = single(name, size=84, action_repeat=3, segmentation=None)
    np.testing.assert_array_equal(ours.reset(seed=7)[0], shown[0])
    for action, image, reward in zip(actions, shown[1:], gained, strict=True):
        found, *rest = ours.step(action)
        np.testing.assert_array_equal(found, image)
        assert rest[:3] == [pytest.approx(reward, abs=1e-9), False, False]
    ours.close()


def test_an_episode_is_truncated_after_a_thousand_steps_of_the_simulator():
    env, theirs = single("cartpole-balance", action_repeat=300), simulator("cartpole-balance")
    assert theirs._step_limit == 1000
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[1:4] for _ in range(4)]
    assert [truncated for _, _, truncated in ends] == [False, False, False, True]
    assert not any(terminated for _, terminated, _ in ends)
    assert ends[-1][0] <= 100 + 1e-6
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(np.zeros(1, np.float32))
    env.close()
    theirs.close()


def test_a_level_follows_from_its_number_alone():
    for name in ("reacher-easy", "point_mass-hard", "swimmer-swimmer6"):
        env, other = single(name), single(name)
        first, _ = env.reset(seed=5)
        other.reset(seed=9)
        other.step(other.action_space.sample())
        second, _ = other.reset(seed=5)
        np.testing.assert_array_equal(first, second)
        action = np.full(env.action_space.shape, 0.3, np.float32)
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
        assert (env.reset(seed=6)[0] != first).any()
        env.close()
        other.close()


def test_what_is_no_action_is_refused():
    env = single("reacher-easy")
    env.reset(seed=0)
    for action in (np.full(2, 1.5), np.zeros(3), np.array([np.nan, 0])):
        with pytest.raises(ValueError, match=r"2 numbers in \[-1, 1\]"):
            env.step(action)
    env.close()


@pytest.mark.parametrize("name", [*SIX, *MORE])
def test_label_maps_are_the_suites_segmentation_by_the_names_of_its_geoms(name):
    """The suite draws its own segmentation; which class a geom has is told by names written out here."""
    env, _, labels = started(name)
    simulation = env._simulation
    physics = simulation._physics
    numbers = physics.render(64, 64, camera_id=TASKS[name].camera, segmentation=True)
    expected = np.zeros((64, 64), dtype=object)
    for row, column in np.ndindex(64, 64):
        number, kind = numbers[row, column]
        expected[row, column] = class_by_name(physics.model, number, kind, name.partition("-")[0])
    shown = np.array(env.segmentation_spec.names, dtype=object)[labels]
    np.testing.assert_array_equal(shown, expected)
    assert set(np.unique(labels)) - {0}
    env.close()


def class_by_name(model, number, kind, domain):
    """Return the class of an object of a model by its name."""
    if number == -1:
        return "background"
    name = model.id2name(number, kind)
    objects = {
        "ball_in_cup": ("ball",),
        "finger": ("cap1", "cap2", "spinner_decoration"),
        "manipulator": ("ball", "blade", "guard", "pommel", "slot_0", "slot_1", "slot_2"),
        "quadruped": ("ball",),
        "stacker": ("box0", "box1"),
    }
    if name.startswith("target"):
        return "target"
    if name in objects.get(domain, ()):
        return "object"
    if name in ("floor", "ground", "background"):
        return "ground"
    return "fixture" if name.startswith(("rail", "wall")) else "body"


@pytest.mark.parametrize("name", SIX)
def test_what_changes_without_a_class_has_its_label(name):
    """Leave each class out: every pixel that changes has its label, and nearly every labeled pixel changes."""
    env, image, labels = started(name)
    names = env.segmentation_spec.names
    for intervention in env.interventions():
        if intervention.kind != "remove":
            continue
        current, without = env.redraw(intervention)
        np.testing.assert_array_equal(current, image)
        labeled = labels == names.index(intervention.class_name)
        changed = (without != image).any(axis=2)
        assert not (changed & ~labeled).any()
        assert changed.sum() >= 0.9 * labeled.sum()
        assert not (env.redrawn_labels(intervention) == names.index(intervention.class_name)).any()
    env.close()


@pytest.mark.parametrize("name", [*SIX, *MORE])
def test_redrawing_is_faithful_and_leaves_play_alone(name):
    venv, twin = (make_vec(f"dm_control/{name}", 1, 4, size=64, action_repeat=4) for _ in range(2))
    observations, rng = venv.reset(), np.random.default_rng(0)
    twin.reset()
    for _ in range(4):
        check_counterfactual_env(venv, observations)
        np.testing.assert_array_equal(venv.redrawn_labels(IDENTITY), venv.segmentation())
        action = rng.uniform(-1, 1, (1, *venv.action_space.shape)).astype(np.float32)
        observations, rewards, *_ = venv.step(action)
        expected, twins, *_ = twin.step(action)
        np.testing.assert_array_equal(observations, expected)
        assert rewards == twins
    venv.close()
    twin.close()


def test_states_hold_what_the_task_has_set_in_its_model():
    env, image, _ = started("reacher-easy")
    state, other = env.get_state(), single("reacher-easy")
    assert "geom_pos" in state["simulation"]["model"]
    other.reset(seed=8)
    other.set_state(state)
    check_identity(other)
    np.testing.assert_array_equal(other.redraw(IDENTITY)[1], image)
    action = np.array([0.5, -0.5], np.float32)
    for _ in range(5):
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
    env.close()
    other.close()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"action_repeat": 0}, ValueError, r"action_repeat must be in \[1, 1000\]"),
        ({"size": 8}, ValueError, r"size must be in \[32, 512\]"),
        ({"frame_stack": "3"}, TypeError, "frame_stack must be an integer"),
        ({"appearance": "video"}, ValueError, "appearance must be one of 'original', 'color_easy'"),
        ({"camera": "moved"}, ValueError, "camera must be one of 'original', 'moving'"),
        ({"segmentation": "box"}, ValueError, "segmentation must be one of 'silhouette', None"),
        ({"relevant": ["cart"]}, ValueError, "unknown relevant class 'cart'"),
        ({"subproc": 1}, TypeError, "subproc must be true or false"),
        ({"frame_skip": 2}, TypeError, "unknown dm_control option 'frame_skip'; did you mean"),
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(options, error, told):
    with contextlib.suppress(AttributeError), pytest.raises(error, match=told):
        parse_options("cartpole-swingup", options)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'dm_control/walker-walk'"):
        make_vec("dm_control/walker-wlak", 1, 0)


def test_every_held_out_set_plays_other_levels_and_says_all_that_it_changes():
    sets = dm_control.level_sets("cartpole-swingup")
    assert list(sets)[:2] == ["train", "held_out"]
    assert all(each["start_level"] == 200 for name, each in sets.items() if name != "train")
    assert len({tuple(sorted(each.items())) for each in sets.values()}) == len(sets)

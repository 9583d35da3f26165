"""A copied or pickled environment goes on as the original does, by itself, or says that it cannot be copied."""

import copy
import importlib.util
import os
import pickle

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from camal_rl.envs import make_segmented_vec, make_vec, wrap_vec
from camal_rl.envs.atari import AtariEnv
from camal_rl.envs.crafter import make_env as make_crafter
from camal_rl.envs.dm_control import make_env as make_dm_control
from camal_rl.envs.minigrid import make_env as make_minigrid
from camal_rl.envs.procgen import ProcgenEnv
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.toy_grid import ToyGridEnv
from camal_rl.envs.vizdoom.env import make_env as make_vizdoom
from camal_rl.envs.wrappers import (
    SegmentedCrop,
    SegmentedFrameSkip,
    SegmentedFrameStack,
    SegmentedGrayscale,
    SegmentedResize,
)
from tests.envs.actions import drawn_action, drawn_actions
from tests.envs.gl import why_not
from tests.envs.test_checker import SPEC, Ball

WAYS = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "deepcopy of a pickle": lambda env: copy.deepcopy(pickle.loads(pickle.dumps(env))),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
MODULES = {
    "procgen": MODULE,
    "minigrid": "minigrid",
    "atari": "ocatari",
    "vizdoom": "vizdoom",
    "crafter": "crafter",
    "dm_control": "dm_control",
}


def need(family):
    """Skip where a simulator is not installed, but not in CI."""
    module = MODULES.get(family)
    if module is not None and importlib.util.find_spec(module) is None and "CI" not in os.environ:
        pytest.skip(f"{module} is not installed")
    if family == "dm_control" and why_not():
        pytest.skip(why_not())


def wrapped_toy():
    env = SegmentedFrameStack(SegmentedResize(SegmentedGrayscale(ToyGridEnv(max_steps=6)), 48), 3, "union")
    return SegmentedFrameSkip(SegmentedCrop(env, 4, 4, 40, 40), 2)


SINGLE = {
    "toy_grid": lambda: ToyGridEnv(max_steps=6),
    "minigrid": lambda: make_minigrid("Dynamic-Obstacles-5x5"),
    "minigrid partial": lambda: make_minigrid("DoorKey-5x5", view="partial"),
    "procgen": lambda: ProcgenEnv("bigfish", num_levels=20),
    "procgen silhouettes": lambda: ProcgenEnv("coinrun", segmentation="silhouette", render_mode="rgb_array"),
    "crafter": lambda: make_crafter("Reward", length=30, daylight="night"),
    "dm_control": lambda: make_dm_control("reacher-easy", size=32, action_repeat=50),
    "wrappers": wrapped_toy,
}
VECTORIZED = {
    "toy_grid": lambda: make_vec("toy_grid/default", 3, 0, max_steps=6),
    "toy_grid boxes": lambda: make_vec("toy_grid/no_cue", 3, 0, segmentation="box"),
    "minigrid": lambda: make_vec("minigrid/Dynamic-Obstacles-5x5", 3, 0),
    "procgen": lambda: make_vec("procgen/bigfish", 3, 0, num_levels=20),
    "procgen silhouettes": lambda: make_vec("procgen/starpilot", 3, 0, segmentation="silhouette"),
    "procgen without masks": lambda: make_vec("procgen/maze", 3, 0, segmentation=None),
    "crafter": lambda: make_vec("crafter/Reward", 3, 0, length=30),
    "dm_control": lambda: make_vec("dm_control/walker-walk", 2, 0, size=32, action_repeat=100),
    "own": lambda: make_segmented_vec(Ball, 3),
    "wrapped": lambda: wrap_vec(DummyVecEnv([wrapped_toy] * 3)),
}


def single_play(env, seed, steps):
    """Return everything that an environment shows, from where it is."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(drawn_action(env.action_space, rng))
        seen.append((observation, reward, terminated, truncated, info.get("segmentation")))
        if terminated or truncated:
            observation, info = env.reset()
            seen.append((observation, info.get("segmentation")))
    return seen


def vec_play(env, seed, steps):
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        observations, rewards, dones, infos = env.step(drawn_actions(env.action_space, env.num_envs, rng))
        episodes = [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info]
        seen.append((observations, rewards, dones, env.segmentation() if env.has_segmentation else None, episodes))
    return seen


def assert_equal(first, second):
    assert len(first) == len(second)
    for left, right in zip(first, second, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one, other)


@EVERY_WAY
@pytest.mark.parametrize("name", SINGLE)
def test_a_copy_goes_on_as_the_original_and_neither_moves_the_other(name, way):
    need(name.split()[0])
    env = SINGLE[name]()
    env.reset(seed=4)
    single_play(env, 0, 5)
    other, untouched = way(env), way(env)
    seen = single_play(env, 1, 40)
    single_play(other, 2, 7)
    assert_equal(single_play(untouched, 1, 40), seen)
    for each in (env, other, untouched):
        each.close()


@EVERY_WAY
@pytest.mark.parametrize("name", VECTORIZED)
def test_a_vectorized_copy_goes_on_as_the_original_and_neither_moves_the_other(name, way):
    need(name.split()[0])
    env = VECTORIZED[name]()
    env.reset()
    vec_play(env, 0, 5)
    other, untouched = way(env), way(env)
    seen = vec_play(env, 1, 40)
    vec_play(other, 2, 7)
    assert_equal(vec_play(untouched, 1, 40), seen)
    env.reset()
    untouched.reset()
    assert_equal(vec_play(untouched, 3, 5), vec_play(env, 3, 5))
    for each in (env, other, untouched):
        each.close()


@EVERY_WAY
@pytest.mark.parametrize(
    ("family", "make"),
    [
        ("vizdoom", lambda: make_vizdoom("Basic")),
        ("atari", lambda: AtariEnv("Freeway", num_levels=10)),
        ("vizdoom", lambda: make_vec("vizdoom/Basic", 1, 0)),
        ("atari", lambda: make_vec("atari/Freeway", 1, 0)),
    ],
    ids=["ViZDoom", "Atari", "ViZDoom vectorized", "Atari vectorized"],
)
def test_simulators_without_complete_states_copy_until_they_were_started(family, make, way):
    need(family)
    env = make()
    twin = way(env)
    if isinstance(env, gymnasium.Env):
        np.testing.assert_array_equal(env.reset(seed=7)[0], twin.reset(seed=7)[0])
    else:
        np.testing.assert_array_equal(env.reset(), twin.reset())
    with pytest.raises(TypeError, match=r"was started cannot be copied or pickled.*before its first reset") as caught:
        way(env)
    assert "\n" not in str(caught.value)
    env.close()
    twin.close()


@EVERY_WAY
def test_procgen_without_states_refuses_copies_in_one_line(way):
    need("procgen")
    generated = make_vec("procgen/maze", 1, 0, use_generated_assets=True, segmentation=None)
    with pytest.raises(TypeError, match="cannot be copied or pickled here: Procgen cannot save states"):
        way(generated)
    env = make_vec("procgen/maze", 1, 0)
    env.reset()
    env.step_async(np.zeros(1, dtype=np.int64))
    with pytest.raises(TypeError, match="after step_wait"):
        way(env)
    env.step_wait()
    env.close()
    with pytest.raises(TypeError, match="the environment is closed"):
        way(env)


def test_a_copy_can_still_be_asked_what_if():
    need("procgen")
    for env_id in ("toy_grid/default", "procgen/coinrun", "minigrid/DoorKey-5x5"):
        env = make_vec(env_id, 1, 0)
        env.reset()
        other = copy.deepcopy(env)
        for intervention in env.interventions()[:3]:
            np.testing.assert_array_equal(
                env.counterfactual(intervention).images, other.counterfactual(intervention).images
            )
        env.close()
        other.close()


def test_label_maps_have_their_specs_in_copies():
    env = wrap_vec(DummyVecEnv([Ball]), SPEC)
    assert copy.deepcopy(env).spec == pickle.loads(pickle.dumps(env)).spec == SPEC

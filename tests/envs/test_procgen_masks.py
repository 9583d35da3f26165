"""Procgen's masks against independent oracles, across automatic resets and after a divergence."""

import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs.procgen import ProcgenVecEnv
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.procgen.palette import LabelPainter
from camal_rl.envs.procgen.repaint import flat_color_state
from camal_rl.envs.procgen.simulator import Simulator
from camal_rl.envs.procgen.state import entities, layout

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)

# Entity types from the games' sources, written down apart from the drawn types that the package uses.
ENTITY_CLASSES = {
    "bigfish": {0: {"agent"}, 2: {"fish"}},
    "bossfight": {0: {"agent"}, 7: {"meteor"}},
    "climber": {0: {"agent"}, 1: {"coin"}, 5: {"enemy"}},
    "coinrun": {0: {"agent"}, 1: {"coin"}, 2: {"saw"}, 5: {"enemy"}, 20: {"crate"}},
    "fruitbot": {0: {"agent"}, 1: {"wall"}, 4: {"bad_food"}, 7: {"fruit"}},
    "heist": {0: {"agent"}, 1: {"locked_door"}, 2: {"key"}, 9: {"gem"}},
    "plunder": {0: {"agent"}, 2: {"legend"}, 7: {"target_ship", "other_ship"}},
    "starpilot": {0: {"agent"}, 2: {"enemy_bullet"}, 4: {"flyer"}, 5: {"meteor"}, 8: {"flyer"}},
}


class StateCopying:
    """Label maps of an environment by giving a fresh simulator the whole state, frame by frame."""

    def __init__(self, env):
        flat = {"use_monochrome_assets": True, "restrict_themes": True, "use_backgrounds": False}
        self._simulator = Simulator(env.game, env.num_envs, 7, env.options.simulator_arguments() | flat)
        self._paint = LabelPainter(GAMES[env.game])
        self._env = env

    def labels(self):
        for index, state in enumerate(self._env.get_state()):
            self._simulator.set_state(index, flat_color_state(state, self._env.game, keep_themes=False))
        return self._paint(self._simulator.frames())


def make(game, num_envs, seed=0, **options):
    return ProcgenVecEnv(game, num_envs, seed, **{"num_levels": 200, "num_threads": 0, **options})


def sticky_actions(rng, last):
    return np.where(rng.random(len(last)) < 0.7, last, rng.integers(0, 15, len(last)))


@pytest.mark.parametrize("game", list(ENTITY_CLASSES))
def test_a_hidden_entity_changes_pixels_of_its_class(game):
    """Hiding an entity (opacity 0) changes the pixels it covers: these have to carry its class."""
    env, canvas = make(game, 8), make(game, 1, segmentation=None)
    rng, actions = np.random.default_rng(0), np.zeros(8, dtype=int)
    inside, changed, kinds = 0, 0, set()
    env.reset()
    for step in range(60):
        actions = sticky_actions(rng, actions)
        frames = env.step(actions)[0]
        if step % 3:
            continue
        labels, index = env.segmentation(), step // 3 % 8
        state = env.get_state()[index]
        for entity in range(layout(state).num_entities):
            edited = bytearray(state)
            found = entities(edited)[entity]
            if int(found["type"]) not in ENTITY_CLASSES[game]:
                continue
            found["alpha"] = 0.0
            difference = (canvas.set_state([bytes(edited)])[0] != frames[index]).any(axis=-1)
            expected = [env.spec.names.index(name) for name in ENTITY_CLASSES[game][int(found["type"])]]
            changed += int(difference.sum())
            inside += int((difference & np.isin(labels[index], expected)).sum())
            if difference.any():
                kinds.add(int(found["type"]))
    env.close()
    canvas.close()
    assert changed > 100
    assert len(kinds) >= 2
    assert inside / changed > 0.9


@pytest.mark.parametrize("game", ["dodgeball", "leaper", "bossfight", "fruitbot", "starpilot"])
def test_masks_fit_the_observation_across_automatic_resets(game):
    """Without backgrounds everything that is not black is an object, so it has to lie in some object's box."""
    env = make(game, 8, use_backgrounds=False)
    copying = StateCopying(env)
    rng, actions = np.random.default_rng(1), np.zeros(8, dtype=int)
    ends, now, before = 0, [], []
    env.reset()
    previous_labels = env.segmentation()
    for _ in range(200):
        actions = sticky_actions(rng, actions)
        observation, _, dones, _ = env.step(actions)
        labels = env.segmentation()
        np.testing.assert_array_equal(labels, copying.labels())
        drawn = (observation > 40).any(axis=-1)
        for index in np.flatnonzero(dones):
            now.append((labels[index] > 0)[drawn[index]].mean())
            before.append((previous_labels[index] > 0)[drawn[index]].mean())
        ends += int(dones.sum())
        previous_labels = labels
    assert env.num_mask_resyncs == 0
    assert ends >= 8
    assert np.mean(now) > 0.9
    assert np.mean(before) < np.mean(now) - 0.1


@pytest.mark.parametrize("game", sorted(GAMES))
def test_every_game_agrees_with_state_copying(game):
    env = make(game, 4, seed=3)
    copying = StateCopying(env)
    rng, actions = np.random.default_rng(2), np.zeros(4, dtype=int)
    env.reset()
    for _ in range(40):
        np.testing.assert_array_equal(env.segmentation(), copying.labels())
        actions = sticky_actions(rng, actions)
        env.step(actions)
    assert env.num_mask_resyncs == 0


@pytest.mark.parametrize(
    ("game", "options"),
    [
        ("bigfish", {"restrict_themes": True}),
        ("starpilot", {"use_monochrome_assets": True}),
        ("coinrun", {"center_agent": False, "distribution_mode": "hard"}),
        ("coinrun", {"use_sequential_levels": True, "start_level": 77, "num_levels": 3}),
        ("fruitbot", {"distribution_mode": "hard", "num_levels": 0}),
        ("jumper", {"distribution_mode": "memory"}),
        ("maze", {"distribution_mode": "exploration", "num_levels": None}),
        ("plunder", {"use_backgrounds": False, "num_threads": 2}),
    ],
)
def test_options_that_are_not_the_default(game, options):
    options = {"num_levels": 200, "num_threads": 0, **options}
    if options["num_levels"] is None:
        del options["num_levels"]
    env = ProcgenVecEnv(game, 3, 5, **options)
    copying = StateCopying(env)
    rng, actions = np.random.default_rng(4), np.zeros(3, dtype=int)
    env.reset()
    for _ in range(40):
        actions = sticky_actions(rng, actions)
        env.step(actions)
        np.testing.assert_array_equal(env.segmentation(), copying.labels())
    assert env.num_mask_resyncs == 0


def test_painted_velocity_hides_the_corner_and_nothing_else():
    plain, painted = make("coinrun", 4), make("coinrun", 4, paint_vel_info=True)
    plain_frames, painted_frames = plain.reset(), painted.reset()
    rng = np.random.default_rng(6)
    for _ in range(20):
        actions = rng.integers(0, 15, 4)
        plain_frames, painted_frames = plain.step(actions)[0], painted.step(actions)[0]
        expected = plain.segmentation()
        expected[:, :13, :26] = 0
        np.testing.assert_array_equal(painted.segmentation(), expected)
    differs = (plain_frames != painted_frames).any(axis=(0, 3))
    assert differs[:13, :26].any()
    assert not differs[13:].any()
    assert not differs[:, 26:].any()


def test_starpilot_finish_line_has_the_size_of_its_sprite():
    """The finish line appears on step 500 and is sized by a sprite that the flat-color simulator does not have."""
    env = make("starpilot", 8)
    copying = StateCopying(env)
    env.reset()
    states = []
    for state in env.get_state():
        edited = bytearray(state)
        offset = layout(edited).current_time
        edited[offset : offset + 4] = (498).to_bytes(4, "little")
        states.append(bytes(edited))
    env.set_state(states)
    seen = False
    for _ in range(25):
        env.step(np.full(8, 4))
        labels = env.segmentation()
        np.testing.assert_array_equal(labels, copying.labels())
        seen |= bool((labels == env.spec.names.index("finish_line")).any())
    assert seen
    assert env.num_mask_resyncs == 0


def test_a_divergence_is_found_and_healed():
    env = make("coinrun", 2)
    copying = StateCopying(env)
    env.reset()
    env.segmentation()
    other = flat_color_state(env.get_state()[1], "coinrun", keep_themes=False)
    env._mask_renderer._flat.set_state(0, other)
    rng = np.random.default_rng(0)
    wrong_before, steps = False, 0
    while env.num_mask_resyncs == 0 and steps < 400:
        env.step(rng.integers(0, 15, 2))
        steps += 1
        wrong_before |= env.num_mask_resyncs == 0 and not np.array_equal(env.segmentation(), copying.labels())
    assert wrong_before, "the tampered state was not tampered enough for this test"
    assert env.num_mask_resyncs == 1
    for _ in range(30):
        np.testing.assert_array_equal(env.segmentation(), copying.labels())
        env.step(rng.integers(0, 15, 2))


@pytest.mark.parametrize("segmentation", ["box", "silhouette"])
def test_masks_are_kept_until_the_step_ends_and_never_those_of_another_step(segmentation):
    env = make("starpilot", 2, segmentation=segmentation)
    env.reset()
    before = env.segmentation()
    for _ in range(3):
        env.step_async(np.full(2, 4))
        np.testing.assert_array_equal(env.segmentation(), before)
        env.step_wait()
        before = env.segmentation()
    env.step(np.full(2, 4))
    env.step_async(np.full(2, 4))
    with pytest.raises(RuntimeError, match="so read them after step_wait"):
        env.segmentation()
    env.step_wait()
    assert env.segmentation().shape == (2, 64, 64)
    env.close()


@pytest.mark.parametrize("game", ["coinrun", "bigfish", "plunder"])
def test_states_bring_back_frames_masks_and_rewards(game):
    env = make(game, 3)
    rng = np.random.default_rng(8)
    env.reset()
    for _ in range(15):
        env.step(rng.integers(0, 15, 3))
    states, actions = env.get_state(), rng.integers(0, 15, (15, 3))

    def play():
        seen = []
        for action in actions:
            frames, rewards, dones, _ = env.step(action)
            seen.append((frames, rewards, dones, env.segmentation()))
        return [np.stack(parts) for parts in zip(*seen, strict=True)]

    first_mask = env.segmentation()
    first = play()
    env.set_state(states)
    np.testing.assert_array_equal(env.segmentation(), first_mask)
    for expected, got in zip(first, play(), strict=True):
        np.testing.assert_array_equal(expected, got)
    assert env.num_mask_resyncs == 0

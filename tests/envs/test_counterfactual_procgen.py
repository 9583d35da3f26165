"""Procgen's counterfactuals: faithful redraws, exact removals, and a game that does not notice."""

import importlib.util
import os

import cv2
import numpy as np
import pytest

from camal_rl.envs import IDENTITY, Intervention, check_counterfactual_env
from camal_rl.envs.procgen import ProcgenVecEnv
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.edits import BACKGROUNDS, THEMES, WALL_THEMES, remove_class
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.procgen.simulator import Simulator
from camal_rl.envs.procgen.state import entities, world, write_int

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)

# What also shows when a class goes: things behind the boxes of others, and a disc drawn wider than its box.
ALSO_CHANGES = {("bossfight", "boss"): ("shield",), ("plunder", "legend_background"): ("legend",)}
# Entity types from the games' sources, written down apart from the classes that the package uses.
ENTITY_TYPES = {
    "bossfight": {"agent": 0, "boss": 2, "meteor": 7},
    "coinrun": {"agent": 0, "saw": 2, "enemy": 5, "crate": 20},
    "heist": {"key": 2, "held_key": 11, "locked_door": 1},
    "plunder": {"agent": 0, "legend": 2, "legend_background": 3},
    "starpilot": {"agent": 0, "player_bullet": 1, "meteor": 5},
}


def make(game, num_envs=4, seed=0, **options):
    return ProcgenVecEnv(game, num_envs, seed, **{"num_levels": 200, "num_threads": 0, **options})


def play(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 15, env.num_envs)
    for _ in range(steps):
        actions = np.where(rng.random(env.num_envs) < 0.7, actions, rng.integers(0, 15, env.num_envs))
        env.step(actions)


def named(env):
    return {item.name: item for item in env.interventions()}


def dilated(region):
    return np.stack([cv2.dilate(frame.astype(np.uint8), np.ones((3, 3), np.uint8)) for frame in region]).astype(bool)


def region_of(env, game, *names):
    """The pixels labeled with classes, and with the edges of these classes."""
    labels, classes = env.segmentation(), env.spec.names
    wanted = [*names, *(edge for terrain, edge in GAMES[game].edges.items() if terrain in names)]
    return np.isin(labels, [classes.index(name) for name in wanted])


@pytest.mark.parametrize("game", list(GAMES))
def test_every_game_redraws_faithfully_and_removes_classes_where_they_are(game):
    env = make(game, num_envs=3)
    env.reset()
    check_counterfactual_env(env, env.observations())
    changed, inside = 0, 0
    for steps in (20, 60):
        play(env, steps, seed=steps)
        assert not env.counterfactual(IDENTITY).changed.any()
        for item in (found for found in env.interventions() if found.class_name is not None):
            drawn = env.counterfactual(item)
            region = region_of(env, game, item.class_name, *ALSO_CHANGES.get((game, item.class_name), ()))
            changed += drawn.changed.sum()
            inside += (drawn.changed & dilated(region)).sum()
            assert not (drawn.applies & ~region.any(axis=(1, 2))).any(), item.name
    # Turned sprites (lasers, bullets) and bossfight's round shield reach beyond their boxes.
    assert inside >= 0.95 * changed > 0
    env.close()


@pytest.mark.parametrize("game", ["coinrun", "starpilot", "bigfish"])
def test_the_game_does_not_notice(game):
    quiet, asked = make(game, seed=5), make(game, seed=5)
    assert np.array_equal(quiet.reset(), asked.reset())
    rng = np.random.default_rng(1)
    for step in range(24):
        if step % 10 == 5:
            for item in asked.interventions():
                asked.counterfactual(item)
        actions = rng.integers(0, 15, 4)
        for one, other in zip(quiet.step(actions)[:3], asked.step(actions)[:3], strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(quiet.segmentation(), asked.segmentation())
    assert quiet.get_state() == asked.get_state()
    assert asked.num_mask_resyncs == 0
    quiet.close()
    asked.close()


@pytest.mark.parametrize("game", list(ENTITY_TYPES))
def test_removing_a_class_equals_making_its_entities_transparent(game):
    env, canvas = make(game), make(game, segmentation=None)
    env.reset()
    play(env, 70)
    for name, kind in ENTITY_TYPES[game].items():
        states = [bytearray(state) for state in env.get_state()]
        for state in states:
            found = entities(state)
            found["alpha"][found["type"] == kind] = 0
        expected = canvas.set_state([bytes(state) for state in states])
        assert np.array_equal(env.counterfactual(named(env)[f"remove_{name}"]).images, expected), name
    env.close()
    canvas.close()


def test_the_number_of_backgrounds():
    assert {
        **dict.fromkeys(("bossfight", "caveflyer", "starpilot"), 13),
        **dict.fromkeys(("climber", "coinrun", "jumper", "miner", "ninja"), 62),
        **dict.fromkeys(("dodgeball", "fruitbot", "heist", "leaper", "maze"), 9),
        "bigfish": 7,
        "chaser": 1,
        "plunder": 4,
    } == BACKGROUNDS
    env = make("maze", 1)
    simulator = Simulator("maze", 1, 0, env.options.simulator_arguments())
    state, frames = bytearray(env.get_state()[0]), set()
    for index in range(9):
        write_int(state, world(state).background_index, index)
        simulator.set_state(0, bytes(state))
        frames.add(simulator.frames().tobytes())
    assert len(frames) == 9
    simulator.close()
    env.close()


def test_backgrounds_change_and_the_walls_stay():
    env = make("maze")
    env.reset()
    drawn = [env.counterfactual(named(env)[name]) for name in ("background_1", "background_2", "background_3")]
    drawn.append(env.counterfactual(named(env)["background_off"]))
    walls = region_of(env, "maze", "wall")
    empty = env.segmentation() == 0
    assert all(item.applies.all() and not (item.changed & walls).any() for item in drawn)
    assert (drawn[3].images[empty] == 0).all()
    assert (env.observations()[empty] > 0).any(axis=1).mean() > 0.9
    assert len({item.images[0].tobytes() for item in drawn} | {env.observations()[0].tobytes()}) == 5
    env.close()


def test_themes_change_terrain_and_leave_the_background():
    env = make("coinrun")
    env.reset()
    walls, empty = region_of(env, "coinrun", "wall"), env.segmentation() == 0
    for name in ("theme_1", "theme_2"):
        drawn = env.counterfactual(named(env)[name])
        assert drawn.changed[walls].mean() > 0.9
        assert drawn.changed[empty].mean() < 0.02
    env.close()


def test_terrain_goes_with_what_is_drawn_outside_the_world():
    env = make("coinrun")
    env.reset()  # the agent starts at the left border, so the world's outside is in sight
    walls = region_of(env, "coinrun", "wall")
    assert walls[:, :, 0].all()
    assert env.counterfactual(named(env)["remove_wall"]).changed[walls].mean() > 0.98
    env.close()


def test_options_decide_what_can_be_redrawn():
    kinds = {item.kind for item in make("coinrun", 1).interventions()}
    assert kinds == {"background", "theme", "remove"}
    assert "background" not in {item.kind for item in make("coinrun", 1, use_backgrounds=False).interventions()}
    assert "theme" not in {item.kind for item in make("coinrun", 1, restrict_themes=True).interventions()}
    assert "theme" not in {item.kind for item in make("plunder", 1).interventions()}
    assert [item.name for item in make("chaser", 1).interventions() if item.kind == "background"] == ["background_off"]
    assert make("coinrun", 1, use_generated_assets=True, segmentation=None).interventions() == ()
    assert set(THEMES) | set(WALL_THEMES) <= set(GAMES) == set(BACKGROUNDS)
    env = make("chaser", 1)
    with pytest.raises(ValueError, match="unknown intervention 'background_1'"):
        env.counterfactual(Intervention("background_1", "background", None, "Paint another of the game's backgrounds."))


def test_one_object_goes_and_the_others_stay():
    env = make("bossfight", 2)
    env.reset()
    for index, objects in enumerate(env.objects()):
        meteors = [item for item in objects if item.class_name == "meteor"]
        assert len(meteors) >= 1
        chosen = [None, None]
        chosen[index] = meteors[0]
        drawn = env.counterfactual_without(chosen)
        left, top, right, bottom = meteors[0].box
        rows, columns = np.nonzero(drawn.changed[index])
        assert drawn.applies.tolist() == [index == 0, index == 1]
        assert columns.min() >= left - 1
        assert columns.max() <= right + 1
        assert rows.min() >= top - 1
        assert rows.max() <= bottom + 1
    with pytest.raises(ValueError, match="expected 2 objects"):
        env.counterfactual_without([None])
    env.close()


def test_boxes_of_objects_are_where_the_labels_are():
    env = make("maze")
    env.reset()
    for labels, objects in zip(env.segmentation(), env.objects(), strict=True):
        assert {item.class_name for item in objects} == {"agent", "cheese"}
        for item in objects:
            rows, columns = np.nonzero(labels == env.spec.names.index(item.class_name))
            shown = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert np.abs(np.subtract(shown, item.box)).max() <= 1
    env.close()


def test_nearest_and_largest_choose_among_the_relevant():
    env = make("maze", relevant=["agent", "cheese"])
    env.reset()
    cheese = env.counterfactual(named(env)["remove_cheese"]).images
    for name in ("remove_nearest_object", "remove_largest_object"):
        assert np.array_equal(env.counterfactual(named(env)[name]).images, cheese)
    env.close()
    env = make("maze", relevant=["agent"])
    assert not env.counterfactual(named(env)["remove_nearest_object"]).applies.any()
    env.close()


def test_the_compass_stays_under_a_double_jump():
    """The puff under a double jump cannot be kept without the compass, so such frames do not apply."""
    env = make("jumper", 1)
    env.reset()
    state = bytearray(env.get_state()[0])
    for has_support, jump_delta, goes in ((1, -1, True), (0, 1, True), (0, -1, False)):
        write_int(state, -20, has_support)
        write_int(state, -28, jump_delta)
        env.set_state([bytes(state)])
        assert env.counterfactual(named(env)["remove_compass"]).applies.tolist() == [goes]
        assert not env.counterfactual(IDENTITY).applies.any()
    env.close()


def test_enemies_and_weak_enemies_are_told_apart_by_the_state():
    env = make("chaser", 1)
    env.reset()
    play(env, 60)
    state = bytearray(env.get_state()[0])
    assert (entities(state)["image_type"] == 6).any()
    for eat_time, present, absent in ((-1000, "enemy", "weak_enemy"), (10**6, "weak_enemy", "enemy")):
        write_int(state, -24, eat_time)
        for name, goes in ((present, True), (absent, False)):
            edited = bytearray(state)
            remove_class(edited, "chaser", name)
            assert (edited != state) is goes
    env.close()


def test_closing_twice_and_asking_again_after_a_new_seed():
    env = make("maze", 1)
    env.reset()
    env.counterfactual(IDENTITY)
    env.seed(3)
    check_counterfactual_env(env, env.reset())
    env.close()
    env.close()

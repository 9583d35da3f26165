"""Crafter's counterfactuals against Crafter's own pictures of a world that was edited."""

import copy
import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs import IDENTITY, Intervention, check_counterfactual_env, make_vec
from camal_rl.envs.crafter.classes import GROUND, LEFT_BEHIND, NAMES, OBJECTS, RELEVANT

if importlib.util.find_spec("crafter") is None and "CI" not in os.environ:
    pytest.skip("Crafter is not installed", allow_module_level=True)

from crafter import objects

from tests.envs.crafter_itself import crafter_env, picture


def played(steps, num_envs=2, seed=0, first=0, **options):
    env = make_vec("crafter/Reward", num_envs, seed, num_levels=20, **options)
    observations, rng = env.reset(), np.random.default_rng(seed)
    for game in games(env):
        game._step = first
    for _ in range(steps):
        observations, *_ = env.step(rng.integers(0, env.action_space.n, num_envs))
    return env, observations


def games(env):
    return [each.unwrapped._game for each in env.venv.envs]


def named(env):
    return {item.name: item for item in env.interventions()}


class SameNoise:
    """Stands for the generator of a world that is painted in the dark: it draws the noise of the present picture."""

    def __init__(self, noise):
        self.noise = noise

    def uniform(self, low, high, shape):
        assert (low, high, tuple(shape)) == (32, 127, self.noise.shape)
        return self.noise

    def get_state(self):
        return None

    def set_state(self, state):
        pass


@pytest.fixture(scope="module")
def theirs():
    """Return Crafter's own environment, which paints any state that it is given."""
    return crafter_env(0)


def painted_by(theirs, env, edit):
    """Return Crafter's own pictures of the games of an environment after an edit."""
    found = []
    for game in games(env):
        theirs._world.random = SameNoise(game.noise)
        theirs._world._mat_map, theirs._world._obj_map = game.world._mat_map.copy(), game.world._obj_map
        theirs._world._objects, theirs._world.daylight = list(game.world._objects), game.world.daylight
        theirs._player = game.player
        edit(theirs)
        found.append(picture(theirs))
    return np.stack(found)


def without(name):
    """Return what takes a class out of Crafter's own world."""

    def edit(env):
        world = env._world
        if name == "inventory":
            env._player = copy.copy(env._player)
            env._player.inventory = dict.fromkeys(env._player.inventory, 0)
        elif name in OBJECTS:
            world._objects = [None if type(each).__name__.lower() == name else each for each in world._objects]
        else:
            world._mat_map[world._mat_map == NAMES.index(name)] = NAMES.index(LEFT_BEHIND[name])

    return edit


@pytest.mark.parametrize(
    ("steps", "options"),
    [(0, {}), (12, {"daylight": "night"}), (9, {"first": 180, "theme": "recolored", "segmentation": "box"}),
     (5, {"segmentation": None, "daylight": "day", "size": 50})],
)  # fmt: skip
def test_the_contract_holds_while_playing(steps, options):
    check_counterfactual_env(*played(steps, **options))


def test_the_contract_holds_in_processes():
    check_counterfactual_env(*played_in_a_process())


def played_in_a_process():
    env = make_vec("crafter/Reward", 1, 0, subproc=True, daylight="night")
    return env, env.reset()


@pytest.mark.parametrize("first", [0, 200], ids=["day", "night"])
def test_redrawing_does_not_disturb_the_games(first):
    quiet, asked = (played(0, seed=3, first=first)[0] for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(25):
        for item in asked.interventions():
            asked.counterfactual(item)
        actions = rng.integers(0, 17, 2)
        for one, other in zip(quiet.step(actions)[:3], asked.step(actions)[:3], strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(quiet.segmentation(), asked.segmentation())


@pytest.mark.parametrize("first", [0, 200], ids=["day", "night"])
def test_removal_is_crafters_own_picture_of_a_world_without_the_class(first, theirs):
    env, observations = played(14, num_envs=3, seed=1, first=first)
    game = games(env)[0]
    for column, kind in enumerate((objects.Cow, objects.Plant)):
        place = game.player.pos + np.array((2 - column, 2))
        if game.world[place][1] is None:
            game.world.add(kind(game.world, place))
    for place, material in (((-1, 2), "table"), ((-2, 2), "furnace"), ((-3, 2), "lava"), ((-4, 2), "stone")):
        if game.world[game.player.pos + np.array(place)][1] is None:
            game.world[tuple(game.player.pos + np.array(place))] = material
    observations = env.counterfactual(IDENTITY).images
    np.testing.assert_array_equal(observations, painted_by(theirs, env, lambda _: None))
    applied = set()
    for item in env.interventions():
        if item.kind == "remove" and item.class_name is not None:
            drawn = env.counterfactual(item)
            np.testing.assert_array_equal(drawn.images, painted_by(theirs, env, without(item.class_name)))
            labels = env.redrawn_labels(item)
            assert not (labels == NAMES.index(item.class_name)).any()
            if (drawn.images != observations).any():
                applied.add(item.class_name)
    assert applied >= {"player", "cow", "plant", "table", "furnace", "lava", "inventory", "stone"}


def test_every_class_but_the_ground_can_be_removed():
    env = make_vec("crafter/Reward", 1, 0)
    removable = {item.class_name for item in env.interventions() if item.kind == "remove"} - {None}
    assert removable == set(NAMES) - {"background", *GROUND}


def test_without_night_is_crafters_picture_at_noon(theirs):
    env, observations = played(10, first=200)

    def noon(their):
        their._world.daylight = 1.0

    drawn = env.counterfactual(named(env)["night_off"])
    np.testing.assert_array_equal(drawn.images, painted_by(theirs, env, noon))
    assert drawn.applies.all()
    assert drawn.images.mean() > observations.mean()
    assert "night_off" not in named(make_vec("crafter/Reward", 1, 0, daylight="day"))


def test_another_theme_is_the_same_play_in_the_other_textures():
    usual, observations = played(15, first=150)
    other, recolored = played(15, first=150, theme="recolored")
    assert np.array_equal(usual.counterfactual(named(usual)["theme_1"]).images, recolored)
    assert np.array_equal(other.counterfactual(named(other)["theme_1"]).images, observations)
    np.testing.assert_array_equal(usual.redrawn_labels(named(usual)["theme_1"]), usual.segmentation())


def test_the_nearest_relevant_thing_is_removed():
    env, _ = played(0, num_envs=6, seed=4, daylight="day")
    before, after = env.segmentation(), env.redrawn_labels(named(env)["remove_nearest_object"])
    found = 0
    for labels, changed in zip(before, before != after, strict=True):
        cells = [
            (abs(column - 4) + abs(row - 3), row, column)
            for row, column in np.ndindex(7, 9)
            for label in np.unique(labels[7 * row : 7 * row + 7, 7 * column : 7 * column + 7])
            if NAMES[label] in RELEVANT and NAMES[label] != "player"
        ]
        places = np.unique(np.argwhere(changed) // 7, axis=0).tolist()
        assert len(places) == bool(cells)
        if cells:
            ((row, column),) = places
            assert abs(column - 4) + abs(row - 3) == min(cells)[0]
            found += 1
    assert found
    env, _ = played(0, relevant=["diamond"])
    assert not env.counterfactual(named(env)["remove_nearest_object"]).applies.any()


def test_wrong_questions_are_refused():
    env = make_vec("crafter/Reward", 1, 0, segmentation=None)
    with pytest.raises(ValueError, match="call reset first"):
        env.counterfactual(IDENTITY)
    env.reset()
    with pytest.raises(ValueError, match="masks are switched off"):
        env.redrawn_labels(IDENTITY)
    with pytest.raises(ValueError, match="unknown intervention 'remove_grass'; this environment has: night_off"):
        env.counterfactual(Intervention("remove_grass", "remove", "grass"))

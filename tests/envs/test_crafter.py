"""Crafter's worlds, plays, pictures and options against Crafter itself."""

import importlib.util
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from camal_rl.envs import MissingExtraError, check_segmented_env, crafter, make_vec
from camal_rl.envs.crafter import classes
from camal_rl.envs.crafter.options import parse_options

if importlib.util.find_spec("crafter") is None and "CI" not in os.environ:
    pytest.skip("Crafter is not installed", allow_module_level=True)

import opensimplex
from crafter import constants, engine, objects, worldgen

from camal_rl.envs.crafter.noise import DIFFERENCE, simplex_noise
from camal_rl.envs.crafter.worlds import PROPORTIONS, generate
from tests.envs.crafter_itself import crafter_env


def world_of(seed, make):
    world = engine.World((64, 64), constants.materials, (12, 12))
    world.reset(seed)
    player = objects.Player(world, (32, 32))
    world.add(player)
    make(world, player)
    return world


def content(world):
    return [(type(each).__name__, tuple(each.pos)) for each in world.objects]


def actions_like_a_players(rng, count):
    """Return random actions that walk far, and act on what they meet."""
    return [int(rng.choice([1, 2, 3, 4])) if rng.random() < 0.7 else int(rng.integers(17)) for _ in range(count)]


def test_the_tables_are_crafters():
    assert list(classes.MATERIALS) == constants.materials
    assert list(classes.ACTION_NAMES) == constants.actions
    assert list(classes.ACHIEVEMENTS) == constants.achievements
    for material, rule in constants.collect.items():
        assert material == "grass" or material == "water" or classes.LEFT_BEHIND[material] == rule["leaves"]
    assert set(classes.MATERIALS) == set(classes.LEFT_BEHIND) | set(classes.GROUND)
    assert set(classes.RELEVANT) == set(classes.NAMES) - {"background", "stone", *classes.GROUND}


def test_the_noise_is_that_of_the_package_but_for_very_small_terms():
    rng, simplex = np.random.default_rng(0), opensimplex.OpenSimplex(seed=7)
    points = np.concatenate([rng.uniform(-40, 40, (700, 3)), rng.integers(-3, 9, (100, 3)) / 3.0])
    expected = [simplex.noise3(*point) for point in points]
    found = simplex_noise(np.asarray(simplex._perm, dtype=np.int64), *points.T)
    assert np.abs(found - expected).max() < DIFFERENCE
    assert np.median(np.abs(found - expected)) < 1e-15


@pytest.mark.parametrize("seed", [0, 12345])
def test_worlds_are_crafters_own_with_its_creatures_and_its_generator(seed):
    expected = world_of(seed, worldgen.generate_world)
    for _ in range(2):  # The second time the terrain comes from the cache.
        found = world_of(seed, lambda world, player: generate(world, player, seed, "crafter"))
        np.testing.assert_array_equal(found._mat_map, expected._mat_map)
        assert content(found) == content(expected)
        drawn, wanted = found.random.get_state(), expected.random.get_state()
        assert drawn[2] == wanted[2]
        assert np.array_equal(drawn[1], wanted[1])


def test_where_a_decision_is_close_crafters_own_function_decides(monkeypatch):
    """With a bound a hundred times as large, hundreds of cells are close, and the world is the same."""
    from camal_rl.envs.crafter import worlds

    own, asked = worldgen._set_material, []
    monkeypatch.setattr(worlds, "_CLOSE", 0.02)
    monkeypatch.setattr(worldgen, "_set_material", lambda *given: (asked.append(given[1]), own(*given)))
    close = worlds._terrain.__wrapped__(3, (64, 64), "crafter")
    monkeypatch.undo()
    usual = worlds._terrain.__wrapped__(3, (64, 64), "crafter")
    assert len(set(asked)) == len(asked) > 100
    assert np.array_equal(close.materials, usual.materials)
    assert np.array_equal(close.tunnels, usual.tunnels)


def test_other_proportions_are_more_mountain_and_water_and_fewer_trees():
    shares = {}
    for kind in PROPORTIONS:
        worlds = [world_of(seed, lambda *given, s=seed, k=kind: generate(*given, s, k)) for seed in range(4)]
        counts = np.bincount(np.concatenate([each._mat_map.ravel() for each in worlds]), minlength=13)
        shares[kind] = dict(zip(classes.NAMES, counts / counts.sum(), strict=False))
        assert all(each[(32, 32)][0] == "grass" for each in worlds)
    usual, rugged = shares["crafter"], shares["rugged"]
    assert rugged["path"] > 1.3 * usual["path"]
    assert rugged["water"] > 1.1 * usual["water"]
    assert rugged["tree"] < 0.7 * usual["tree"]
    assert rugged["tree"] > 0.005


@pytest.mark.parametrize(("level", "size", "first"), [(3, 64, 0), (8, 100, 160), (5, 41, 100)])
def test_plays_are_crafters_own_picture_for_picture(level, size, first, monkeypatch):
    """By day and by night, awake and asleep, with every creature, in sizes that leave a border."""
    theirs = crafter_env(level, monkeypatch, size=(size, size))
    ours = crafter.make_env("Reward", size=size, start_level=level, num_levels=1)
    expected, (found, info) = theirs.reset(), ours.reset(seed=0)
    ours.unwrapped._game._step = theirs._step = first
    np.testing.assert_array_equal(found, expected)
    assert info["level_seed"] == level
    rng, lights, slept = np.random.default_rng(level), [], 0
    for step, action in enumerate(actions_like_a_players(rng, 150)):
        if step == 90:
            for player in (theirs._player, ours.unwrapped._game.player):
                player.inventory.update(energy=3, wood=9, sapling=2, iron_sword=1)
        action = 6 if 90 <= step < 110 else action
        expected, reward, done, told = theirs.step(action)
        found, ours_reward, terminated, truncated, info = ours.step(action)
        np.testing.assert_array_equal(found, expected)
        assert (ours_reward, terminated or truncated) == (reward, done)
        assert info["inventory"] == told["inventory"]
        assert info["achievements"] == told["achievements"]
        lights.append(theirs._world.daylight)
        slept += theirs._player.sleeping
        if done:
            break
    assert slept
    assert (min(lights) < 0.5) == (first > 0)


def test_an_episode_ends_with_death_or_is_cut_after_its_length():
    env = crafter.make_env("Reward", length=3)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset(seed=0)
    env.unwrapped._game.player.health = 0
    assert env.step(0)[2:4] == (True, False)


def test_rewards_can_be_left_out():
    for name, rewarded in (("Reward", True), ("NoReward", False)):
        env = crafter.make_env(name)
        env.reset(seed=0)
        env.unwrapped._game.player.inventory["sapling"] = 1
        _, reward, _, _, info = env.step(10)  # Place the sapling on the grass below.
        assert info["achievements"]["place_plant"] == 1
        assert (reward == 1.0) == rewarded
    assert "no rewards" in crafter.info("NoReward").note


def test_a_level_is_one_world_whoever_plays_it():
    first = crafter.make_env("Reward", start_level=7, num_levels=1).reset(seed=0)[0]
    env = crafter.make_env("Reward", num_levels=10)
    env.reset(seed=0)
    seen = {}
    for _ in range(30):
        picture, info = env.reset()
        seen.setdefault(info["level_seed"], picture)
        np.testing.assert_array_equal(picture, seen[info["level_seed"]])
    assert np.array_equal(seen[7], first)
    assert len({each.tobytes() for each in seen.values()}) == len(seen)


class Shuffled(set):
    """A set in another order, as one whose members lie elsewhere in memory."""

    def __iter__(self):
        return iter(sorted(super().__iter__(), key=lambda each: -id(each)))


def test_plays_do_not_depend_on_where_creatures_lie_in_memory():
    envs = [crafter.make_env("Reward", start_level=2, num_levels=1) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    world = envs[1].unwrapped._game.world
    for key, found in world._chunks.items():
        world._chunks[key] = Shuffled(found)
    for one, other in zip(envs[0].unwrapped._game.world.chunks.values(), world.chunks.values(), strict=True):
        assert [tuple(each.pos) for each in one] == [tuple(each.pos) for each in other]
    crowded = [found for found in world.chunks.values() if len(found) > 2]
    assert crowded
    for found in crowded:
        numbers = [world._objects.index(each) for each in found]
        assert numbers == sorted(numbers)


def test_the_light_can_be_fixed():
    for daylight, light in (("day", 1.0), ("night", 0.0)):
        env = crafter.make_env("Reward", daylight=daylight)
        env.reset(seed=0)
        for _ in range(8):
            env.step(0)
            assert env.unwrapped._game.world.daylight == light
        assert (env.unwrapped._game.noise is None) == (daylight == "day")


def test_level_sets_change_what_they_say_and_share_no_level_with_training():
    sets = crafter.level_sets("Reward")
    assert set(sets) == {"train", "held_out", "held_out_world", "held_out_night", "held_out_appearance"}
    for name, options in sets.items():
        parsed = parse_options("Reward", dict(options))
        assert name == "train" or parsed.start_level >= sets["train"]["num_levels"]
        assert (parsed.world == "rugged") == (name == "held_out_world")
        assert (parsed.daylight == "night") == (name == "held_out_night")
        assert (parsed.theme == "recolored") == (name == "held_out_appearance")


@pytest.mark.filterwarnings("ignore:.*render_mode.*", "ignore:.*mode.*")
def test_the_checker_passes_for_the_gymnasium_id():
    crafter.register()
    crafter.register()
    env = gymnasium.make("camal_rl/crafter-Reward-v0", length=20, num_levels=3, render_mode="rgb_array")
    check_segmented_env(env)
    env.reset(seed=0)
    assert env.render().shape == (512, 512, 3)


def test_the_large_picture_is_the_same_picture():
    env = crafter.make_env("Reward", "rgb_array", daylight="night", size=63)
    small, _ = env.reset(seed=0)
    large = env.render()
    factor = len(large) // 63
    strip = large[49 * factor :]
    assert strip.any()
    assert np.abs(large[::factor, ::factor].astype(int).mean() - small.mean()) < 5


def test_nothing_is_imported_before_it_is_needed():
    code = "import sys, camal_rl.envs as e; e.env_info('crafter/Reward'); print('crafter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_missing_simulator_gives_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "crafter", None)
    assert crafter.env_names() == ("Reward", "NoReward")
    with pytest.raises(MissingExtraError, match="Crafter is not installed; install it with: pip install"):
        make_vec("crafter/Reward", 1, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"daylght": "day"}, TypeError, "unknown Crafter option 'daylght'; did you mean 'daylight'"),
        ({"daylight": "dusk"}, ValueError, "daylight must be one of 'cycle', 'day', 'night', got 'dusk'"),
        ({"world": "flat"}, ValueError, "world must be one of 'crafter', 'rugged', got 'flat'"),
        ({"theme": "dark"}, ValueError, "theme must be one of 'crafter', 'recolored', got 'dark'"),
        ({"size": 35}, ValueError, "size"),
        ({"size": 64.0}, TypeError, "size"),
        ({"length": 0}, ValueError, "length"),
        ({"segmentation": "mask"}, ValueError, "segmentation must be one of 'silhouette', 'box', None, got 'mask'"),
        ({"subproc": 1}, TypeError, "subproc must be true or false, got 1"),
        ({"start_level": -1}, ValueError, "start_level must be at least 0"),
        ({"relevant": "cow"}, TypeError, "relevant must be a list of class names, got 'cow'"),
        ({"relevant": ["pig"]}, ValueError, "unknown relevant class 'pig'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as caught:
        make_vec("crafter/Reward", 1, 0, **options)
    assert "\n" not in str(caught.value)


def test_wrong_names_and_actions_are_refused():
    with pytest.raises(ValueError, match="did you mean 'Reward'"):
        crafter.make_env("Rewards")
    env = crafter.make_env("Reward")
    env.reset()
    with pytest.raises(ValueError, match=r"the action must be in \[0, 16\], got 17"):
        env.step(17)

"""MiniGrid's counterfactuals against the simulator's own drawing of an edited grid."""

import copy
import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs import IDENTITY, Intervention, check_counterfactual_env, find_counterfactual, make_vec, minigrid
from camal_rl.envs.minigrid.layouts import NAMES
from camal_rl.envs.minigrid.options import parse_options

if importlib.util.find_spec("minigrid") is None and "CI" not in os.environ:
    pytest.skip("MiniGrid is not installed", allow_module_level=True)


def played(name, steps, num_envs=3, seed=0, **options):
    env = make_vec(f"minigrid/{name}", num_envs, seed, **options)
    observations, rng = env.reset(), np.random.default_rng(seed)
    for _ in range(steps):
        observations, *_ = env.step(rng.integers(0, env.action_space.n, num_envs))
    return env, observations


def named(env):
    return {item.name: item for item in env.interventions()}


def games(env):
    """Return the simulators' own games."""
    return [monitor.unwrapped._game for monitor in env.venv.envs]


def framed(pictures, side):
    """Put the simulator's pictures in the middle of black ones."""
    height, width = pictures[0].shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(np.stack(pictures), ((0, 0), (top, side - height - top), (left, side - width - left), (0, 0)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DoorKey-6x6", {}),
        ("DoorKey-6x6", {"view": "partial"}),
        ("LavaCrossingS9N1", {"theme": "recolored", "segmentation": "box"}),
        ("ObstructedMaze-1Dlhb", {"highlight": False, "segmentation": None}),
        ("MultiRoom-N2-S4", {"view": "partial", "theme": "recolored"}),
    ],
)
def test_the_contract_holds_while_playing(name, options):
    for steps in (0, 17):
        check_counterfactual_env(*played(name, steps, **options))


def test_the_contract_holds_in_processes():
    check_counterfactual_env(*played("DoorKey-5x5", 3, num_envs=1, subproc=True))


@pytest.mark.parametrize("view", ["full", "partial"])
def test_redrawing_does_not_disturb_the_games(view):
    quiet, asked = (make_vec("minigrid/Dynamic-Obstacles-6x6", 2, 3, view=view) for _ in range(2))
    assert np.array_equal(quiet.reset(), asked.reset())
    rng = np.random.default_rng(0)
    for _ in range(40):
        for item in asked.interventions():
            asked.counterfactual(item)
        actions = rng.integers(0, 3, 2)
        for one, other in zip(quiet.step(actions)[:3], asked.step(actions)[:3], strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(quiet.segmentation(), asked.segmentation())


@pytest.mark.parametrize("name", ["DoorKey-8x8", "LavaCrossingS9N2", "ObstructedMaze-1Dlh", "KeyCorridorS3R3"])
def test_removal_is_the_simulators_picture_of_a_grid_without_the_class(name):
    env, _ = played(name, 20, highlight=False)
    size = parse_options(name, {}).drawn_tile_size
    for item in env.interventions():
        if item.kind == "remove" and item.class_name is not None:
            expected = []
            for game in games(env):
                grid = copy.deepcopy(game.grid)
                grid.grid = [
                    None if thing is not None and thing.type == item.class_name else thing for thing in grid.grid
                ]
                direction = None if item.class_name == "agent" else game.agent_dir
                expected.append(grid.render(size, game.agent_pos, direction))
            drawn = env.counterfactual(item)
            np.testing.assert_array_equal(drawn.images, framed(expected, env.observation_space.shape[0]))
            labeled = env.segmentation() == NAMES.index(item.class_name)
            assert not (drawn.changed & ~labeled).any()
            assert np.array_equal(drawn.applies, labeled.any(axis=(1, 2)))


def test_floors_are_the_simulators_own_under_everything():
    from minigrid.core.world_object import Floor

    env, observations = played("DoorKey-6x6", 12, highlight=False)
    walls = np.isin(env.segmentation(), [NAMES.index(name) for name in ("wall", "goal")])
    for number, color in enumerate(("blue", "purple", "grey"), start=1):
        drawn = env.counterfactual(named(env)[f"background_{number}"])
        assert not (drawn.changed & walls).any()
        for game, image, before in zip(games(env), drawn.images, observations, strict=True):
            for row, column in np.ndindex(6, 6):
                cell = (slice(2 + 10 * row, 12 + 10 * row), slice(2 + 10 * column, 12 + 10 * column))
                thing = game.grid.get(column, row)
                here = (column, row) == tuple(game.agent_pos)
                if thing is None:
                    tile = game.grid.render_tile(Floor(color), game.agent_dir if here else None, False, 10)
                    np.testing.assert_array_equal(image[cell], tile.astype(np.uint8))
                elif thing.type == "key":
                    bright = before[cell].max(axis=2) > 250  # Pixels that are the key's alone.
                    assert bright.any()
                    assert np.array_equal(image[cell][bright], before[cell][bright])
                    assert (image[cell] != before[cell]).any()


def test_unseen_cells_have_no_floor():
    env, observations = played("MultiRoom-N4-S5", 5, view="partial")
    drawn = env.counterfactual(named(env)["background_1"])
    for game, changed in zip(games(env), drawn.changed, strict=True):
        _, seen = game.gen_obs_grid()
        assert not (changed & ~np.kron(seen.T, np.ones((8, 8), dtype=bool))).any()
    assert drawn.applies.all()
    assert observations.shape == drawn.images.shape


def test_another_theme_is_the_same_level_in_the_other_colors():
    for view in ("full", "partial"):
        default, observations = played("DoorKey-6x6", 15, view=view)
        other, recolored = played("DoorKey-6x6", 15, view=view, theme="recolored")
        assert np.array_equal(default.counterfactual(named(default)["theme_1"]).images, recolored)
        assert np.array_equal(other.counterfactual(named(other)["theme_1"]).images, observations)
        assert np.array_equal(default.segmentation(), other.segmentation())
    walls = default.segmentation() == NAMES.index("wall")
    assert (recolored[walls] != observations[walls]).any(axis=1).all()


def test_the_theme_keeps_equal_colors_equal_and_different_ones_different():
    from camal_rl.envs.minigrid.scene import Scene

    things = np.stack([np.full((1, 6), 3), np.arange(6)[None], np.zeros((1, 6))], axis=2).astype(np.uint8)
    flags = np.ones((1, 6), dtype=bool)
    colors = Scene(things, flags, flags, (0, 0), 0).recolored().cells[0, :, 1]
    assert sorted(colors.tolist()) == list(range(6))
    assert not (colors == np.arange(6)).any()


def test_highlight_off_is_the_picture_without_it():
    env, _ = played("FourRooms", 9)
    plain, observations = played("FourRooms", 9, highlight=False)
    assert np.array_equal(env.counterfactual(named(env)["highlight_off"]).images, observations)
    assert "highlight_off" not in named(plain)


def test_the_nearest_relevant_object_is_removed():
    env, _ = played("DoorKey-8x8", 0, num_envs=12, highlight=False)
    changed = env.counterfactual(named(env)["remove_nearest_object"]).changed
    for game, pixels in zip(games(env), changed, strict=True):
        x, y = game.agent_pos
        steps = [
            abs(column - x) + abs(row - y)
            for column, row in np.ndindex(8, 8)
            if getattr(game.grid.get(column, row), "type", None) in ("door", "key", "goal")
        ]
        ((row, column),) = np.unique(np.argwhere(pixels) // 8, axis=0).tolist()
        assert abs(column - x) + abs(row - y) == min(steps)
    env, _ = played("DoorKey-8x8", 0, relevant=["lava"])
    assert not env.counterfactual(named(env)["remove_nearest_object"]).applies.any()


def test_colors_with_a_meaning_have_no_theme():
    assert "theme_1" not in named(make_vec("minigrid/RedBlueDoors-6x6", 1, 0))
    assert "held_out_appearance" not in minigrid.level_sets("RedBlueDoors-6x6")


def test_wrong_questions_are_refused_and_wrappers_looked_through():
    from stable_baselines3.common.vec_env import VecTransposeImage

    env = make_vec("minigrid/Empty-5x5", 1, 0)
    assert find_counterfactual(VecTransposeImage(env)) is env
    with pytest.raises(ValueError, match="call reset first"):
        env.counterfactual(IDENTITY)
    env.reset()
    with pytest.raises(ValueError, match="unknown intervention 'remove_key'; this environment has: background_1"):
        env.counterfactual(Intervention("remove_key", "remove", "key"))

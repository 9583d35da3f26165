"""MiniGrid's table, options, pictures and masks against the simulator itself."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from camal_rl.envs import MissingExtraError, check_segmented_env, make_vec, minigrid
from camal_rl.envs.minigrid.layouts import GROUPS, LAYOUTS, NAMES, simulator_id
from camal_rl.envs.minigrid.options import parse_options

if importlib.util.find_spec("minigrid") is None and "CI" not in os.environ:
    pytest.skip("MiniGrid is not installed", allow_module_level=True)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "minigrid_levels.json"
SIX = ("DoorKey-6x6", "LavaCrossingS9N1", "ObstructedMaze-1Dlhb", "Dynamic-Obstacles-6x6", "Fetch-5x5-N2", "MemoryS7")
BLACK_OR_GRID_LINE = 34


def simulator(name):
    """Make MiniGrid's own environment."""
    importlib.import_module("minigrid")
    return gymnasium.make(simulator_id(name), disable_env_checker=True).unwrapped


def center(picture, height, width):
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def shown(game, options):
    """Return the simulator's own picture."""
    return game.get_frame(options.highlight, options.drawn_tile_size, options.view == "partial")


def test_the_table_is_minigrids_registry():
    importlib.import_module("minigrid")
    newest = {}
    for env_id, spec in gymnasium.registry.items():
        if env_id.startswith("MiniGrid-") and not env_id.startswith(("MiniGrid-WFC", "MiniGrid-Playground")):
            newest[spec.name] = max(newest.get(spec.name, 0), spec.version)
    assert {simulator_id(name) for name in LAYOUTS} == {f"{name}-v{version}" for name, version in newest.items()}


def test_the_table_says_what_the_simulator_shows():
    seen = {group: set() for group in GROUPS}
    for name, layout in LAYOUTS.items():
        game, states = simulator(name), set()
        assert (game.width, game.height, game.action_space.n) == (
            layout.width,
            layout.height,
            GROUPS[layout.group].num_actions,
        ), name
        for seed in range(6):
            game.reset(seed=seed)
            states.add(game.hash(64))
            things = [thing for thing in game.grid.grid if thing is not None]
            seen[layout.group] |= {thing.type for thing in things}
            seen[layout.group] |= {thing.contains.type for thing in things if thing.contains is not None}
        assert (len(states) == 1) == (layout.variety == "one"), name
    assert {group: kinds - {"wall"} for group, kinds in seen.items()} == {
        name: set(group.objects) for name, group in GROUPS.items()
    }


def test_the_table_knows_where_held_out_levels_are_scarce():
    measured = json.loads(RESULT.read_text())["environments"]
    scarce = {name for name, counts in measured.items() if counts["held_out_share_seen_in_training"] >= 0.9}
    assert scarce == {name for name, layout in LAYOUTS.items() if layout.variety != "many"}
    assert set(measured) == set(LAYOUTS)
    assert "few different levels" in minigrid.info("LavaGapS5").note


def test_nothing_is_imported_before_it_is_needed():
    code = "import sys, camal_rl.envs as e; e.env_info('minigrid/DoorKey-6x6'); print('minigrid' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_a_missing_simulator_gives_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "minigrid", None)
    assert "DoorKey-6x6" in minigrid.env_names()
    with pytest.raises(MissingExtraError, match=r"pip install 'minigrid>=3\.1'"):
        make_vec("minigrid/DoorKey-6x6", 1, 0)


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("options", [{}, {"highlight": False}, {"view": "partial"}, {"tile_size": 5}])
def test_pictures_are_the_simulators_own(name, options):
    ours = minigrid.make_env(name, **options)
    parsed, game, rng = parse_options(name, options), simulator(name), np.random.default_rng(1)
    picture, info = ours.reset(seed=0)
    game.reset(seed=info["level_seed"])
    for _ in range(25):
        expected = shown(game, parsed)
        np.testing.assert_array_equal(center(picture, *expected.shape[:2]), expected)
        assert picture.shape == (parsed.side, parsed.side, 3)
        assert picture.sum(dtype=np.int64) == expected.sum(dtype=np.int64)  # The frame around it is black.
        action = int(rng.integers(game.action_space.n))
        picture, reward, ended, cut, _ = ours.step(action)
        _, *theirs, _ = game.step(action)
        assert [reward, ended, cut] == theirs
        if ended or cut:
            np.testing.assert_array_equal(center(picture, *expected.shape[:2]), shown(game, parsed))
            picture, info = ours.reset()
            game.reset(seed=info["level_seed"])


@pytest.mark.parametrize("name", SIX)
def test_silhouettes_lie_on_what_vanishes_with_the_object(name):
    """Take each class out of the simulator's grid: every pixel that changes has its label, others are black inside."""
    ours, game = minigrid.make_env(name, highlight=False), simulator(name)
    options, rng = parse_options(name, {"highlight": False}), np.random.default_rng(2)
    changed_total, labeled_total = 0, 0
    _, info = ours.reset(seed=3)
    game.reset(seed=info["level_seed"])
    for _ in range(25):
        frame = shown(game, options)
        labels = center(info["segmentation"], *frame.shape[:2])
        assert labels.sum(dtype=int) == info["segmentation"].sum(dtype=int)
        size, everything = options.drawn_tile_size, game.grid.grid
        for label, kind in enumerate(NAMES[1:], start=1):
            game.grid.grid = [None if thing is not None and thing.type == kind else thing for thing in everything]
            without = game.grid.render(size, game.agent_pos, None if kind == "agent" else game.agent_dir)
            game.grid.grid = everything
            changed = (frame != without).any(axis=2)
            labeled = labels == label
            assert not (changed & ~labeled).any()
            assert (frame[labeled & ~changed] < BLACK_OR_GRID_LINE).all()
            changed_total, labeled_total = changed_total + changed.sum(), labeled_total + labeled.sum()
        action = int(rng.integers(game.action_space.n))
        _, _, ended, cut, info = ours.step(action)
        game.step(action)
        if ended or cut:
            _, info = ours.reset()
            game.reset(seed=info["level_seed"])
    assert changed_total / labeled_total > 0.97


def cell_labels(game, options):
    """Return the label map of whole cells, worked out from the simulator's grid."""
    kinds = np.zeros((game.height, game.width), dtype=np.uint8)
    for row in range(game.height):
        for column in range(game.width):
            thing = game.grid.get(column, row)
            kinds[row, column] = 0 if thing is None else NAMES.index(thing.type)
    kinds[int(game.agent_pos[1]), int(game.agent_pos[0])] = NAMES.index("agent")
    labels, size = np.zeros((options.side, options.side), dtype=np.uint8), options.drawn_tile_size
    center(labels, game.height * size, game.width * size)[:] = np.kron(kinds, np.ones((size, size), dtype=np.uint8))
    return labels


@pytest.mark.parametrize(("num_envs", "subproc"), [(3, False), (1, True)])
def test_masks_belong_to_the_observations_across_resets(num_envs, subproc):
    name, given = "LavaGapS6", {"segmentation": "box", "num_levels": 50, "subproc": subproc}
    env, options = make_vec(f"minigrid/{name}", num_envs, 5, **given), parse_options(name, given)
    games, rng, ends = [simulator(name) for _ in range(num_envs)], np.random.default_rng(0), {True: 0, False: 0}

    def check(observations):
        for game, picture, labels in zip(games, observations, env.segmentation(), strict=True):
            expected = shown(game, options)
            np.testing.assert_array_equal(center(picture, *expected.shape[:2]), expected)
            np.testing.assert_array_equal(labels, cell_labels(game, options))

    observations = env.reset()
    for game, info in zip(games, env.reset_infos, strict=True):
        game.reset(seed=info["level_seed"])
    check(observations)
    for step in range(220):
        # The first copy stands still for an episode, so that its end is the time limit.
        actions = rng.integers(0, 3, num_envs)
        actions[0] = 6 if step < 150 else actions[0]
        observations, _, dones, infos = env.step(actions)
        for game, action, done, info, fresh in zip(games, actions, dones, infos, env.reset_infos, strict=True):
            _, _, ended, cut, _ = game.step(int(action))
            assert done == (ended or cut)
            if done:
                ends[info["TimeLimit.truncated"]] += 1
                assert info["TimeLimit.truncated"] == (cut and not ended)
                expected = shown(game, options)
                np.testing.assert_array_equal(center(info["terminal_observation"], *expected.shape[:2]), expected)
                game.reset(seed=fresh["level_seed"])
        check(observations)
    assert min(ends.values()) >= 1
    env.close()


def test_what_is_carried_is_drawn_only_in_the_partial_view():
    key = NAMES.index("key")
    for view, drawn in (("full", False), ("partial", True)):
        env = minigrid.make_env("DoorKey-6x6", view=view)
        env.reset(seed=0)
        game = env.unwrapped._game
        column, row = next(
            place for place in np.ndindex(6, 6) if getattr(game.grid.get(*place), "type", None) == "key"
        )  # fmt: skip
        spots = [(column - 1, row, 0), (column + 1, row, 2), (column, row - 1, 1), (column, row + 1, 3)]
        x, y, game.agent_dir = next(spot for spot in spots if game.grid.get(*spot[:2]) is None)
        game.agent_pos = (x, y)
        _, _, _, _, info = env.step(3)
        assert game.carrying is not None
        where = np.argwhere(info["segmentation"] == key)
        assert (len(where) > 0) == drawn
        if drawn:
            assert (where // 8 == (6, 3)).all()


def test_levels_are_seeds_of_whole_episodes():
    for name in ("Dynamic-Obstacles-6x6", "KeyCorridorS3R2"):
        one, other = (minigrid.make_env(name, start_level=level, num_levels=1) for level in (7, 8))
        again = minigrid.make_env(name, start_level=7, num_levels=1)
        rng, played = np.random.default_rng(0), []
        for env in (one, again, other):
            frames = [env.reset()[0]]
            frames += [env.step(int(action))[0] for action in rng.__class__(np.random.PCG64(0)).integers(0, 3, 6)]
            played.append(np.stack(frames))
        assert np.array_equal(played[0], played[1])
        assert not np.array_equal(played[0], played[2])


@pytest.mark.filterwarnings("ignore:.*render_mode.*", "ignore:.*mode.*")
@pytest.mark.parametrize("options", [{"view": "partial"}, {"num_levels": 3, "theme": "recolored"}])
def test_checkers_pass(options):
    minigrid.register()
    minigrid.register()
    env = gymnasium.make("camal_rl/minigrid-LavaCrossingS9N1-v0", **options)
    assert env.unwrapped.segmentation_spec.names[8] == "lava"
    check_gymnasium(env.unwrapped)
    check_sb3(env)
    check_segmented_env(env)


def test_the_gymnasium_environment_renders_the_simulators_large_picture():
    env = gymnasium.make("camal_rl/minigrid-Empty-5x5-v0", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (160, 160, 3)


def test_masks_can_be_switched_off():
    env = make_vec("minigrid/Empty-5x5", 1, 0, segmentation=None)
    env.reset()
    assert not env.has_segmentation
    with pytest.raises(ValueError, match="switched off"):
        env.segmentation()
    _, info = minigrid.make_env("Empty-5x5", segmentation=None).reset()
    assert "segmentation" not in info


def test_level_sets_share_the_shape_and_no_level():
    for name in minigrid.env_names():
        sets = minigrid.level_sets(name)
        assert set(sets) >= {"train", "held_out"}
        for key, options in sets.items():
            parsed = parse_options(name, dict(options))
            assert parsed.side == parse_options(name, {}).side >= 64
            assert parsed.drawn_tile_size >= 4
            assert key == "train" or options["start_level"] >= sets["train"]["num_levels"]
            own, played = LAYOUTS[name], LAYOUTS[parsed.played]
            if key == "held_out_size":
                assert (played.width, played.height) != (own.width, own.height)
            assert (parsed.played != name) == (key in ("held_out_size", "held_out_layout"))


def test_another_size_is_drawn_into_the_same_picture():
    env = make_vec("minigrid/DoorKey-6x6", 1, 0, **minigrid.level_sets("DoorKey-6x6")["held_out_size"])
    picture, game = env.reset()[0], simulator("DoorKey-8x8")
    game.reset(seed=env.reset_infos[0]["level_seed"])
    np.testing.assert_array_equal(picture, game.get_frame(True, 8))


def test_levels_that_look_like_training_levels_are_recognized():
    name = "LavaGapS5"
    known = minigrid.training_fingerprints(name, {"start_level": 0, "num_levels": 40, "highlight": False})
    assert len(known) == 3  # The gap is in one of three rows; nothing else is random.
    frames = minigrid.first_frames(name, 200, 20, highlight=False)
    assert set(frames.values()) <= known
    assert minigrid.frame_fingerprint(minigrid.make_env(name, highlight=False).reset()[0]) in known
    assert minigrid.frame_fingerprint(minigrid.make_env(name).reset()[0]) not in known
    with pytest.raises(ValueError, match="at least 1, got 0"):
        minigrid.training_fingerprints(name, {"num_levels": 0})


def test_relevance_follows_the_view_and_the_user():
    assert minigrid.segmentation_spec("DoorKey-6x6").relevant == ("agent", "door", "key", "goal")
    assert parse_options("DoorKey-6x6", {"view": "partial"}).spec().relevant == ("door", "key", "goal")
    assert make_vec("minigrid/FourRooms", 1, 0, relevant=["goal"]).spec.relevant == ("goal",)
    assert "wall" in minigrid.segmentation_spec("FourRooms").relevant


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tilesize": 8}, TypeError, "unknown MiniGrid option 'tilesize'; did you mean 'tile_size'"),
        ({"view": "top"}, ValueError, "view must be one of 'full', 'partial', got 'top'"),
        ({"segmentation": "mask"}, ValueError, "segmentation must be one of 'silhouette', 'box', None, got 'mask'"),
        ({"theme": "dark"}, ValueError, "theme must be one of 'minigrid', 'recolored', got 'dark'"),
        ({"tile_size": 2}, ValueError, "must give cells of at least 3 pixels"),
        ({"tile_size": 4, "layout": "DoorKey-16x16"}, ValueError, "gives DoorKey-16x16 cells of 1; increase it"),
        ({"tile_size": 8.0}, TypeError, "tile_size must be an integer or None, got 8.0"),
        ({"layout": "DoorKey-7x7"}, ValueError, "layout of DoorKey-6x6 must be one of DoorKey-5x5, DoorKey-6x6,"),
        ({"layout": "Empty-8x8"}, ValueError, "layout of DoorKey-6x6 must be one of DoorKey-5x5"),
        ({"highlight": 1}, TypeError, "highlight must be true or false, got 1"),
        ({"view": "partial", "highlight": False}, ValueError, "highlight=False needs view='full'"),
        ({"start_level": -1}, ValueError, "start_level must be at least 0"),
        ({"relevant": "key"}, TypeError, "relevant must be a list of class names, got 'key'"),
        ({"relevant": ["coin"]}, ValueError, "unknown relevant class 'coin'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as caught:
        make_vec("minigrid/DoorKey-6x6", 1, 0, **options)
    assert "\n" not in str(caught.value)


def test_wrong_names_actions_and_themes_are_refused():
    with pytest.raises(ValueError, match="did you mean 'DoorKey-6x6'"):
        minigrid.make_env("DoorKey-6x7")
    with pytest.raises(ValueError, match="its colors say what the objects are for"):
        minigrid.make_env("RedBlueDoors-6x6", theme="recolored")
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array'"):
        minigrid.make_env("Empty-5x5", render_mode="human")
    env = minigrid.make_env("Dynamic-Obstacles-5x5")
    env.reset()
    with pytest.raises(ValueError, match=r"the action must be in \[0, 2\], got 3"):
        env.step(3)

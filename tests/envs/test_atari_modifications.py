"""Modifications of Atari games: they do what they say, masks stay on the objects, saved states go on with them."""

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from camal_rl.envs import atari, level_sets, make_vec
from camal_rl.envs.atari import AtariEnv
from camal_rl.envs.atari.games import GAMES
from camal_rl.envs.atari.modification_table import MODIFICATIONS
from camal_rl.envs.atari.modifications import Drift, Follow, Hold, Modifier, StandStill
from camal_rl.envs.atari.options import parse_options
from camal_rl.envs.atari.raw_env import RawAtariEnv

MISSING = [name for name in ("ale_py", "ocatari") if importlib.util.find_spec(name) is None]
if MISSING and "CI" not in os.environ:
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "atari_modifications.json"
EVERY = [(game, name) for game, known in MODIFICATIONS.items() for name in known]
ROAD, ROAD_GRAY = slice(24, 184), (142, 142, 142)


def raw(game, *modifs, **options):
    return RawAtariEnv(parse_options(game, {"modifs": modifs, "frame_skip": 1, "grayscale": False, **options}))


def boxes_of(env, name):
    label = env.options.spec().names.index(name)
    return sorted(box[1:] for box in env.boxes if box.label == label)


def walk(env, steps, action=0):
    """Give the label map and the screen, in indices of the palette, of every frame."""
    _, info = env.reset(seed=0)
    for _ in range(steps):
        yield info["segmentation"], env.ale.getScreen()
        info = env.step(action)[4]


def test_colors_change_in_the_picture_and_masks_stay_on_the_objects():
    """The cars are what differs between the same game with black and with red cars."""
    black, red = raw("Freeway", "all_black_cars"), raw("Freeway", "all_red_cars")
    car = black.options.spec().names.index("car")
    both, either = np.zeros(2), 0
    for (labels, screen), (other_labels, other) in zip(walk(black, 150), walk(red, 150), strict=True):
        assert black.boxes == red.boxes
        # Tires are black in either game.
        drawn = (screen != other)[ROAD]
        both += [int((drawn & (each[ROAD] == car)).sum()) for each in (labels, other_labels)]
        either += int(drawn.sum())
    assert either > 10_000
    assert (both / either > 0.95).all()
    colors = {tuple(color) for color in black.render()[ROAD][labels[ROAD] == car]}
    assert colors <= {(0, 0, 0), ROAD_GRAY}, colors
    assert len({tuple(color) for color in raw_colors("Freeway")}) > 5


def raw_colors(game):
    env = raw(game)
    label = env.options.spec().names.index("car")
    for labels, _ in walk(env, 150):
        found = env.render()[ROAD][labels[ROAD] == label]
    return found


def test_cars_stop_and_from_the_first_observation_on():
    env, plain = raw("Freeway", "stop_all_cars", noop_max=0), raw("Freeway", noop_max=0)
    first, *later = (boxes_of(env, "car") for _ in walk(env, 60))
    assert len(first) == 10
    assert all(boxes == first for boxes in later)
    assert len({tuple(boxes_of(plain, "car")) for _ in walk(plain, 60)}) > 10
    screens = [screen[ROAD] for _, screen in walk(env, 5)]
    for screen in screens[1:]:
        np.testing.assert_array_equal(screen, screens[0])


def test_masks_fit_stopped_cars_in_the_first_frame_as_in_later_ones():
    env = raw("Freeway", "stop_all_cars", noop_max=0)
    car = env.options.spec().names.index("car")
    maps = [labels == car for labels, _ in walk(env, 10)]
    for labels in maps:
        assert labels.sum() > 400
        np.testing.assert_array_equal(labels, maps[0])


def test_a_lazy_enemy_stands_still_while_the_ball_flies_to_the_player():
    def enemy_moves(*modifs):
        env, moves, before = raw("Pong", *modifs), 0, None
        for _ in walk(env, 400, action=1):
            ball, enemy = (int(env.ale.getRAM()[address]) for address in (49, 50))
            if before is not None and ball > before[0]:
                moves += enemy != before[1]
            before = ball, enemy
        return moves

    assert enemy_moves("lazy_enemy") < 0.3 * enemy_moves()


@pytest.mark.parametrize(
    ("game", "modifs"),
    [("Pong", ["lazy_enemy", "up_drift"]), ("Freeway", ["stop_all_cars", "all_blue_cars"]), ("Breakout", ["gravity"])],
)
def test_a_saved_state_goes_on_identically(game, modifs):
    def play(env, actions):
        seen = []
        for action in actions:
            observation, reward, *ends, info = env.step(action)
            seen.append((observation, info["segmentation"], env.render(), reward, *ends))
        return seen

    rng = np.random.default_rng(0)
    env, other = (AtariEnv(game, render_mode="rgb_array", modifs=modifs) for _ in range(2))
    actions = rng.integers(env.action_space.n, size=90)
    env.reset(seed=3)
    play(env, actions[:45])
    state = env.get_state()
    expected = play(env, actions[45:])
    other.reset(seed=4)
    other.set_state(state)
    for one, two in zip(play(other, actions[45:]), expected, strict=True):
        for mine, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_state_of_the_first_release_which_knew_no_modifications_still_loads():
    env, other = raw("Pong"), raw("Pong")
    env.reset(seed=0)
    state = {name: value for name, value in env.get_state().items() if name != "modifier"}
    other.reset(seed=1)
    other.set_state(state)
    np.testing.assert_array_equal(other.step(0)[0], env.step(0)[0])


def test_a_level_is_the_same_whatever_was_played_before():
    env = AtariEnv("Breakout", modifs=["gravity"], num_levels=1, start_level=7)
    runs = []
    for _ in range(2):
        observation, info = env.reset()
        runs.append([(observation, info["segmentation"])])
        for step in range(60):
            observation, _, _, _, info = env.step(step % 4)
            runs[-1].append((observation, info["segmentation"]))
    for one, two in zip(*runs, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_other_environments_in_the_process_are_not_affected():
    def frames(env, beside=None):
        seen = []
        for labels, screen in walk(env, 40):
            seen.append((labels, screen))
            if beside is not None:
                beside.step(0)
        return seen

    modified = raw("Freeway", "stop_all_cars", "all_black_cars")
    modified.reset(seed=1)
    for one, two in zip(frames(raw("Freeway")), frames(raw("Freeway"), modified), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"modifs": ["stop_all_car"]}, ValueError, "of atari/Freeway 'stop_all_car'; did you mean 'stop_all_cars'"),
        ({"modifs": ["lazy_enemy"]}, ValueError, "unknown modification .* known: stop_all_cars, all_black_cars"),
        ({"modifs": "stop_all_cars"}, TypeError, r"modifs must be a list of modifications.*write \[stop_all_cars\]"),
        ({"modifs": None}, TypeError, "modifs must be a list of modifications"),
        ({"modifs": ["stop_all_cars"] * 2}, ValueError, "must not repeat a modification"),
        ({"modifs": ["all_red_cars", "all_blue_cars"]}, ValueError, "'all_red_cars' and 'all_blue_cars' .* same bytes"),
        ({"modifs": ["stop_all_cars"], "difficulty": 1}, ValueError, "not checked with modifications in another mode"),
    ],
)
def test_bad_modifications_are_refused_in_one_line(options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        atari.make_vec("Freeway", 1, 0, **options)
    assert "\n" not in str(caught.value)


def test_a_game_without_modifications_says_so():
    with pytest.raises(ValueError, match="unknown modification of atari/Hero 'gravity'; known: none"):
        atari.make_vec("Hero", 1, 0, modifs=["gravity"])


def test_masks_are_refused_where_they_are_not_good_and_the_game_can_be_played_without():
    unchecked = [(game, name) for game, name in EVERY if not MODIFICATIONS[game][name].checked]
    assert unchecked
    for game, name in unchecked:
        with pytest.raises(
            ValueError, match=f"masks of {game} with '{name}' are not good or were not measured; add segmentation=None"
        ):
            parse_options(game, {"modifs": [name]})
        parse_options(game, {"modifs": [name], "segmentation": None})


def test_what_the_table_says_of_masks_is_what_was_measured():
    measured = {(each["game"], each["modification"]): each for each in json.loads(RESULTS.read_text())["games"]}
    for game, name in EVERY:
        assert measured.get((game, name), {"checked": False})["checked"] == MODIFICATIONS[game][name].checked, (
            game,
            name,
        )
        assert GAMES[game].exactness == "good"


def test_level_sets_have_one_modification_of_their_kind_and_can_be_made():
    kinds = {"held_out_object_colors": "appearance", "held_out_behavior": "behavior"}
    games = {key: [game for game in GAMES if key in level_sets(f"atari/{game}")] for key in kinds}
    assert all("Freeway" in found for found in games.values())
    for key, kind in kinds.items():
        for game in games[key]:
            options = level_sets(f"atari/{game}")[key]
            (name,) = options["modifs"]
            assert MODIFICATIONS[game][name].changes == kind
            assert options["start_level"] == level_sets(f"atari/{game}")["held_out"]["start_level"]
            parse_options(game, dict(options))
        assert all(game in games[key] for game, name in EVERY if is_checked(game, name, kind))
    env = make_vec("atari/Freeway", 2, 0, **level_sets("atari/Freeway")["held_out_behavior"])
    assert env.reset().shape == (2, 84, 84, 4)
    assert env.segmentation().any()


def is_checked(game, name, kind):
    return MODIFICATIONS[game][name].checked and MODIFICATIONS[game][name].changes == kind


def test_effects_by_hand():
    ram = np.arange(128, dtype=np.uint8)
    assert Modifier([Hold({3: 9, 4: 4})]).writes(ram, 0) == [(3, 9)]
    drift = Modifier([Drift(10, by=-2, every=3, least=10, most=20)])
    assert [drift.writes(ram, frame) for frame in range(4)] == [[(10, 8)], [], [], [(10, 8)]]
    assert Modifier([Drift(9, by=1, every=1, least=10)]).writes(ram, 0) == []
    assert Modifier([Follow(1, leader=100)]).writes(ram, 5) == [(1, 100)]
    still, later = Modifier([StandStill(5, while_grows=6)]), ram.copy()
    assert still.writes(ram, 0) == []
    later[[5, 6]] = 50, 7
    assert still.writes(later, 1) == [(5, 5)]
    assert still.writes(later, 2) == []
    # A second effect sees what the first has written.
    assert Modifier([Hold({100: 200}), Follow(1, leader=100)]).writes(ram, 0) == [(1, 200), (100, 200)]


class FakeGame:
    """What HackAtari's functions are given: an environment with the RAM."""

    def __init__(self):
        self.ram = np.zeros(128, dtype=np.int64)
        self.timer = 0

    def get_ram(self):
        return self.ram

    def set_ram(self, address, value):
        self.ram[address] = int(value) % 256


@pytest.mark.parametrize(("game", "name"), EVERY)
def test_hackatari_writes_the_same_bytes_by_the_same_name(game, name):
    """Its functions are loaded from their file, so that its environment is not imported."""
    package = importlib.util.find_spec("hackatari")
    if package is None:
        pytest.skip("HackAtari is not installed")
    file = Path(package.submodule_search_locations[0]) / "games" / f"{game.lower()}.py"
    spec = importlib.util.spec_from_file_location("hackatari_game", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fake, rng = FakeGame(), np.random.default_rng(0)
    functions = module.modif_funcs(fake, [name])[0]
    assert functions
    ours = Modifier([MODIFICATIONS[game][name].effect])
    for frame in range(60):
        ram = rng.integers(1, 255, size=128)
        # HackAtari's enemy in Pong also starts a point anew, and begins with a ball that is somewhere.
        ram[11], ram[49] = 0, ram[49] if frame else 1
        fake.ram = ram.copy()
        for function in functions:
            function()
        written = ram.astype(np.uint8)
        for address, value in ours.writes(ram.astype(np.uint8), frame):
            written[address] = value
        np.testing.assert_array_equal(written, fake.ram.astype(np.uint8), err_msg=f"frame {frame}")


def test_modifications_of_the_table_write_bytes_of_the_ram():
    for game, name in EVERY:
        modification = MODIFICATIONS[game][name]
        assert all(0 <= address < 128 for address in modification.effect.addresses), name
        assert (modification.changes == "appearance") == bool(modification.classes), name
        assert set(modification.classes) <= set(GAMES[game].spec().names)
        assert replace(modification, checked=True).summary

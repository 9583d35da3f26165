"""Atari: the table against ALE and OCAtari, options, episodes, levels and the vectorized form."""

import importlib
import importlib.util
import inspect
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

from camal_rl.envs import MissingExtraError, atari, check_segmented_env, env_info, level_sets, make_vec
from camal_rl.envs.atari import AtariEnv
from camal_rl.envs.atari.games import GAMES, class_name
from camal_rl.envs.atari.options import parse_options
from camal_rl.envs.atari.raw_env import RawAtariEnv

MISSING = [name for name in ("ale_py", "ocatari") if importlib.util.find_spec(name) is None]
if MISSING and "CI" not in os.environ:
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "atari_masks.json"
# Base classes and placeholders of OCAtari's modules, which are never on the screen.
NO_CATEGORIES = {"NoObjectPlayer", "CCGameObject", "_DescendingObject"}
# Loading a game takes ALE 70 ms, so that not all of them are.
LOADED = (
    "Pong",
    "Breakout",
    "MsPacman",
    "DemonAttack",
    "Alien",
    "SpaceInvaders",
    "NameThisGame",
    "Zaxxon",
    "BankHeist",
)
QUICK = {"segmentation": None, "noop_max": 0, "repeat_action_probability": 0.0}


def with_masks():
    return [name for name, game in GAMES.items() if game.exactness != "none"]


def test_modes_difficulties_and_files_are_ales():
    ale_py = importlib.import_module("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    for name in LOADED:
        game = GAMES[name]
        ale = ale_py.ALEInterface()
        ale.loadROM(ale_py.roms.get_rom_path(game.rom(name)))
        assert tuple(ale.getAvailableModes()) == game.modes, name
        assert tuple(ale.getAvailableDifficulties()) == game.difficulties, name


def test_held_out_variants_are_others():
    for name, game in GAMES.items():
        assert (game.held_out is None) == (len(game.modes) == len(game.difficulties) == 1), name
        if game.held_out is not None:
            mode, difficulty = game.held_out
            assert game.held_out != game.default
            assert mode in game.modes
            assert difficulty in game.difficulties


def test_classes_are_those_of_ocataris_detectors():
    base = importlib.import_module("ocatari.ram.game_objects").GameObject
    for name in with_masks():
        module = importlib.import_module(f"ocatari.ram.{name.lower()}")
        own = {
            each.__name__
            for each in vars(module).values()
            if inspect.isclass(each) and issubclass(each, base) and each.__module__ == module.__name__
        }
        assert set(GAMES[name].labels()) == own - NO_CATEGORIES, name
        playing = set(module.MAX_NB_OBJECTS) & own
        shown_besides = (set(module.MAX_NB_OBJECTS_HUD) & own) - playing
        assert shown_besides - {"Scorpion"} <= set(GAMES[name].displays.split()), name


def test_names_of_classes_by_hand():
    given = ("PlayerScore", "Blue_Tank", "EndNPC", "Enemy100", "P1Score", "HUD")
    assert [class_name(name) for name in given] == [
        "player_score",
        "blue_tank",
        "end_npc",
        "enemy100",
        "p1_score",
        "hud",
    ]


def test_what_the_table_says_of_masks_is_what_was_measured():
    measured = {
        (each["game"], each["mode"], each["difficulty"]): each for each in json.loads(RESULTS.read_text())["games"]
    }
    for name in with_masks():
        game = GAMES[name]
        assert measured[(name, *game.default)]["exactness"] == game.exactness, name
        for variant in game.checked[1:]:
            assert measured[(name, *variant)]["exactness"] == "good", name
    assert sum(game.exactness == "good" for game in GAMES.values()) >= 8


def test_nothing_is_imported_before_an_environment_is_made():
    code = (
        "import sys, camal_rl.envs as envs\n"
        "ids = [each for each in envs.env_ids() if each.startswith('atari/')]\n"
        "[(envs.segmentation_spec(each), envs.env_info(each), envs.level_sets(each)) for each in ids]\n"
        "assert len(ids) > 30, ids\n"
        "env = envs.make_vec('atari/Pong', 1, 0, segmentation=None)\n"
        "env.reset()\n"
        "assert 'ocatari' not in sys.modules and not env.has_segmentation\n"
    )
    before = code.replace("env = envs", "assert 'ale_py' not in sys.modules\nenv = envs")
    done = subprocess.run([sys.executable, "-c", before], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_simulator_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    rest = "ocatari" if sys.version_info < (3, 13) else "scikit-image termcolor"
    with pytest.raises(MissingExtraError, match=rf"ALE is not installed.*pip install 'ale-py>=0.11' {rest}"):
        AtariEnv("Pong", segmentation=None)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ocatari.ram.extract_ram_info", None)
    with pytest.raises(MissingExtraError, match=r"OCAtari is not installed"):
        AtariEnv("Pong")


@pytest.mark.filterwarnings("ignore:.*rgb_array.*")
def test_checkers_pass():
    env = gymnasium.make("camal_rl/atari-Freeway-v0", start_level=0, num_levels=200)
    check_gymnasium(env.unwrapped, skip_render_check=True)
    check_sb3(env.unwrapped)
    check_segmented_env(env, steps=60)
    assert AtariEnv("Freeway", render_mode="rgb_array", **QUICK).render().shape == (210, 160, 3)


def test_shapes_follow_the_options():
    for options, shape in (
        ({}, (84, 84, 4)),
        ({"grayscale": False}, (84, 84, 12)),
        ({"grayscale": False, "frame_stack": 1, "size": 100}, (100, 100, 3)),
    ):
        env = AtariEnv("Pong", **QUICK, **options)
        observation, info = env.reset(seed=0)
        assert observation.shape == env.observation_space.shape == shape
        assert env.observation_space.contains(observation)
        assert "segmentation" not in info
    assert AtariEnv("Pong", full_action_space=True, **QUICK).action_space.n == 18


def play(env, actions, seed):
    observation, info = env.reset(seed=seed)
    trace = [(observation, info)]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        trace.append((observation, info, reward, terminated, truncated))
        if terminated or truncated:
            trace.append(env.reset())
    return trace


def assert_same(one, other):
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1]["segmentation"], second[1]["segmentation"])
        assert first[1]["level_seed"] == second[1]["level_seed"]
        assert first[2:] == second[2:]


def test_a_level_is_the_same_whatever_was_played_before():
    actions = np.random.default_rng(0).integers(6, size=40)
    env = AtariEnv("Pong", num_levels=1, start_level=7)
    first = play(env, actions, seed=1)
    play(env, actions[:13], seed=None)
    assert_same(play(env, actions, seed=2), first)
    assert first[0][1]["level_seed"] == 7
    other = play(AtariEnv("Pong", num_levels=1, start_level=8), actions, seed=1)
    assert any(not np.array_equal(one[0], two[0]) for one, two in zip(first, other, strict=True))


def test_environments_in_one_process_do_not_disturb_each_other():
    """Hero's detector keeps a map of the level in a variable of its module."""
    rng = np.random.default_rng(3)
    actions = rng.integers(18, size=(2, 60))
    alone = [play(AtariEnv("Hero", max_frames=120), actions[index], seed=index) for index in range(2)]
    envs = [AtariEnv("Hero", max_frames=120) for _ in range(2)]
    together = [[env.reset(seed=index)] for index, env in enumerate(envs)]
    for step in range(60):
        for index, env in enumerate(envs):
            observation, reward, terminated, truncated, info = env.step(actions[index, step])
            together[index].append((observation, info, reward, terminated, truncated))
            if terminated or truncated:
                together[index].append(env.reset())
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
    before = {name for name in sys.modules if name.startswith("ocatari.ram.hero_")}
    assert len(before) >= 2
    del env, envs
    assert len({name for name in sys.modules if name.startswith("ocatari.ram.hero_")}) < len(before)


def test_actions_are_repeated_as_often_as_asked_for():
    """The player's paddle in Pong, moved by one action at a time: repeats show in how often ALE got the last one."""
    frames = RawAtariEnv(parse_options("Pong", {**QUICK, "repeat_action_probability": 0.4, "frame_skip": 1}))
    frames.reset(seed=0)
    taken, rng = [], np.random.default_rng(1)
    real = frames.ale

    class Recorder:
        def __getattr__(self, name):
            return getattr(real, name)

        def act(self, action):
            taken.append(action)
            return real.act(action)

    frames.ale = Recorder()
    chosen = [int(rng.integers(6)) for _ in range(2000)]
    for action in chosen:
        frames.step(action)
    meant = [frames._actions[action] for action in chosen]
    other = [index for index in range(1, 2000) if meant[index] != taken[index - 1]]
    repeated = [taken[index] == taken[index - 1] for index in other]
    assert all(taken[index] in (meant[index], taken[index - 1]) for index in range(1, 2000))
    assert abs(np.mean(repeated) - 0.4) < 4 * np.sqrt(0.24 / len(other))


def test_the_time_limit_truncates_and_the_end_of_the_game_terminates():
    env = AtariEnv("Pong", **QUICK | {"max_frames": 41})
    env.reset(seed=0)
    # FIRE has taken four frames.
    assert [env.step(0)[2:4] for _ in range(10)] == [(False, False)] * 9 + [(False, True)]
    env = AtariEnv("Breakout", **QUICK)
    env.reset(seed=0)
    for _ in range(2000):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    assert (terminated, truncated, info["lives"]) == (True, False, 0)


def test_a_lost_life_ends_an_episode_and_the_game_goes_on():
    env = AtariEnv("Breakout", episodic_life=True, **QUICK)
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    starts = [(info["lives"], info["frame_number"])]
    for _ in range(6):
        while True:
            _, _, terminated, _, info = env.step(env.action_space.sample())
            if terminated:
                break
        _, info = env.reset()
        starts.append((info["lives"], info["frame_number"]))
    assert [lives for lives, _ in starts] == [5, 4, 3, 2, 1, 5, 4]
    frames = [frame for _, frame in starts]
    assert frames[:5] == sorted(frames[:5])
    assert frames[5] == frames[0]
    _, info = env.reset(seed=0)
    assert (info["lives"], info["frame_number"]) == starts[0]


def test_fire_starts_the_ball_and_only_where_the_second_action_is_fire():
    def moves(**options):
        env = AtariEnv("Breakout", frame_stack=1, **QUICK, **options)
        first = env.reset(seed=0)[0]
        return any(not np.array_equal(first, env.step(0)[0]) for _ in range(10))

    assert moves()
    assert not moves(fire_on_reset=False)
    _, info = AtariEnv("Freeway", **QUICK).reset(seed=0)
    _, fired = AtariEnv("Breakout", **QUICK).reset(seed=0)
    assert fired["frame_number"] - info["frame_number"] == 4


def test_rewards_are_clipped_to_their_sign():
    def rewards(**options):
        env = AtariEnv("MsPacman", **QUICK, **options)
        env.reset(seed=0)
        return [env.step(3)[1] for _ in range(100)]

    plain, clipped = rewards(), rewards(clip_reward=True)
    assert max(plain) >= 10
    assert clipped == [float(np.sign(reward)) for reward in plain]


def test_a_finished_episode_leaves_its_true_last_frame():
    """The same game on its own tells what the last frame was, and that it ended by its time limit."""
    options = {**QUICK, "max_frames": 30, "num_levels": 1}
    env = make_vec("atari/Freeway", 1, 0, **options)
    env.reset()
    single = AtariEnv("Freeway", **options)
    single.reset(seed=0)
    for _ in range(20):
        _, _, dones, infos = env.step(np.array([1]))
        observation, _, terminated, truncated, _ = single.step(1)
        assert dones[0] == (terminated or truncated)
        if dones[0]:
            np.testing.assert_array_equal(infos[0]["terminal_observation"], observation)
            assert (infos[0]["TimeLimit.truncated"], truncated, terminated) == (True, True, False)
            single.reset()
    env.close()


def test_level_sets_can_be_made_and_share_no_levels():
    assert {"train", "held_out"} <= set(level_sets("atari/Skiing"))
    for name in ("Pong", "Freeway", "Skiing"):
        sets = level_sets(f"atari/{name}")
        train = range(sets["train"]["start_level"], sets["train"]["start_level"] + sets["train"]["num_levels"])
        for key, options in sets.items():
            env = make_vec(f"atari/{name}", 1, 0, **options, segmentation=None)
            env.reset()
            assert (env.reset_infos[0]["level_seed"] in train) == (key == "train")
            env.close()


def test_masks_can_be_had_on_every_held_out_set_but_that_of_an_unchecked_mode():
    for name, game in GAMES.items():
        for key, options in level_sets(f"atari/{name}").items():
            unchecked = key == "held_out_mode" and not game.held_out_checked
            if game.exactness == "none" or unchecked:
                with pytest.raises(ValueError, match="add segmentation=None"):
                    parse_options(name, dict(options))
            else:
                parse_options(name, dict(options))


def test_games_without_masks_say_why_and_work_without():
    refused = [name for name, game in GAMES.items() if game.exactness == "none"]
    assert set(refused) >= {"Adventure", "Assault", "Enduro", "Pitfall2", "RoadRunner", "Zaxxon"}
    for name in refused:
        with pytest.raises(ValueError, match=f"atari/{name} has no masks: .+; add segmentation=None"):
            make_vec(f"atari/{name}", 1, 0)
        assert env_info(f"atari/{name}").exactness == "none"
    env = make_vec("atari/Enduro", 2, 0, segmentation=None)
    assert env.reset().shape == (2, 84, 84, 4)
    with pytest.raises(ValueError, match="switched off"):
        env.segmentation()


@pytest.mark.parametrize(
    ("game", "options", "kind", "message"),
    [
        ("Pong", {"frameskip": 2}, TypeError, "did you mean 'frame_skip'"),
        ("Pong", {"frame_skip": 0}, ValueError, "frame_skip must be in \\[1, 100\\], got 0"),
        ("Pong", {"frame_stack": 2.0}, TypeError, "frame_stack must be an integer"),
        ("Pong", {"grayscale": 1}, TypeError, "grayscale must be true or false"),
        ("Pong", {"mode": 9}, ValueError, "mode of Pong must be one of 0, 1, got 9"),
        ("Pong", {"difficulty": 3}, ValueError, "not checked in mode 0 with difficulty 3; add segmentation=None"),
        ("Pong", {"segmentation": "boxes"}, ValueError, "'silhouette', 'box', None, got 'boxes'"),
        ("Pong", {"relevant": ["paddle"]}, ValueError, "unknown relevant class 'paddle'"),
        ("Pong", {"relevant": "ball"}, TypeError, "list of class names"),
        ("Pong", {"repeat_action_probability": 1}, ValueError, "in \\[0, 1\\), got 1"),
        ("Pong", {"start_level": -1}, ValueError, "start_level must be at least 0"),
        ("Png", {}, ValueError, "did you mean 'Pong'"),
    ],
)
def test_bad_options_are_refused_in_one_line(game, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        atari.make_vec(game, 1, 0, **options)
    assert "\n" not in str(caught.value)


def test_relevant_classes_can_be_chosen():
    env = make_vec("atari/Pong", 1, 0, relevant=["ball"])
    assert env.spec.relevant == ("ball",)
    assert atari.segmentation_spec("Pong").relevant == ("player", "enemy", "ball")

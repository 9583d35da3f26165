"""Dynamics worked out by hand, masks across resets, states, options, and both environments side by side."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from camal_rl.envs import make_vec, toy_grid
from camal_rl.envs.toy_grid import level as level_module
from camal_rl.envs.toy_grid.env import ToyGridEnv
from camal_rl.envs.toy_grid.layout import Layout
from camal_rl.envs.toy_grid.level import LABEL, build_level
from camal_rl.envs.toy_grid.options import SPEC

UP, RIGHT, DOWN, LEFT = range(4)
BY_HAND = Layout(start=(3, 3), goal=(3, 5), hazards=((1, 3),), walls=((3, 2),), distractors=((2, 3),), cue=1)


@pytest.fixture
def by_hand(monkeypatch):
    """Every level has the layout ``BY_HAND``."""
    build_level.cache_clear()
    monkeypatch.setattr(level_module, "make_layout", lambda seed, design: BY_HAND)
    yield
    build_level.cache_clear()


def agent_cell(labels):
    rows, cols = np.nonzero(labels == LABEL["agent"])
    return int(rows.min()) // 8, int(cols.mean()) // 8


def play(env, actions):
    return [env.step(np.int64(action)) for action in actions]


@pytest.mark.usefixtures("by_hand")
class TestByHand:
    def test_goal_ends_the_episode_with_plus_one(self):
        env = ToyGridEnv(step_cost=0.25)
        env.reset(seed=0)
        (_, first, ended, cut, _), (_, last, reached, late, info) = play(env, [RIGHT, RIGHT])
        assert (first, ended, cut) == (-0.25, False, False)
        assert (last, reached, late, info["is_success"]) == (1.0, True, False, True)

    def test_hazard_ends_the_episode_with_minus_one(self):
        env = ToyGridEnv()
        env.reset(seed=0)
        *_, (_, reward, ended, cut, info) = play(env, [UP, UP])
        assert (reward, ended, cut, info["is_success"]) == (-1.0, True, False, False)

    def test_walls_and_frame_block_and_distractors_do_not(self):
        env = ToyGridEnv()
        _, info = env.reset(seed=0)
        assert agent_cell(info["segmentation"]) == (3, 3)
        where = [agent_cell(info["segmentation"]) for *_, info in play(env, [LEFT, UP, DOWN, DOWN, DOWN, DOWN, DOWN])]
        assert where == [(3, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (6, 3)]

    def test_time_limit_truncates(self):
        env = ToyGridEnv(max_steps=3)
        env.reset(seed=0)
        flags = [(ended, cut) for _, _, ended, cut, _ in play(env, [LEFT] * 3)]
        assert flags == [(False, False), (False, False), (False, True)]

    def test_time_limit_counts_anew_in_every_episode(self):
        env = make_vec("toy_grid/default", 1, 0, max_steps=3)
        env.reset()
        ends = [bool(env.step(np.array([LEFT]))[2][0]) for _ in range(7)]
        assert ends == [False, False, True, False, False, True, False]
        env.reset()
        assert [bool(env.step(np.array([LEFT]))[2][0]) for _ in range(3)] == [False, False, True]

    def test_goal_on_the_last_step_is_no_truncation(self):
        env = ToyGridEnv(max_steps=2)
        env.reset(seed=0)
        assert [(ended, cut) for _, _, ended, cut, _ in play(env, [RIGHT, RIGHT])] == [(False, False), (True, False)]

    def test_vectorized_infos_at_the_end_of_an_episode(self):
        env = make_vec("toy_grid/default", 2, 0, max_steps=2)
        first = env.reset()
        env.step(np.array([RIGHT, LEFT]))
        observations, rewards, dones, infos = env.step(np.array([RIGHT, LEFT]))
        np.testing.assert_allclose(rewards, [1.0, -0.02], rtol=1e-6)
        assert dones.tolist() == [True, True]
        assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
        assert [info["is_success"] for info in infos] == [True, False]
        np.testing.assert_array_equal(infos[1]["terminal_observation"], first[1])
        arrived = infos[0]["terminal_observation"]
        assert not np.array_equal(arrived[24:32, 40:48], observations[0][24:32, 40:48])
        for labels in env.segmentation():
            assert agent_cell(labels) == (3, 3)


def test_agent_silhouette_is_what_differs_from_the_empty_level():
    env = make_vec("toy_grid/default", 16, 5)
    observations = env.reset()
    rng = np.random.default_rng(0)
    for _ in range(60):
        for index, labels in enumerate(env.segmentation()):
            empty = build_level(env.reset_infos[index]["level"], env.options.design).image
            drawn = (observations[index] != empty).any(axis=-1)
            np.testing.assert_array_equal(drawn, labels == LABEL["agent"])
        observations, *_ = env.step(rng.integers(4, size=16))


@pytest.mark.parametrize("options", [{}, {"segmentation": "box", "theme": "held_out", "num_levels": 0}])
def test_vectorized_equals_single_step_by_step(options):
    env = make_vec("toy_grid/default", 5, 3, max_steps=12, **options)
    singles = [ToyGridEnv(max_steps=12, **options) for _ in range(5)]
    observations = env.reset()
    for index, single in enumerate(singles):
        observation, info = single.reset(options={"level": env.reset_infos[index]["level"]})
        np.testing.assert_array_equal(observation, observations[index])
        np.testing.assert_array_equal(info["segmentation"], env.segmentation()[index])
    rng = np.random.default_rng(1)
    boundaries = 0
    for _ in range(100):
        actions = rng.integers(4, size=5)
        observations, rewards, dones, infos = env.step(actions)
        labels = env.segmentation()
        for index, single in enumerate(singles):
            observation, reward, ended, cut, info = single.step(actions[index])
            assert (pytest.approx(rewards[index]), dones[index]) == (reward, ended or cut)
            if dones[index]:
                boundaries += 1
                np.testing.assert_array_equal(infos[index]["terminal_observation"], observation)
                assert infos[index]["TimeLimit.truncated"] == cut
                observation, info = single.reset(options={"level": env.reset_infos[index]["level"]})
            np.testing.assert_array_equal(observation, observations[index])
            np.testing.assert_array_equal(info["segmentation"], labels[index])
    assert boundaries > 20


def rollout(env, actions):
    frames = []
    for row in actions:
        observations, rewards, dones, _ = env.step(row)
        frames.append((observations, env.segmentation(), rewards, dones))
    return frames


def assert_same_rollout(one, other):
    for left, right in zip(one, other, strict=True):
        for first, second in zip(left, right, strict=True):
            np.testing.assert_array_equal(first, second)


def test_states_bring_everything_back_also_in_another_environment():
    actions = np.random.default_rng(2).integers(4, size=(80, 6))
    env = make_vec("toy_grid/default", 6, 0, num_levels=0)
    env.reset()
    rollout(env, actions[:30])
    states, labels = env.get_state(), env.segmentation()
    expected = rollout(env, actions[30:])
    other = make_vec("toy_grid/default", 6, 99, num_levels=0)
    other.reset()
    for target in (env, other):
        target.set_state(states)
        np.testing.assert_array_equal(target.segmentation(), labels)
        assert_same_rollout(rollout(target, actions[30:]), expected)


def test_wrong_states_are_refused():
    env = make_vec("toy_grid/default", 2, 0)
    env.reset()
    with pytest.raises(ValueError, match="expected 2 states"):
        env.set_state(env.get_state()[:1])
    with pytest.raises(ValueError, match="bytes"):
        env.set_state([b"short"] * 2)


def test_seeds_fix_everything_and_environments_see_different_levels():
    actions = np.random.default_rng(3).integers(4, size=(50, 4))
    runs = []
    for seed in (7, 7, 8):
        env = make_vec("toy_grid/default", 4, seed)
        first = env.reset()
        assert len({frame.tobytes() for frame in first}) > 1
        runs.append(rollout(env, actions))
    assert_same_rollout(runs[0], runs[1])
    assert not np.array_equal(runs[0][-1][0], runs[2][-1][0])


def test_seed_method_restarts_the_streams():
    env = make_vec("toy_grid/default", 3, 0)
    env.seed(5)
    first = env.reset()
    env.reset()
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)


def test_levels_come_from_the_level_set():
    env = make_vec("toy_grid/default", 32, 0, start_level=40, num_levels=3)
    seen = set()
    for _ in range(5):
        env.reset()
        seen |= {info["level"] for info in env.reset_infos}
    assert seen == {40, 41, 42}


def test_returned_arrays_are_copies():
    env = make_vec("toy_grid/default", 2, 0)
    observations, labels = env.reset(), env.segmentation()
    kept = observations.copy(), labels.copy()
    rollout(env, np.random.default_rng(0).integers(4, size=(20, 2)))
    np.testing.assert_array_equal(observations, kept[0])
    np.testing.assert_array_equal(labels, kept[1])


def test_segmentation_can_be_switched_off_and_changes_nothing_else():
    actions = np.random.default_rng(4).integers(4, size=(40, 3))
    on, off = (make_vec("toy_grid/default", 3, 0, segmentation=mode) for mode in ("silhouette", None))
    on.reset(), off.reset()
    for row in actions:
        np.testing.assert_array_equal(on.step(row)[0], off.step(row)[0])
    assert (on.has_segmentation, off.has_segmentation) == (True, False)
    with pytest.raises(ValueError, match="switched off"):
        off.segmentation()
    assert "segmentation" not in ToyGridEnv(segmentation=None).reset(seed=0)[1]


def test_relevant_classes_can_be_chosen():
    assert make_vec("toy_grid/default", 1, 0).spec == SPEC
    assert "cue" not in SPEC.relevant
    assert make_vec("toy_grid/default", 1, 0, relevant=["goal"]).spec.relevant == ("goal",)
    assert ToyGridEnv(relevant=["goal"]).segmentation_spec.relevant == ("goal",)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cue_strenght": 1.0}, TypeError, "did you mean 'cue_strength'"),
        ({"cue_strength": 1.5}, ValueError, "in \\[0, 1\\], got 1.5"),
        ({"cue_strength": float("nan")}, ValueError, "in \\[0, 1\\], got nan"),
        ({"cue_strength": "much"}, TypeError, "must be a number"),
        ({"num_hazards": 4}, ValueError, "in \\[0, 3\\], got 4"),
        ({"num_walls": 1.5}, TypeError, "must be an integer"),
        ({"num_levels": -1}, ValueError, "num_levels"),
        ({"start_level": 2**31}, ValueError, "start_level"),
        ({"theme": "trian"}, ValueError, "train, held_out"),
        ({"segmentation": "boxes"}, ValueError, "'silhouette', 'box' or None"),
        ({"step_cost": -1}, ValueError, "step_cost"),
        ({"max_steps": 0}, ValueError, "max_steps"),
        ({"relevant": "goal"}, TypeError, "list of class names"),
        ({"relevant": ["gaol"]}, ValueError, "unknown relevant class 'gaol'"),
    ],
)
def test_bad_options_are_one_clear_line(options, error, message):
    with pytest.raises(error, match=message) as caught:
        make_vec("toy_grid/default", 1, 0, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("actions", [[0], [0, 4], [-1, 0], [0.0, 1.0]])
def test_bad_actions_are_refused(actions):
    env = make_vec("toy_grid/default", 2, 0)
    env.reset()
    with pytest.raises(ValueError, match=r"actions must be 2 integers|actions must be in"):
        env.step(np.array(actions))


def test_single_environment_refuses_bad_actions_and_levels():
    env = ToyGridEnv()
    with pytest.raises(ValueError, match="level must be an integer"):
        env.reset(options={"level": -3})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be in"):
        env.step(np.int64(4))


def test_shared_attributes_are_set_for_all_or_not_at_all():
    env = make_vec("toy_grid/default", 3, 0)
    env.set_attr("note", "x")
    assert env.get_attr("note") == ["x"] * 3
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    env.reset()
    assert len(env.env_method("get_state", indices=[0, 1])) == 2
    with pytest.raises(ValueError, match="all indices"):
        env.set_attr("note", "y", indices=[0])
    assert env.render().shape[2] == 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", toy_grid.env_names())
def test_environment_checkers_pass(name):
    toy_grid.register()
    toy_grid.register()
    env = gymnasium.make(f"camal_rl/toy_grid-{name}-v0", render_mode="rgb_array")
    gymnasium_check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)
    observation, _ = env.reset(seed=1)
    np.testing.assert_array_equal(env.render(), observation)

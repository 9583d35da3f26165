"""The toy grid's counterfactuals against its label maps, its other variants and hand-made states."""

import numpy as np
import pytest

from camal_rl.envs import IDENTITY, Intervention, check_counterfactual_env, make_vec
from camal_rl.envs.toy_grid.art import cue_tile
from camal_rl.envs.toy_grid.layout import make_layout
from camal_rl.envs.toy_grid.options import LevelDesign

BUSY = {"num_walls": 5, "num_hazards": 3, "num_distractors": 6}


def played(steps, num_envs=8, seed=0, **options):
    env = make_vec("toy_grid/default", num_envs, seed, **options)
    observations, rng = env.reset(), np.random.default_rng(seed)
    for _ in range(steps):
        observations, _, _, _ = env.step(rng.integers(0, 4, num_envs))
    return env, observations


def named(env):
    return {item.name: item for item in env.interventions()}


@pytest.mark.parametrize("options", [{}, BUSY, {"theme": "held_out", "segmentation": "box"}, {"segmentation": None}])
def test_the_contract_holds_while_playing(options):
    for steps in (0, 23):
        check_counterfactual_env(*played(steps, num_envs=4, **options))


def test_redrawing_does_not_disturb_the_games():
    quiet, asked = make_vec("toy_grid/default", 4, 3), make_vec("toy_grid/default", 4, 3)
    assert np.array_equal(quiet.reset(), asked.reset())
    rng = np.random.default_rng(0)
    for _ in range(12):
        for item in asked.interventions():
            asked.counterfactual(item)
        actions = rng.integers(0, 4, 4)
        for one, other in zip(quiet.step(actions)[:3], asked.step(actions)[:3], strict=True):
            assert np.array_equal(one, other)
        assert quiet.get_state() == asked.get_state()
        assert np.array_equal(quiet.segmentation(), asked.segmentation())


@pytest.mark.parametrize("name", ["goal", "hazard", "wall", "cue"])
def test_removal_changes_exactly_the_pixels_of_the_class(name):
    env, _ = played(9, **BUSY)
    drawn = env.counterfactual(named(env)[f"remove_{name}"])
    labeled = env.segmentation() == env.spec.names.index(name)
    assert not (drawn.changed & ~labeled).any()
    # A sprite's pixel may by chance have the floor's color; the cue has none of the frame's.
    assert drawn.changed.sum() >= (labeled.sum() if name == "cue" else 0.99 * labeled.sum())


def test_the_agent_uncovers_what_it_stands_on():
    env, _ = played(0, num_envs=1, num_levels=0)
    level = next(
        seed for seed in range(200) if (3, 3) in make_layout(seed, LevelDesign()).distractors
    )  # fmt: skip
    state = bytearray(env.get_state()[0])
    state[-32:] = b"".join(int(value).to_bytes(8, "little") for value in (level, 3, 3, 1))
    observations = env.set_state([bytes(state)])
    check_counterfactual_env(env, observations)
    shown = env.counterfactual(named(env)["remove_agent"]).images[0, 24:32, 24:32]
    elsewhere = bytearray(state)
    elsewhere[-24:-8] = (1).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert np.array_equal(shown, env.set_state([bytes(elsewhere)])[0, 24:32, 24:32])


def test_another_theme_is_the_frame_of_the_other_variant():
    env, _ = played(0, seed=5)
    other = make_vec("toy_grid/default", 8, 5, theme="held_out")
    assert np.array_equal(env.counterfactual(named(env)["theme_1"]).images, other.reset())


def test_changed_cues_show_the_other_three_quadrants():
    env, observations = played(4)
    tiles = {quadrant: cue_tile(quadrant).tobytes() for quadrant in range(4)}
    seen = [observations] + [env.counterfactual(named(env)[f"change_cue_{number}"]).images for number in (1, 2, 3)]
    for index in range(8):
        assert {images[index, :8, :8].tobytes() for images in seen} == set(tiles.values())
        assert all(np.array_equal(images[index, 8:], observations[index, 8:]) for images in seen)


def test_backgrounds_change_the_floor_and_nothing_that_stands_on_it():
    env, _ = played(6)
    drawn = [env.counterfactual(named(env)[f"background_{number}"]) for number in (1, 2, 3)]
    things = env.segmentation() > 0
    assert not any((item.changed & things).any() for item in drawn)
    assert all(item.applies.all() for item in drawn)
    assert len({item.images[0].tobytes() for item in drawn}) == 3


def test_the_nearest_object_is_removed_and_relevance_is_the_users():
    env, _ = played(5, relevant=["goal"])
    nearest = env.counterfactual(named(env)["remove_nearest_object"])
    assert np.array_equal(nearest.images, env.counterfactual(named(env)["remove_goal"]).images)
    env, _ = played(0, num_envs=30, **BUSY)
    changed = env.counterfactual(named(env)["remove_nearest_object"]).changed
    for index, seed in enumerate(info["level"] for info in env.reset_infos):
        layout = make_layout(seed, LevelDesign(**BUSY))
        steps = [
            abs(r - layout.start[0]) + abs(c - layout.start[1])
            for r, c in (layout.goal, *layout.hazards, *layout.walls)
        ]
        (cell,) = np.unique(np.argwhere(changed[index]) // 8, axis=0).tolist()
        assert abs(cell[0] - layout.start[0]) + abs(cell[1] - layout.start[1]) == min(steps)


def test_nothing_to_remove_does_not_apply():
    env, observations = played(3, num_walls=0, num_hazards=0, num_distractors=0)
    for name in ("wall", "hazard", "distractor"):
        drawn = env.counterfactual(named(env)[f"remove_{name}"])
        assert not drawn.applies.any()
        assert np.array_equal(drawn.images, observations)
    env, _ = played(3, relevant=["wall"], num_walls=0)
    assert not env.counterfactual(named(env)["remove_nearest_object"]).applies.any()


def test_wrong_questions_are_refused():
    env = make_vec("toy_grid/default", 2, 0)
    with pytest.raises(ValueError, match="call reset first"):
        env.counterfactual(IDENTITY)
    foreign = Intervention("background_off", "background")
    with pytest.raises(ValueError, match="unknown intervention 'background_off'; this environment has: background_1"):
        env.counterfactual(foreign)

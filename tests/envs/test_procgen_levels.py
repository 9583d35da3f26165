"""Held-out levels, duplicates of training levels, and the normalized score."""

import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs.procgen import (
    ProcgenVecEnv,
    duplicate_levels,
    env_names,
    first_frames,
    frame_fingerprint,
    level_sets,
    normalized_score,
    training_fingerprints,
)
from camal_rl.envs.procgen.libraries import MODULE

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)


def test_held_out_levels_are_none_of_the_training_levels():
    for game in env_names():
        sets = level_sets(game)
        train, held_out = sets["train"], sets["held_out"]
        assert train["num_levels"] == 200
        assert held_out["num_levels"] > 0
        assert held_out["start_level"] >= train["start_level"] + train["num_levels"]


@pytest.mark.parametrize("game", ["coinrun", "fruitbot", "ninja"])
def test_first_frames_are_those_that_episodes_start_with(game):
    known = first_frames(game, 40, 70)
    assert list(known) == list(range(40, 110))
    env = ProcgenVecEnv(game, 16, 9, start_level=40, num_levels=70, segmentation=None, num_threads=0)
    frames, rng, starts = env.reset(), np.random.default_rng(0), 0
    for _ in range(3):
        for frame, info in zip(frames, env.reset_infos, strict=True):
            assert frame_fingerprint(frame) == known[info["level_seed"]]
            starts += 1
        for _ in range(10):
            env.step(rng.integers(0, 15, 16))
        frames = env.reset()
    assert starts == 48


def test_fingerprints_differ_where_frames_do():
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    other = frame.copy()
    other[63, 63, 2] = 1
    assert frame_fingerprint(frame) == frame_fingerprint(frame.copy())
    assert frame_fingerprint(frame) == frame_fingerprint(frame.transpose(1, 0, 2))
    assert frame_fingerprint(frame) != frame_fingerprint(other)


def test_duplicates_are_the_levels_whose_first_frame_is_a_training_level_s():
    train = {"start_level": 0, "num_levels": 200, "distribution_mode": "easy", "segmentation": "box"}
    found = duplicate_levels("ninja", train, 200, 300)
    known = training_fingerprints("ninja", train)
    frames = first_frames("ninja", 200, 300)
    assert 0 < len(found) < 60
    assert found == [level for level in range(200, 500) if frames[level] in known]
    assert duplicate_levels("ninja", train, 0, 5) == [0, 1, 2, 3, 4]


def test_fingerprints_depend_on_what_is_drawn():
    assert first_frames("maze", 0, 3) != first_frames("maze", 0, 3, use_backgrounds=False)


def test_training_on_all_levels_has_no_held_out_levels():
    with pytest.raises(ValueError, match="all levels"):
        training_fingerprints("maze", {"num_levels": 0})


def test_normalized_score():
    np.testing.assert_allclose(normalized_score("coinrun", [5.0, 7.5, 10.0, 0.0]), [0.0, 0.5, 1.0, -1.0])
    np.testing.assert_allclose(normalized_score("fruitbot", np.array([32.4, -1.5])), [1.0, 0.0])
    with pytest.raises(ValueError, match="unknown Procgen game 'doom'"):
        normalized_score("doom", [1.0])

import numpy as np
import pytest

from camal_rl.envs import find_segmented
from camal_rl.rl import environments
from camal_rl.rl.config import EnvConfig
from camal_rl.rl.environments import level_set_options, make_level_set_env, make_training_env
from camal_rl.runs.loading import load_config


def test_a_level_set_changes_only_what_it_is_about():
    env = EnvConfig("toy_grid/default", options={"cue_strength": 0.5, "num_walls": 4, "num_levels": 30})
    train = level_set_options(env, "train")
    assert (train["num_levels"], train["cue_strength"], train["num_walls"]) == (30, 0.5, 4)
    held_out = level_set_options(env, "held_out")
    assert held_out["start_level"] >= 1_000_000
    assert (held_out["cue_strength"], held_out["num_walls"]) == (0.0, 4)
    assert level_set_options(env, "held_out_cue")["cue_strength"] == 0.5
    broken = level_set_options(env, "cue_broken")
    assert (broken["start_level"], broken["num_levels"], broken["cue_strength"]) == (0, 30, 0.0)


def test_procgen_keeps_the_training_mode_on_held_out_levels():
    env = EnvConfig("procgen/starpilot", options={"distribution_mode": "hard", "num_levels": 100})
    assert level_set_options(env, "train")["num_levels"] == 100
    held_out = level_set_options(env, "held_out")
    assert held_out["distribution_mode"] == "hard"
    assert held_out["start_level"] == 200


def test_held_out_levels_never_overlap_training_levels():
    with pytest.raises(ValueError, match="level set 'held_out' contains training levels: training uses 0 to 499"):
        level_set_options(EnvConfig("procgen/maze", options={"num_levels": 500}), "held_out")
    with pytest.raises(ValueError, match=r"limit env\.options\.num_levels"):
        level_set_options(EnvConfig("procgen/maze", options={"num_levels": 0}), "held_out")


def test_a_game_of_its_own_mode_may_keep_the_seeds(monkeypatch):
    sets = {"train": {"num_levels": 0}, "held_out": {"num_levels": 0, "mode": 1}, "held_out_seeds": {"num_levels": 0}}
    monkeypatch.setattr(environments, "level_sets", lambda _: sets)
    assert level_set_options(EnvConfig("toy_grid/default"), "held_out") == {"num_levels": 0, "mode": 1}
    with pytest.raises(ValueError, match="contains training levels"):
        level_set_options(EnvConfig("toy_grid/default"), "held_out_seeds")


def test_unknown_level_set_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'held_out'"):
        level_set_options(EnvConfig("toy_grid/default"), "heldout")


def test_training_returns_are_raw_and_training_rewards_normalized():
    small = ["env.num_envs=4", "algorithm.batch_size=64"]
    config = load_config("toy_grid", ["env.normalize_reward=true", *small])
    normalized = make_training_env(config)
    plain = make_training_env(load_config("toy_grid", small))
    normalized.reset()
    plain.reset()
    rng = np.random.default_rng(0)
    rewards, returns = [], []
    for _ in range(60):
        actions = rng.integers(4, size=4)
        _, scaled, _, infos = normalized.step(actions)
        _, raw, _, plain_infos = plain.step(actions)
        rewards.append((scaled, raw))
        returns += [
            (a["episode"]["r"], b["episode"]["r"]) for a, b in zip(infos, plain_infos, strict=True) if "episode" in b
        ]
    assert not np.allclose(*map(np.concatenate, zip(*rewards, strict=True)))
    assert len(returns) > 3
    assert all(first == second for first, second in returns)
    assert find_segmented(normalized) is not None


def test_rewards_are_normalized_by_returns_of_the_discount_that_is_asked_for():
    small = ["env.normalize_reward=true", "env.num_envs=4", "algorithm.batch_size=64", "algorithm.gamma=0.9"]
    for more, gamma in ([], 0.9), (["env.normalize_reward_gamma=0.5"], 0.5):
        assert make_training_env(load_config("toy_grid", [*small, *more])).gamma == gamma
    with pytest.raises(ValueError, match=r"env\.normalize_reward_gamma needs env\.normalize_reward=true"):
        load_config("toy_grid", ["env.normalize_reward_gamma=0.5"])


def test_the_pessimistic_value_loss_needs_a_range():
    with pytest.raises(ValueError, match=r"algorithm\.pessimistic_value_loss needs algorithm\.clip_range_vf"):
        load_config("toy_grid", ["algorithm.pessimistic_value_loss=true"])


def test_masks_and_relevant_classes_follow_the_configuration():
    config = load_config("toy_grid", ["env.relevant=[goal]", "env.segmentation=box"])
    venv = make_level_set_env(config, "held_out", 3, 0, masks=True)
    assert venv.spec.relevant == ("goal",)
    venv.reset()
    goal = venv.spec.names.index("goal")
    assert [(labels == goal).sum() for labels in venv.segmentation()] == [64, 64, 64]
    unmasked = make_level_set_env(config, "held_out", 3, 0, masks=False)
    unmasked.reset()
    with pytest.raises(ValueError, match="switched off"):
        unmasked.segmentation()

"""Crafter's score, by hand and on its way into an evaluation."""

import math

import pytest

from camal_rl.envs.crafter.classes import ACHIEVEMENTS
from camal_rl.envs.crafter.score import episode_scores
from camal_rl.envs.registry import FAMILIES


def episode(*reached):
    return {"achievements": {name: reached.count(name) for name in ACHIEVEMENTS}, "episode": {"r": 1.0}}


def test_the_score_is_the_geometric_mean_of_the_rates_in_percent():
    infos = [episode("collect_wood", "collect_wood"), episode("collect_wood", "wake_up"), episode(), episode()]
    found = episode_scores("Reward", infos)
    assert found["success_collect_wood"] == 0.5
    assert found["success_wake_up"] == 0.25
    assert found["success_collect_diamond"] == 0
    assert found["score"] == pytest.approx(math.exp((math.log(51) + math.log(26)) / 22) - 1)


def test_the_ends_of_the_scale():
    assert episode_scores("Reward", [episode()])["score"] == 0
    assert episode_scores("Reward", [episode(*ACHIEVEMENTS)] * 3)["score"] == pytest.approx(100)


def test_the_family_offers_it_with_every_achievement():
    found = FAMILIES["crafter"].episode_scores("NoReward", [episode()])
    assert list(found) == ["score", *(f"success_{name}" for name in ACHIEVEMENTS)]
    assert len(ACHIEVEMENTS) == 22

"""UCB-DrAC: the bandit by hand, what an update feeds it, and that its state is saved."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.agents.augmentations import AUGMENTATIONS
from camal_rl.agents.drac import DrACConfig, DrACTerm
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.ucb_drac import UCBDrACTerm, UpperConfidenceBound
from camal_rl.state_tree import from_bytes, to_bytes

from .fakes import CountingEnv, unsegmented_env

SETTINGS = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}
NAMES = list(AUGMENTATIONS)


def trained(steps=16, algorithm=CAMALPPO, policy="CamPolicy", env=None, **kwargs):
    if algorithm is CAMALPPO:
        kwargs = {"camal": {"weight": 0}, "terms": ["ucb_drac"], **kwargs}
    return algorithm(policy, env or CountingEnv(), **{**SETTINGS, **kwargs}).learn(steps)


def term_of(model):
    return next(term for term in model.auxiliary_terms if term.name == "ucb_drac")


def rollout(value):
    return SimpleNamespace(returns=np.array([[value - 1], [value + 1]]))


def test_the_bounds_are_those_worked_out_by_hand():
    bandit = UpperConfidenceBound(3, exploration=0.1, window=2)
    assert bandit.bounds() == [0, 0, 0]  # t = 1
    assert bandit.choose() == 0
    bandit.reward(0.5)
    # t = 2: the first arm has N = 2, the others 1.
    explored = 0.1 * math.sqrt(math.log(2))
    assert bandit.bounds() == pytest.approx([0.5 + 0.1 * math.sqrt(math.log(2) / 2), explored, explored])
    assert bandit.choose() == 0
    bandit.reward(-1.5)
    # t = 3: Q = -.5, N = 3.
    explored = 0.1 * math.sqrt(math.log(3))
    assert bandit.bounds() == pytest.approx([-0.5 + 0.1 * math.sqrt(math.log(3) / 3), explored, explored])
    assert bandit.choose() == 1  # the first of equals


def test_only_the_last_rewards_of_the_window_count():
    bandit = UpperConfidenceBound(1, exploration=0, window=2)
    for value in (100.0, 1.0, 2.0):
        bandit.choose()
        bandit.reward(value)
    assert (bandit.bounds(), bandit.counts) == ([1.5], [3])


def test_an_augmentation_earns_the_mean_return_of_the_rollout_after_its_update():
    term = UCBDrACTerm()
    term.update_starts(rollout(7.0))  # nothing was chosen before
    assert term.bandit.counts == [0] * 8
    assert term.bandit.chosen == 0
    term.update_starts(rollout(-2.0))
    assert term.bandit.counts == [1, *[0] * 7]
    assert term.bandit.bounds()[0] == pytest.approx(-2 + 0.1 * math.sqrt(math.log(2) / 2))
    assert NAMES[term.bandit.chosen] == "grayscale"
    term.update_starts(rollout(3.0))
    assert NAMES[term.bandit.chosen] == "grayscale"


def test_the_loss_is_dracs_with_the_chosen_augmentation():
    model = trained()
    term = term_of(model)
    (samples,) = model.rollout_buffer.get(16)
    evaluation = evaluate_samples(model.policy, samples, 0)
    for index, name in enumerate(NAMES):
        term.bandit.chosen = index
        drac = DrACTerm(DrACConfig(augmentation=name), seed=5)
        drac.setup(model.policy, None)
        term._generator.manual_seed(5)
        assert torch.equal(term.loss(samples, evaluation, 0.0).total, drac.loss(samples, evaluation, 0.0).total), name


def test_choices_are_logged_and_camal_joins():
    log = trained(steps=48, camal={"weight": 0.1}).logger.name_to_value
    assert log["camal/loss"] > 0
    assert (log["ucb_drac/weight"], log["ucb_drac/chosen"] in range(8)) == (0.1, True)
    assert sum(log[f"ucb_drac/{name}"] for name in NAMES) == 2  # three updates, the last one's reward is to come
    assert "ucb_drac/policy" in log
    assert "ucb_drac/value" in log


def test_a_saved_state_goes_on_as_if_nothing_had_been():
    model = trained(steps=48)
    (samples,) = model.rollout_buffer.get(16)
    term, other = term_of(model), UCBDrACTerm(seed=99)
    other.setup(model.policy, None)
    other.restore_training_state(from_bytes(to_bytes(term.training_state())))
    for value in range(12):
        evaluation = evaluate_samples(model.policy, samples, 0)
        for each in (term, other):
            each.update_starts(rollout(float(value % 3)))
        assert term.bandit.state() == other.bandit.state()
        assert torch.equal(term.loss(samples, evaluation, 0).total, other.loss(samples, evaluation, 0).total)


def test_a_state_is_a_copy_and_that_of_other_arms_is_refused():
    bandit = UpperConfidenceBound(2, 0.1, 3)
    before = bandit.state()
    bandit.choose()
    bandit.reward(1.0)
    assert before == {"chosen": None, "counts": [0, 0], "rewards": [[], []]}
    with pytest.raises(ValueError, match="the bandit has 2 arms, but the state is for 3"):
        bandit.restore(UpperConfidenceBound(3, 0.1, 3).state())


def test_weight_zero_is_stock_ppo_bit_for_bit():
    ours = trained(terms={"ucb_drac": {"weight": 0}}, steps=32).policy.state_dict()
    stock = trained(algorithm=PPO, policy=CamPolicy, steps=32).policy.state_dict()
    assert all(torch.equal(ours[name], stock[name]) for name in stock)


def test_no_masks_are_needed():
    assert trained(env=unsegmented_env()).logger.name_to_value["ucb_drac/value"] >= 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": -1}, ValueError, "ucb_drac.weight must be a finite number of at least 0, got -1"),
        ({"weight": True}, TypeError, "ucb_drac.weight must be a number, got True"),
        ({"exploration": math.inf}, ValueError, "ucb_drac.exploration must be a finite number of at least 0, got inf"),
        ({"window": 0}, ValueError, "ucb_drac.window must be at least 1, got 0"),
        ({"window": 2.5}, TypeError, "ucb_drac.window must be a whole number, got 2.5"),
        ({"augmentation": "crop"}, ValueError, "unknown setting 'augmentation' in ucb_drac"),
    ],
)
def test_wrong_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        trained(terms={"ucb_drac": settings})

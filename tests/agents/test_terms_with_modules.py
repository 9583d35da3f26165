"""What the terms that learn something besides the policy have in common: what they leave alone, and how they go on."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.terms import term_class

from .fakes import CountingEnv

SETTINGS = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}
pytestmark = pytest.mark.parametrize("name", ["sgqn", "sgfd"])


def made(terms, env=None):
    return CAMALPPO("CamPolicy", env or CountingEnv(), camal={"weight": 0}, terms=terms, **SETTINGS)


def term_of(model, name):
    return next(term for term in model.auxiliary_terms if term.name == name)


def test_weight_zero_is_stock_ppo_bit_for_bit(name):
    ours = made({name: {"weight": 0}}).learn(32).policy.state_dict()
    stock = PPO(CamPolicy, CountingEnv(), **SETTINGS).learn(32).policy.state_dict()
    assert all(torch.equal(ours[key], stock[key]) for key in stock)
    weighted = made([name]).learn(32).policy.state_dict()
    assert not all(torch.equal(weighted[key], stock[key]) for key in stock)


def test_the_global_random_streams_are_left_alone(name):
    model = made([name]).learn(16)
    (samples,) = model.rollout_buffer.get(16)
    pixels = torch.randint(0, 256, (16, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    samples = samples._replace(observations=pixels)
    torches, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    kind = term_class(name)
    term = kind(kind.config_type(), seed=3)
    term.setup(model.policy, None)
    term.loss(samples, evaluate_samples(model.policy, samples, 0), 0.0)
    assert torch.equal(torch.get_rng_state(), torches)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


def test_training_goes_on_from_a_checkpoint_bit_for_bit(name):
    whole = made([name]).learn(16)
    state = copy.deepcopy(whole.training_state())
    env = CountingEnv()
    env.count = 8
    whole.learn(16, reset_num_timesteps=False)
    resumed = made([name], env)
    resumed.restore_training_state(state)
    resumed.learn(16, reset_num_timesteps=False)
    for one, other in (
        (whole.policy, resumed.policy),
        (term_of(whole, name).module, term_of(resumed, name).module),
    ):
        theirs, ours = one.state_dict(), other.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert torch.equal(term_of(whole, name)._generator.get_state(), term_of(resumed, name)._generator.get_state())

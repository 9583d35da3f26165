"""The parts of published PPO on Procgen that Stable-Baselines3 does not have."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

from camal_rl.agents import CAMALDQN, CAMALPPO
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.envs import make_vec

from .fakes import CountingEnv
from .policies import Convolutions, policy_of

RANGE = 0.1


@pytest.mark.parametrize("encoder", [*SHIPPED_ENCODERS, Convolutions])
def test_glorot_weights_have_the_variance_of_the_paper_and_heads_stay_as_they_are(encoder):
    shape = (3, 64, 64)
    stock, policy = (policy_of(encoder, shape=shape, initialization=how) for how in ("stock", "glorot"))
    layers, stock_layers = (
        [each for each in made.features_extractor.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        for made in (policy, stock)
    )
    assert layers
    assert not torch.equal(layers[0].weight, stock_layers[0].weight)
    for layer in layers:
        area = layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        fans = area * (layer.weight.shape[0] + layer.weight.shape[1])
        assert layer.weight.abs().max() <= (6 / fans) ** 0.5
        assert layer.weight.var().item() == pytest.approx(2 / fans, rel=0.25)
        assert not layer.bias.any()
    assert torch.equal(policy.value_net.weight, stock.value_net.weight)


def test_an_initialization_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="initialization must be one of stock, glorot, got 'xavier'"):
        policy_of(initialization="xavier")


def test_both_networks_of_dqn_begin_with_the_same_weights_and_a_file_has_them(tmp_path):
    env = make_vec("toy_grid/default", 2, 0)
    kwargs = {"encoder": "patch", "initialization": "glorot"}
    model = CAMALDQN("CamQPolicy", env, camal={"weight": 0}, policy_kwargs=kwargs, buffer_size=100, device="cpu")
    online, target = model.policy.q_net, model.policy.q_net_target
    assert not online.features_extractor.cnn[0].bias.any()
    for name, weight in online.state_dict().items():
        assert torch.equal(weight, target.state_dict()[name])
    model.save(tmp_path / "model")
    loaded = CAMALDQN.load(tmp_path / "model", device="cpu")
    assert torch.equal(loaded.policy.q_net.q_net[0].weight, online.q_net[0].weight)


def agent(policy="CamPolicy", **kwargs):
    own = {"camal": {"weight": 0}, "policy_kwargs": {"encoder": "compact"}} if policy == "CamPolicy" else {}
    return CAMALPPO(policy, CountingEnv(size=36), n_steps=8, batch_size=16, n_epochs=1, device="cpu", **own, **kwargs)


def test_the_value_loss_is_the_larger_error_of_each_observation():
    model = agent(clip_range_vf=RANGE, pessimistic_value_loss=True)
    model.learn(16)
    batch = next(model.rollout_buffer.get(16))
    drawn = torch.Generator().manual_seed(0)
    evaluation, _ = model._ppo_loss(batch, 0.2, None, defaultdict(list), 0)
    # Values moved by up to three times the range, in both directions, and returns on both sides of them.
    old = evaluation.value.detach() + 6 * RANGE * (torch.rand(16, generator=drawn) - 0.5)
    returns = evaluation.value.detach() + 2 * RANGE * torch.randn(16, generator=drawn)
    records = defaultdict(list)
    model._ppo_loss(batch._replace(old_values=old, returns=returns), 0.2, RANGE, records, 0)
    value, old, returns = (np.asarray(each.detach()) for each in (evaluation.value, old, returns))
    clipped = old + np.clip(value - old, -RANGE, RANGE)
    expected = np.maximum((value - returns) ** 2, (clipped - returns) ** 2)
    assert float(records["train/value_loss"][0]) == pytest.approx(expected.mean(), rel=1e-5)
    assert expected.mean() > max(((value - returns) ** 2).mean(), ((clipped - returns) ** 2).mean())


def test_a_file_keeps_the_loss_and_stock_ppo_has_none(tmp_path):
    agent(clip_range_vf=RANGE, pessimistic_value_loss=True).save(tmp_path / "model")
    assert CAMALPPO.load(tmp_path / "model", device="cpu").pessimistic_value_loss
    PPO.load(tmp_path / "model", device="cpu")
    agent().save(tmp_path / "plain")
    assert not CAMALPPO.load(tmp_path / "plain", device="cpu").pessimistic_value_loss
    PPO("CnnPolicy", CountingEnv(size=36), n_steps=8, batch_size=16, device="cpu").save(tmp_path / "stock")
    assert not CAMALPPO.load(tmp_path / "stock", device="cpu").pessimistic_value_loss


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "pessimistic_value_loss needs clip_range_vf"),
        ({"clip_range_vf": RANGE, "policy": "CnnPolicy"}, 'pessimistic_value_loss needs policy="CamPolicy", got'),
    ],
)
def test_a_loss_that_would_have_no_effect_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        agent(pessimistic_value_loss=True, **kwargs)

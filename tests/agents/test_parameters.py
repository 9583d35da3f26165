"""Parameters are what torch's and SB3's tools expect, whatever format an encoder computes in."""

import copy
import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from camal_rl.agents import CamPolicy
from camal_rl.agents.cam_encoder import ChannelsLastConv2d
from camal_rl.agents.encoders import ENCODERS

IMAGES = spaces.Box(0, 255, (3, 40, 40), np.uint8)


def policy_of(encoder, seed=0):
    torch.manual_seed(seed)
    return CamPolicy(IMAGES, spaces.Discrete(3), lambda _: 1e-3, encoder=encoder)


def update(policy, steps=3):
    images = torch.randint(0, 256, (8, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        evaluation = policy.evaluate_for_attention(images, torch.arange(8) % 3)
        policy.optimizer.zero_grad()
        (evaluation.value - evaluation.log_prob).square().mean().backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.1)
        policy.optimizer.step()
    return policy


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return request.param


def test_parameters_become_a_vector_and_come_back(encoder):
    one, other = update(policy_of(encoder)), policy_of(encoder, seed=1)
    vector = nn.utils.parameters_to_vector(one.parameters())
    assert np.array_equal(one.parameters_to_vector(), vector.detach().numpy())
    assert not same(one, other)
    other.load_from_vector(one.parameters_to_vector())
    assert same(one, other)
    third = policy_of(encoder, seed=2)
    nn.utils.vector_to_parameters(vector, third.parameters())
    assert same(one, third)
    assert all(parameter.is_contiguous() for parameter in one.parameters())


def test_weights_can_be_initialized_again(encoder):
    policy = policy_of(encoder)
    policy.apply(policy.init_weights)
    nn.utils.clip_grad_value_(update(policy).parameters(), 0.1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_copy_trains_as_the_original(encoder, copied):
    policy = policy_of(encoder)
    policy.lr_schedule = None
    update(policy, steps=1)
    policy.predict(np.zeros((1, 3, 40, 40), np.uint8))  # as with SB3's policies, an evaluation's graph is not copied
    other = copied(policy)
    assert same(policy, other)
    other.optimizer = torch.optim.Adam(other.parameters(), 1e-3, eps=1e-5)
    other.optimizer.load_state_dict(copy.deepcopy(policy.optimizer.state_dict()))
    assert same(update(policy), update(other))


def test_optimizer_state_of_weights_that_were_stored_channels_last_loads(encoder):
    policy, other = update(policy_of(encoder)), update(policy_of(encoder))
    state = copy.deepcopy(policy.optimizer.state_dict())
    for moments in state["state"].values():
        for name, moment in moments.items():
            if moment.dim() == 4:
                moments[name] = moment.contiguous(memory_format=torch.channels_last)
    other.optimizer.load_state_dict(state)
    assert same(update(policy), update(other))


def test_a_convolution_computes_and_clips_as_one_that_is_channels_last_throughout():
    torch.manual_seed(0)
    ours, other = ChannelsLastConv2d(5, 7, 3), nn.Conv2d(5, 7, 3)
    other.load_state_dict(ours.state_dict())
    other.to(memory_format=torch.channels_last)
    images = torch.randn(6, 5, 12, 12).contiguous(memory_format=torch.channels_last)
    outputs = [layer(images) for layer in (ours, other)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    assert torch.equal(ours.weight.grad, other.weight.grad)
    assert torch.equal(nn.utils.get_total_norm([ours.weight.grad]), nn.utils.get_total_norm([other.weight.grad]))


def test_frozen_convolutions_are_copied():
    layer = ChannelsLastConv2d(3, 4, 3).requires_grad_(False)
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)

"""Policies on small images, and encoders of a user's own."""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents import CamPolicy

SIZE = 16
BOX = spaces.Box(-1, 1, (2,))


def policy_of(encoder="compact", actions=None, shape=(3, SIZE, SIZE), spread=0.3, policy_class=CamPolicy, **kwargs):
    torch.manual_seed(0)
    space = spaces.Box(0, 255, shape, np.uint8)
    made = policy_class(space, actions or spaces.Discrete(5), lambda _: 1e-3, encoder=encoder, **kwargs)
    nn.init.normal_(made.action_net.weight, std=spread)  # the stock start, std 0.01, is too even to compare maps
    return made


def frames(count=3, height=SIZE, width=SIZE):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def channels_first(images):
    return torch.as_tensor(images).permute(0, 3, 1, 2)


def squashed(policy):
    """Let a Gaussian policy squash its actions by tanh, as SAC's does."""
    policy.action_dist = SquashedDiagGaussianDistribution(2)
    return policy


DISTRIBUTIONS = {
    "categorical": lambda **k: policy_of(actions=spaces.Discrete(5), **k),
    "multi_categorical": lambda **k: policy_of(actions=spaces.MultiDiscrete([3, 2]), **k),
    "bernoulli": lambda **k: policy_of(actions=spaces.MultiBinary(4), **k),
    "gaussian": lambda **k: policy_of(actions=BOX, **k),
    "squashed": lambda **k: squashed(policy_of(actions=BOX, **k)),
    "sde": lambda **k: policy_of(actions=BOX, use_sde=True, **k),
    "squashed_sde": lambda **k: policy_of(actions=BOX, use_sde=True, squash_output=True, **k),
}


def state_of(policy):
    return {
        "training": [module.training for module in policy.modules()],
        "hooks": [(len(module._forward_hooks), len(module._backward_hooks)) for module in policy.modules()],
        "grad": [parameter.grad for parameter in policy.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in policy.parameters()],
        "values": {name: tensor.tolist() for name, tensor in policy.state_dict().items()},
    }


class Convolutions(BaseFeaturesExtractor):
    """``last`` gives the map; ``tail`` says what happens to it next."""

    tail = staticmethod(torch.relu)

    def __init__(self, observation_space):
        super().__init__(observation_space, 8)
        self.first = nn.Conv2d(3, 8, 4, stride=4)
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images):
        identity = torch.relu(self.first(images))
        return self.tail(self.last(identity)).mean(dim=(2, 3)) + identity.mean(dim=(2, 3))


class InPlace(Convolutions):
    tail = staticmethod(lambda x: torch.relu_(x))


class InPlaceSum(Convolutions):
    def forward(self, images):
        identity = torch.relu(self.first(images))
        out = self.last(identity)
        out += identity
        return out.relu_().mean(dim=(2, 3))


class OutOfPlaceSum(Convolutions):
    def forward(self, images):
        identity = torch.relu(self.first(images))
        return torch.relu(self.last(identity) + identity).mean(dim=(2, 3))


class ChannelsLast(BaseFeaturesExtractor):
    """As in a Swin transformer: patches ``(B, h, w, C)``; ``first`` gives the same map channels first."""

    def __init__(self, observation_space, width=12):
        super().__init__(observation_space, 8)
        self.first = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.block = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.head = nn.Linear(width, 8)

    def forward(self, images):
        patches = self.norm(self.first(images).permute(0, 2, 3, 1))
        return torch.relu(self.head((patches + self.block(patches)).mean(dim=(1, 2))))


class Tokens(BaseFeaturesExtractor):
    """A transformer on patches of 4x4 with prefix tokens: a class token and registers."""

    def __init__(self, observation_space, prefix=9):
        super().__init__(observation_space, 8)
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 8))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.prefix.expand(len(images), -1, -1), patches], dim=1))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return torch.relu((tokens + mixed)[:, 0])

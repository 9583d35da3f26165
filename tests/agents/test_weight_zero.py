"""Weight 0 is stock PPO, bit for bit: every policy, layout and action space that PPO takes, over eight updates."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from camal_rl.agents import CAMALPPO, CamPolicy

UPDATES, ENVS, STEPS = 8, 2, 4
# 8 samples of a rollout do not divide by 3.
SETTINGS = {"n_steps": STEPS, "batch_size": 3, "n_epochs": 1, "seed": 3, "learning_rate": 1e-3, "device": "cpu"}
OFF = {"weight": 0.0}
TERMS_OFF = dict.fromkeys(("drac", "ucb_drac", "background_mix", "input_gradients"), OFF)
LAST, FIRST = (36, 36, 3), (3, 36, 36)


class RandomEnv(gym.Env):
    """Random observations of a space; episodes end in turn at a goal and at a limit of time."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions
        self.count = 0

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.count += 1
        ended = self.count % 5 == 0
        reward = float(np.sum(action)) + 0.1 * self.count % 1.7
        return self.observation_space.sample(), reward, ended and self.count % 2 == 0, ended and self.count % 2 == 1, {}


def images(shape, kind=np.uint8):
    return spaces.Box(0, 255 if kind == np.uint8 else 1, shape, kind)


def trained(algorithm, policy, observations, actions=None, **kwargs):
    actions = actions or spaces.Discrete(3)
    env = DummyVecEnv([lambda: RandomEnv(observations, actions)] * ENVS)
    return algorithm(policy, env, **{**SETTINGS, **kwargs}).learn(UPDATES * ENVS * STEPS)


def assert_same(policy, *arguments, stock_policy=None, **kwargs):
    torch.manual_seed(0)
    stock = trained(PPO, stock_policy or policy, *arguments, **kwargs)
    torch.manual_seed(0)
    ours = trained(CAMALPPO, policy, *arguments, camal=OFF, terms=TERMS_OFF, **kwargs)
    assert ours._n_updates == stock._n_updates > 0
    theirs, mine = stock.policy.state_dict(), ours.policy.state_dict()
    assert theirs.keys() == mine.keys()
    assert [name for name in theirs if not torch.equal(theirs[name], mine[name])] == []
    for key in ("train/loss", "train/approx_kl", "train/explained_variance", "train/clip_range"):
        assert ours.logger.name_to_value[key] == pytest.approx(stock.logger.name_to_value[key], rel=1e-5), key
    return ours


class OwnEncoder(BaseFeaturesExtractor):
    """An encoder that is no CamEncoder, with dropout and batch normalization."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 8)
        channels = observation_space.shape[0]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(4, 8, 3)
        )

    def forward(self, observations):
        return torch.relu(self.layers(observations)).mean(dim=(2, 3))


ACTIONS = {
    "discrete": spaces.Discrete(4),
    "box": spaces.Box(-1, 1, (2,), np.float32),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
}
OPTIONS = {
    "target_kl": {"target_kl": 0.001, "n_epochs": 3},
    "clip_range_vf": {"clip_range_vf": 0.1},
    "raw advantages": {"normalize_advantage": False, "ent_coef": 0.1},
    "batch of 1": {"batch_size": 7},
    "one batch": {"batch_size": 64},
}
POLICIES = {
    "MlpPolicy": spaces.Box(-1, 1, (3,), np.float32),
    "CnnPolicy": images(LAST),
    "MultiInputPolicy": spaces.Dict({"image": images(LAST), "vector": spaces.Box(-1, 1, (3,), np.float32)}),
    "CamPolicy": images(LAST),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("actions", ACTIONS)
def test_every_policy_and_action_space(policy, actions):
    stock_policy = CamPolicy if policy == "CamPolicy" else policy
    assert_same(policy, POLICIES[policy], ACTIONS[actions], stock_policy=stock_policy)


@pytest.mark.parametrize("policy", ["CnnPolicy", "CamPolicy"])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_the_update(policy, option):
    stock_policy = CamPolicy if policy == "CamPolicy" else policy
    assert_same(policy, POLICIES[policy], stock_policy=stock_policy, **OPTIONS[option])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("squash", [False, True])
def test_state_dependent_exploration(policy, squash):
    kwargs = {"use_sde": True, "sde_sample_freq": 3, "policy_kwargs": {"squash_output": squash}}
    stock_policy = CamPolicy if policy == "CamPolicy" else policy
    assert_same(policy, POLICIES[policy], ACTIONS["box"], stock_policy=stock_policy, **kwargs)


@pytest.mark.parametrize("shape", [LAST, FIRST, (36, 36, 1), (1, 36, 36), (40, 52, 4)])
def test_cam_policy_of_stock_layers_is_cnn_policy_in_both_layouts(shape):
    assert_same("CamPolicy", images(shape), stock_policy="CnnPolicy")


def test_cnn_policy_on_images_that_are_channels_first_already():
    assert_same("CnnPolicy", images(FIRST))


@pytest.mark.parametrize("shape", [LAST, FIRST])
@pytest.mark.parametrize("encoder", ["compact", "impala", "patch", OwnEncoder])
def test_other_encoders_in_both_layouts(shape, encoder):
    assert_same("CamPolicy", images(shape), stock_policy=CamPolicy, policy_kwargs={"encoder": encoder})


@pytest.mark.parametrize("net", [{"net_arch": [8]}, {"share_features_extractor": False}])
def test_other_networks(net):
    assert_same("CamPolicy", images(LAST), stock_policy=CamPolicy, policy_kwargs=net)
    assert_same("CnnPolicy", images(LAST), policy_kwargs=net)


@pytest.mark.parametrize(
    "observations", [spaces.Discrete(5), spaces.MultiDiscrete([3, 4]), spaces.MultiBinary(4)], ids=str
)
def test_observations_that_are_no_boxes(observations):
    assert_same("MlpPolicy", observations)


@pytest.mark.parametrize("policy", ["CnnPolicy", "CamPolicy"])
def test_float_images_that_are_normalized_already(policy):
    kwargs = {"policy_kwargs": {"normalize_images": False}}
    assert_same(policy, images(FIRST, np.float32), stock_policy="CnnPolicy", **kwargs)


def test_float_images_with_channels_last_for_an_encoder_that_moves_them():
    class Moves(OwnEncoder):
        def __init__(self, observation_space):
            super().__init__(spaces.Box(0, 1, FIRST))

        def forward(self, observations):
            return super().forward(observations.permute(0, 3, 1, 2))

    kwargs = {"policy_kwargs": {"normalize_images": False, "encoder": Moves}}
    assert_same("CamPolicy", images(LAST, np.float32), stock_policy=CamPolicy, **kwargs)


def test_a_normalized_environment():
    def run(algorithm, **kwargs):
        env = VecNormalize(DummyVecEnv([lambda: RandomEnv(POLICIES["MlpPolicy"], ACTIONS["box"])] * ENVS))
        return algorithm("MlpPolicy", env, **SETTINGS, **kwargs).learn(UPDATES * ENVS * STEPS).policy.state_dict()

    stock, ours = run(PPO), run(CAMALPPO, camal=OFF)
    assert all(torch.equal(stock[name], ours[name]) for name in stock)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_file_of_stock_ppos_loads_and_goes_on_as_stock_does(policy, tmp_path):
    trained(PPO, CamPolicy if policy == "CamPolicy" else policy, POLICIES[policy]).save(tmp_path / "model")

    def goes_on(algorithm):
        env = DummyVecEnv([lambda: RandomEnv(POLICIES[policy], spaces.Discrete(3))] * ENVS)
        env.seed(5)
        model = algorithm.load(tmp_path / "model", env=env, device="cpu")
        model.set_random_seed(7)
        return model.learn(UPDATES * ENVS * STEPS)

    stock, ours = goes_on(PPO), goes_on(CAMALPPO)
    assert ours.camal.weight == 0
    theirs, mine = stock.policy.state_dict(), ours.policy.state_dict()
    assert all(torch.equal(theirs[name], mine[name]) for name in theirs)
    kind = type(ours.rollout_buffer)
    assert (kind in (RolloutBuffer, DictRolloutBuffer)) == (policy != "CamPolicy")
    ours.save(tmp_path / "ours")
    assert type(PPO.load(tmp_path / "ours", device="cpu").policy) is type(ours.policy)


def test_a_rollout_buffer_of_ones_own_is_taken_at_weight_zero():
    class OwnBuffer(RolloutBuffer):
        pass

    model = trained(CAMALPPO, "CamPolicy", images(LAST), camal=OFF, rollout_buffer_class=OwnBuffer)
    assert type(model.rollout_buffer) is OwnBuffer
    stock = trained(PPO, CamPolicy, images(LAST))
    theirs, mine = stock.policy.state_dict(), model.policy.state_dict()
    assert all(torch.equal(theirs[name], mine[name]) for name in theirs)

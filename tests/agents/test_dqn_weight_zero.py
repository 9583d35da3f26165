"""Weight 0 is stock DQN, bit for bit: every policy, layout and option of the replay buffer, over many updates."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, VecTransposeImage

from camal_rl.agents import CAMALDQN, CamalReplayBuffer, CamQPolicy
from tests.agents.test_weight_zero import FIRST, LAST, OwnEncoder, RandomEnv, images

STEPS = 36
SETTINGS = {
    "buffer_size": 24,
    "learning_starts": 6,
    "batch_size": 5,
    "train_freq": 2,
    "gradient_steps": 2,
    "target_update_interval": 12,
    "exploration_fraction": 0.8,
    "learning_rate": 1e-3,
    "seed": 3,
    "device": "cpu",
}
OFF = {"weight": 0.0}
MEMORY = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}


def trained(algorithm, policy, observations, envs=2, wrap=lambda env: env, **kwargs):
    env = wrap(DummyVecEnv([lambda: RandomEnv(observations, spaces.Discrete(3))] * envs))
    return algorithm(policy, env, **{**SETTINGS, **kwargs}).learn(STEPS)


def assert_same(policy, observations, stock_policy=None, **kwargs):
    torch.manual_seed(0)
    stock = trained(DQN, stock_policy or policy, observations, **kwargs)
    torch.manual_seed(0)
    ours = trained(CAMALDQN, policy, observations, camal=OFF, **kwargs)
    assert ours._n_updates == stock._n_updates > 0
    assert_equal_states(stock, ours)
    return ours


def assert_equal_states(stock, ours):
    theirs, mine = stock.policy.state_dict(), ours.policy.state_dict()
    assert theirs.keys() == mine.keys()
    assert [name for name in theirs if not torch.equal(theirs[name], mine[name])] == []
    assert ours.exploration_rate == stock.exploration_rate
    assert ours.logger.name_to_value["train/loss"] == stock.logger.name_to_value["train/loss"]


POLICIES = {
    "MlpPolicy": spaces.Box(-1, 1, (3,), np.float32),
    "CnnPolicy": images(LAST),
    "MultiInputPolicy": spaces.Dict({"image": images(LAST), "vector": spaces.Box(-1, 1, (3,), np.float32)}),
    "CamQPolicy": images(LAST),
}
OPTIONS = {
    "one environment": {"envs": 1},
    "three environments": {"envs": 3},
    "memory": MEMORY,
    "several steps": {"n_steps": 3},
    "time limits ignored": {"replay_buffer_kwargs": {"handle_timeout_termination": False}},
    "soft updates": {"tau": 0.3},
    "as many gradient steps as steps": {"gradient_steps": -1},
    "whole episodes": {"envs": 1, "train_freq": (1, "episode")},
    "a small norm": {"max_grad_norm": 0.01},
}


def own(policy):
    return CamQPolicy if policy == "CamQPolicy" else policy


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy(policy):
    assert_same(policy, POLICIES[policy], own(policy))


@pytest.mark.parametrize("policy", ["CnnPolicy", "CamQPolicy"])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option(policy, option):
    assert_same(policy, images(LAST), own(policy), **OPTIONS[option])


@pytest.mark.parametrize("shape", [LAST, FIRST, (36, 36, 1), (40, 52, 4)])
def test_cam_policy_of_stock_layers_is_cnn_policy_in_both_layouts(shape):
    assert_same("CamQPolicy", images(shape), "CnnPolicy")


@pytest.mark.parametrize("encoder", ["compact", "impala", "patch", OwnEncoder])
def test_other_encoders(encoder):
    assert_same("CamQPolicy", images(LAST), CamQPolicy, policy_kwargs={"encoder": encoder})


def test_other_networks():
    assert_same("CamQPolicy", images(LAST), CamQPolicy, policy_kwargs={"net_arch": [8]})


def test_float_images_that_are_normalized_already():
    kwargs = {"policy_kwargs": {"normalize_images": False}}
    assert_same("CamQPolicy", images(FIRST, np.float32), "CnnPolicy", **kwargs)


def test_normalized_rewards():
    def wrap(env):
        return VecNormalize(VecTransposeImage(env), norm_obs=False)

    assert_same("CamQPolicy", images(LAST), "CnnPolicy", wrap=wrap)
    with pytest.raises(ValueError, match=r"wrap the environment as VecNormalize\(VecTransposeImage\(env\)"):
        trained(CAMALDQN, "CamQPolicy", images(LAST), wrap=lambda env: VecNormalize(env, norm_obs=False), camal=OFF)


def test_a_schedule_that_is_zero_so_far_is_stock_too():
    torch.manual_seed(0)
    stock = trained(DQN, CamQPolicy, images(LAST))
    torch.manual_seed(0)

    class Waits(CAMALDQN):
        def _setup_model(self):
            super()._setup_model()
            self.camal_term.weight_at = lambda progress: 0.0

    assert_equal_states(stock, trained(Waits, "CamQPolicy", images(LAST), camal=OFF))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_file_of_stock_dqns_loads_and_goes_on_as_stock_does(policy, tmp_path):
    trained(DQN, own(policy), POLICIES[policy]).save(tmp_path / "model")

    def goes_on(algorithm):
        env = DummyVecEnv([lambda: RandomEnv(POLICIES[policy], spaces.Discrete(3))] * 2)
        env.seed(5)
        model = algorithm.load(tmp_path / "model", env=env, device="cpu")
        model.set_random_seed(7)
        return model.learn(STEPS)

    stock, ours = goes_on(DQN), goes_on(CAMALDQN)
    assert ours.camal.weight == 0
    assert_equal_states(stock, ours)
    assert (type(ours.replay_buffer) is CamalReplayBuffer) == (policy == "CamQPolicy")
    ours.save(tmp_path / "ours")
    assert type(DQN.load(tmp_path / "ours", device="cpu").policy) is type(ours.policy)


def test_a_replay_buffer_of_ones_own_is_taken_at_weight_zero():
    class OwnBuffer(ReplayBuffer):
        pass

    ours = assert_same("CamQPolicy", images(LAST), CamQPolicy, replay_buffer_class=OwnBuffer)
    assert type(ours.replay_buffer) is OwnBuffer
    with pytest.raises(ValueError, match="replay_buffer_class must be a CamalReplayBuffer, got OwnBuffer"):
        trained(CAMALDQN, "CamQPolicy", images(LAST), camal={"weight": 0.1}, replay_buffer_class=OwnBuffer)

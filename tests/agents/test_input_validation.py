"""What CAMALPPO and CamPolicy are given: settings as mappings, and what bad input is told."""

from contextlib import nullcontext

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import VecNormalize

from camal_rl.agents import CAMALPPO, CamalConfig, CamalRolloutBuffer, CamPolicy

from .fakes import CountingEnv

SETTINGS = {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"encoder": "compact"}}


class OwnBuffer(RolloutBuffer):
    """Somebody's own rollout buffer."""


class Floats(CountingEnv):
    """Channels-first images in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 1, (3, self.size, self.size))

    def _frames(self):
        return np.moveaxis(super()._frames(), -1, 1).astype(np.float32) / 255


def test_settings_come_as_a_mapping_as_in_yaml_files(tmp_path):
    camal = {"weight": 0.3, "targets": ["policy"], "method": "hirescam"}
    model = CAMALPPO("CamPolicy", CountingEnv(), camal=camal, **SETTINGS).learn(16)
    assert model.camal == CamalConfig(weight=0.3, targets=("policy",), method="hirescam")
    model.save(tmp_path / "model")
    assert CAMALPPO.load(tmp_path / "model").camal == model.camal
    assert CAMALPPO.load(tmp_path / "model", camal={"weight": 0}).camal == CamalConfig(weight=0)


def test_a_file_of_stock_ppos_goes_on_with_the_term_that_load_asks_for(tmp_path):
    PPO(CamPolicy, CountingEnv(), **SETTINGS).save(tmp_path / "model")
    model = CAMALPPO.load(tmp_path / "model", env=CountingEnv(), camal={"weight": 0.2}).learn(16)
    assert np.isfinite(model.logger.name_to_value["camal/loss"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"camal": 0.1}, TypeError, r"camal must be a CamalConfig or a mapping .* \{'weight': 0.1\}, got 0.1"),
        ({"camal": {"wieght": 0.1}}, ValueError, "unknown setting 'wieght' in camal; did you mean 'weight'"),
        ({"policy_kwargs": {"features_extractor_class": dict}}, ValueError, r'\{"encoder": MyEncoder\} in place of'),
        ({"rollout_buffer_class": OwnBuffer}, ValueError, "must be a CamalRolloutBuffer, got OwnBuffer"),
        ({"rollout_buffer_class": RolloutBuffer}, None, ""),
        ({"rollout_buffer_class": DictRolloutBuffer}, None, ""),
    ],
)
def test_arguments_of_an_agent(arguments, error, message):
    with nullcontext() if error is None else pytest.raises(error, match=message):
        model = CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, **arguments})
        assert type(model.rollout_buffer) is CamalRolloutBuffer


def test_a_buffer_of_images_is_refused_for_policies_that_have_no_maps():
    with pytest.raises(ValueError, match="CamalRolloutBuffer requires a CamPolicy, got policy ActorCriticPolicy"):
        CAMALPPO("MlpPolicy", "CartPole-v1", camal={"weight": 0}, rollout_buffer_class=CamalRolloutBuffer)


def test_a_plain_gymnasium_environment_is_told_of_make_segmented_vec():
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=3, discrete=True)
    with pytest.raises(ValueError, match=r"of your own with make_segmented_vec\(MyEnv, num_envs\)"):
        CAMALPPO("CamPolicy", env, **SETTINGS)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_normalized_observations_are_told_of_norm_obs(weight):
    with pytest.raises(ValueError, match=r"VecNormalize\(env, norm_obs=False\), which still normalizes rewards"):
        CAMALPPO("CamPolicy", VecNormalize(CountingEnv()), camal={"weight": weight}, **SETTINGS)


@pytest.mark.parametrize(
    ("space", "kwargs", "message"),
    [
        (spaces.Box(0, 1, (40, 40, 3)), {"normalize_images": False}, r"must be channels-first \(C, H, W\), got shape"),
        (spaces.Box(0, 1, (3, 40, 40)), {}, r'say so with policy_kwargs=\{"normalize_images": False\}'),
        (spaces.Box(0, 255, (40, 40), np.uint8), {}, "needs images, uint8 in"),
        (spaces.Box(0, 1, (3, 40, 40), np.uint8), {}, "needs images, uint8 in"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {}, "needs images, uint8 in"),
    ],
)
@pytest.mark.parametrize("encoder", ["nature", "compact"])
def test_observations_that_are_no_images_are_refused_with_the_reason(space, kwargs, message, encoder):
    with pytest.raises(ValueError, match=message):
        CamPolicy(space, spaces.Discrete(2), lambda _: 1e-3, encoder=encoder, **kwargs)


def test_float_images_train_with_masks():
    kwargs = {"policy_kwargs": {"encoder": "compact", "normalize_images": False}}
    model = CAMALPPO("CamPolicy", Floats(), camal={"weight": 0.5}, **{**SETTINGS, **kwargs}).learn(16)
    assert np.isfinite(model.logger.name_to_value["camal/loss"])

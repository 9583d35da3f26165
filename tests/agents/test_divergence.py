"""Numbers that are not finite end training with the step, the term and the setting, and can be reproduced."""

import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces

from camal_rl.agents import CAMALPPO
from camal_rl.agents.divergence import replay
from camal_rl.failures import DivergedError, RunFailure

from .fakes import CountingEnv
from .test_input_validation import Floats

SETTINGS = {
    "n_steps": 8,
    "batch_size": 8,
    "n_epochs": 2,
    "device": "cpu",
    "policy_kwargs": {"encoder": "compact"},
    "seed": 0,
}


def train(env=None, policy="CamPolicy", **given):
    model = CAMALPPO(policy, env or CountingEnv(), **{**SETTINGS, **given})
    with pytest.raises(DivergedError) as caught:
        model.learn(128)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    assert all(bool(each.isfinite().all()) for each in model.policy.state_dict().values())
    return model, caught.value


class Rewards(CountingEnv):
    """The fifth reward is another one."""

    def __init__(self, reward):
        super().__init__()
        self.reward = reward

    def step_wait(self):
        obs, rewards, dones, infos = super().step_wait()
        rewards = rewards.astype(np.float64)
        if self.count == 5:
            rewards[1] = self.reward
        return obs, rewards, dones, infos


class NoNumbers(Floats):
    """The fifth observation holds NaN."""

    def _frames(self):
        frames = super()._frames()
        if self.count == 5:
            frames[1, 0, 0, 0] = np.nan
        return frames


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"learning_rate": 1e8}, "learning_rate=1e+08"),
        ({"learning_rate": lambda _: 1e8}, "learning_rate=1e+08"),
        ({"learning_rate": 1e7, "camal": {"weight": 1e9}}, "learning_rate|camal.weight"),
        ({"learning_rate": 1e8, "camal": {"weight": 0}, "terms": ["drac"]}, "learning_rate"),
    ],
)
def test_settings_that_diverge_are_named_and_the_step_is_reproduced(given, name, tmp_path):
    _, error = train(**given)
    assert error.step % 16 == 0
    assert error.step > 0
    assert any(each in error.advice for each in name.split("|"))
    error.save(tmp_path / "diverged.pt")
    assert str(tmp_path / "diverged.pt") in str(error)
    found = torch.load(tmp_path / "diverged.pt", weights_only=True)
    assert found["step"] == error.step
    assert found["term"] == error.term
    assert found["minibatch"]["observations"].shape[0] == 8
    again = CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, **given})
    assert not all(np.isfinite(value) for value in replay(again, tmp_path / "diverged.pt").values())


def test_a_policy_that_gives_no_distribution_has_diverged_at_the_step_before():
    model = CAMALPPO("CamPolicy", CountingEnv(), **SETTINGS)
    with torch.no_grad():
        model.policy.action_net.weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="the policy's output is not finite"):
        model.learn(16)


@pytest.mark.parametrize("policy", ["CnnPolicy", "CamPolicy"])
@pytest.mark.parametrize("reward", [np.nan, np.inf, 1e300])
def test_a_reward_that_float32_cannot_hold_ends_training(policy, reward):
    kwargs = {"encoder": "compact"} if policy == "CamPolicy" else {"features_extractor_kwargs": {"features_dim": 8}}
    env = Rewards(reward)
    env.size = 40
    env.observation_space = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    _, error = train(env, policy, camal={"weight": 0}, policy_kwargs=kwargs)
    assert "reward" in str(error)
    assert error.step == (10 if policy == "CamPolicy" else 16)


def test_an_observation_that_is_not_finite_ends_training_at_its_step():
    kwargs = {"policy_kwargs": {"encoder": "compact", "normalize_images": False}}
    _, error = train(NoNumbers(), **kwargs)
    assert (error.what, error.term, error.step) == ("the observation", "of environment 1", 10)


class Cut(CountingEnv):
    """At one step the images are floats in [0, 1], or the dones None."""

    def step_wait(self):
        obs, rewards, dones, infos = super().step_wait()
        if self.count == self.bad_at:
            return (obs / 255, rewards, dones, infos) if self.floats else (obs, rewards, np.array([None] * 2), infos)
        return obs, rewards, dones, infos


@pytest.mark.parametrize(
    ("bad_at", "floats", "message"),
    [(5, True, "observations of float64, but the observation space has uint8"), (5, False, "dones that are not num")],
)
def test_what_would_be_cast_in_silence_is_refused_at_its_step(bad_at, floats, message):
    env = Cut()
    env.bad_at, env.floats = bad_at, floats
    model = CAMALPPO("CamPolicy", env, **SETTINGS)
    with pytest.raises(RunFailure, match=message):
        model.learn(128)
    assert model.num_timesteps == 2 * bad_at


def test_the_update_of_stock_policies_is_covered_and_its_parameters_come_back():
    model = CAMALPPO(
        "MlpPolicy",
        "CartPole-v1",
        camal={"weight": 0},
        n_steps=16,
        batch_size=16,
        learning_rate=1e9,
        policy_kwargs={"activation_fn": torch.nn.ReLU},
        device="cpu",
        seed=0,
    )
    with pytest.raises(DivergedError, match="learning_rate=1e\\+09 is the most likely cause"):
        model.learn(512)
    assert all(bool(each.isfinite().all()) for each in model.policy.parameters())


def test_a_minibatch_whose_gradient_is_not_finite_changes_nothing(monkeypatch):
    model = CAMALPPO("CamPolicy", CountingEnv(), camal={"weight": 0}, **SETTINGS)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.policy.value_net.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(DivergedError, match="the gradient is not finite") as caught:
        model.learn(16)
    assert all(torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    assert caught.value.evidence["minibatch"]["returns"].shape == (8,)


def test_the_error_reaches_the_parent_of_a_worker():
    error = DivergedError(3, "the loss", "value_loss", "lower it", evidence={"policy": torch.zeros(2)})
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.step == 3


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 1e300, -1.0, np.float32("inf"), pytest.param(10**400, id="huge")]
)
@pytest.mark.parametrize(
    "name",
    [
        "learning_rate",
        "clip_range",
        "clip_range_vf",
        "ent_coef",
        "vf_coef",
        "max_grad_norm",
        "gamma",
        "gae_lambda",
        "target_kl",
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(name, value):
    with pytest.raises((ValueError, OverflowError), match=f"{name} must be a finite number in") as caught:
        CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, np.inf, True])
def test_a_number_of_epochs_that_cannot_work_is_refused(value):
    with pytest.raises((ValueError, TypeError), match="n_epochs must be"):
        CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, "n_epochs": value})


@pytest.mark.parametrize("name", ["learning_rate", "clip_range"])
def test_schedules_that_cannot_work_are_refused_before_training(name):
    with pytest.raises(ValueError, match=f"{name} must be a finite number in"):
        CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, name: lambda remaining: 1e300 * remaining})


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e300, -1, pytest.param(10**400, id="huge")])
@pytest.mark.parametrize("term", ["camal", "drac"])
def test_weights_that_cannot_work_are_refused_before_training(term, weight):
    given = {"camal": {"weight": weight}} if term == "camal" else {"terms": {"drac": {"weight": weight}}}
    with pytest.raises(ValueError, match=f"{term}.weight must be"):
        CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, **given})


@pytest.mark.parametrize("eps", [0.0, 1e-300])
def test_an_epsilon_that_is_0_in_float32_is_refused(eps):
    given = {**SETTINGS, "policy_kwargs": {"encoder": "compact", "optimizer_kwargs": {"eps": eps}}}
    with pytest.raises(ValueError, match=r"eps of the optimizer must be a finite number in \[1e-30"):
        CAMALPPO("CamPolicy", CountingEnv(), **given)


def test_a_rollout_beyond_the_memory_is_refused_before_training():
    with pytest.raises(ValueError, match=r"a rollout of 1,000,000,000,000 steps .* GiB; lower n_steps"):
        CAMALPPO("CamPolicy", CountingEnv(), **{**SETTINGS, "n_steps": 10**12})


def test_training_with_finite_numbers_is_left_alone():
    CAMALPPO("CamPolicy", CountingEnv(), **SETTINGS).learn(64)
    assert isinstance(
        CAMALPPO(
            "MlpPolicy",
            "CartPole-v1",
            camal={"weight": 0},
            n_steps=32,
            batch_size=32,
            device="cpu",
        ).learn(32),
        CAMALPPO,
    )

"""RRR at the input: the gradients, which of them count, and what the term needs."""

import math
from functools import partial

import gymnasium as gym
import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.agents.input_gradients import (
    InputGradientsConfig,
    InputGradientsTerm,
    input_gradients,
    pixel_energy,
)
from camal_rl.agents.relevant_pixels import unpacked
from camal_rl.agents.sample_evaluation import evaluate_samples

from .fakes import CountingEnv, trained_with, unsegmented_env

RELEVANT_PIXELS = "input_gradients_relevant"
trained = partial(trained_with, "input_gradients")


@pytest.fixture(scope="module")
def agent():
    """Return a trained agent and all 16 samples of its rollout, with random images."""
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, samples.observations.shape, dtype=torch.uint8, generator=generator)
    return model, samples._replace(observations=pixels)


def loss(agent, samples=None, **settings):
    model, given = agent
    samples = given if samples is None else samples
    term = InputGradientsTerm(InputGradientsConfig(**settings))
    term.setup(model.policy, None)
    return term.loss(samples, evaluate_samples(model.policy, samples, 0), 0.0)


def scores(policy, samples, images):
    evaluation = evaluate_samples(policy, samples._replace(observations=images), 0)
    return {"value": evaluation.value, "policy": evaluation.log_prob}


def test_gradients_are_those_of_value_and_log_probability_by_images_from_0_to_1(agent):
    model, samples = agent
    samples = samples.first(3)
    found = input_gradients(model.policy, samples)
    assert {*found} == {"value", "policy"}
    images = samples.observations.float()
    for name, gradient in found.items():
        length = gradient.detach().flatten(1).norm(dim=1)
        step = 2 * gradient.detach() / length.view(-1, 1, 1, 1)  # of length 2 / 255 in the range from 0 to 1
        with torch.no_grad():
            above, below = (scores(model.policy, samples, images + sign * step)[name] for sign in (0.5, -0.5))
        assert ((above - below) / (2 / 255)).tolist() == pytest.approx(length.tolist(), rel=0.05)


def test_only_irrelevant_pixels_count(agent):
    model, samples = agent
    relevant = unpacked(samples.columns[RELEVANT_PIXELS], (16, 16))
    assert relevant.sum(dim=(1, 2)).tolist() == [1] * 16
    for name, gradient in input_gradients(model.policy, samples).items():
        energy = gradient.detach().square().sum(dim=1)
        outside, whole = energy.clone(), energy.sum(dim=(1, 2))
        outside[relevant] = 0
        outside = outside.sum(dim=(1, 2))
        square, share = (loss(agent, penalty=penalty, fraction=1).parts[name] for penalty in ("square", "share"))
        assert square.item() == pytest.approx(outside.mean().item(), rel=1e-4)
        assert share.item() == pytest.approx((outside / whole).mean().item(), rel=1e-4)
        assert 0 < share.item() < 1


@pytest.mark.parametrize("penalty", ["square", "share"])
def test_where_everything_matters_nothing_counts(agent, penalty):
    _, samples = agent
    columns = {RELEVANT_PIXELS: torch.full_like(samples.columns[RELEVANT_PIXELS], 255)}
    assert loss(agent, samples._replace(columns=columns), penalty=penalty).total.item() == 0


def test_a_score_without_gradient_has_no_share(agent):
    model, _ = agent
    state = {name: value.clone() for name, value in model.policy.state_dict().items()}
    try:
        with torch.no_grad():
            for each in model.policy.parameters():
                each.zero_()
        assert loss(agent, penalty="share").total.item() == 0
    finally:
        model.policy.load_state_dict(state)


def test_the_first_frames_stand_for_the_minibatch(agent):
    _, samples = agent
    assert torch.equal(loss(agent, fraction=0.25).total, loss(agent, samples.first(4), fraction=1).total)
    assert torch.equal(loss(agent, fraction=0.01).total, loss(agent, samples.first(1), fraction=1).total)


@pytest.mark.parametrize("penalty", ["square", "share"])
def test_following_its_gradient_lowers_it(penalty):
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    agent = (model, samples)
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=3e-3)
    first = loss(agent, penalty=penalty, fraction=1).total
    total = first
    for _ in range(60):
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        total = loss(agent, penalty=penalty, fraction=1).total
    assert total.item() < 0.8 * first.item()


def test_both_axis_orders_have_the_same_energy():
    gradient = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = gradient.square().sum(dim=1)
    assert torch.equal(pixel_energy(gradient, (5, 7)), expected)
    assert torch.allclose(pixel_energy(gradient.movedim(1, -1), (5, 7)), expected)


@pytest.mark.parametrize(
    "policy",
    [
        {"encoder": "impala"},
        {"encoder": "compact"},
        {"encoder": "compact", "share_features_extractor": False},
        {"encoder": "patch"},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_encoders_train_in_every_precision(policy, precision):
    log = trained(policy_kwargs={**policy, "precision": precision}).logger.name_to_value
    assert 0 < log["input_gradients/loss"] < math.inf


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))], ids=str
)
def test_every_action_space_trains(space):
    class Actions(CountingEnv):
        def __init__(self):
            super().__init__()
            self.action_space = space

    assert 0 < trained(env=Actions()).logger.name_to_value["input_gradients/policy"] < math.inf


def test_it_trains_beside_other_terms_with_masks_and_is_saved(tmp_path):
    terms = {"input_gradients": {"penalty": "square"}, "background_mix": {}}
    model = trained(camal={"weight": 0.1}, terms=terms)
    log = model.logger.name_to_value
    assert log["camal/loss"] > 0 < log["input_gradients/loss"]
    assert log["background_mix/loss"] > 0
    model.save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", device="cpu")
    assert loaded.terms["input_gradients"] == {"weight": 0.1, "penalty": "square", "fraction": 0.25}


def test_weight_zero_is_stock_ppo_bit_for_bit():
    ours = trained(terms={"input_gradients": {"weight": 0}}, steps=32).policy.state_dict()
    stock = trained(algorithm=PPO, policy=CamPolicy, steps=32).policy.state_dict()
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    assert trained(terms={"input_gradients": {"weight": 0}}, env=unsegmented_env())


def test_it_needs_masks():
    with pytest.raises(ValueError, match="input_gradients needs an environment with segmentation"):
        trained(env=unsegmented_env())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1}, "input_gradients.weight must be"),
        ({"fraction": 0}, r"input_gradients.fraction must be in \(0, 1\]"),
        ({"penalty": "abs"}, "input_gradients.penalty must be one of square, share"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        InputGradientsConfig(**settings)

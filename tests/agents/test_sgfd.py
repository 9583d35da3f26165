"""SGFD: weights that decorrelate, which features change, the weighted PPO loss, and what the term leaves alone."""

import math
from collections import defaultdict

import gymnasium as gym
import pytest
import torch
from torch import nn

from camal_rl.agents import CAMALPPO
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.sgfd import (
    SGFDConfig,
    centered_gram,
    classified,
    decorrelating_weights,
    most_salient,
    ppo_losses,
    random_fourier_functions,
    weighted_correlation,
)
from camal_rl.rl.methods import parse_method

from .fakes import CountingEnv, unsegmented_env

SETTINGS = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(env=None, steps=16, algorithm=CAMALPPO, policy="CamPolicy", **kwargs):
    if algorithm is CAMALPPO:
        kwargs = {"camal": {"weight": 0}, "terms": ["sgfd"], **kwargs}
    return algorithm(policy, env or CountingEnv(), **{**SETTINGS, **kwargs}).learn(steps)


def term_of(model):
    return next(term for term in model.auxiliary_terms if term.name == "sgfd")


@pytest.fixture(scope="module")
def agent():
    """Return a trained agent, its term and one minibatch of random frames."""
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    pixels = torch.randint(0, 256, (16, 3, 16, 16), generator=generator()).byte()
    return model, term_of(model), samples._replace(observations=pixels)


def correlation(shares, one, other):
    return weighted_correlation(torch.tensor(shares), *(centered_gram(torch.tensor(each)) for each in (one, other)))


def test_the_correlation_is_that_worked_out_by_hand():
    u, v = [[0.0], [1.0], [2.0]], [[0.0], [0.0], [3.0]]
    # Means 1 and 1; E[uv] = 2; covariance 1.
    assert correlation([1 / 3] * 3, u, v).item() == pytest.approx(1)
    # With (1/2, 1/4, 1/4): E[uv] = 1.5, means 3/4 and 3/4, covariance 15/16.
    assert correlation([0.5, 0.25, 0.25], u, v).item() == pytest.approx((15 / 16) ** 2)
    # Without the third sample v is constant.
    assert correlation([0.5, 0.5, 0.0], u, v).item() == pytest.approx(0, abs=1e-6)


def test_the_correlation_is_the_mean_over_pairs_of_squared_covariances():
    u, v = torch.randn(6, 3, 2, generator=generator()), torch.randn(6, 4, 2, generator=generator(1))
    shares = torch.softmax(torch.randn(6, generator=generator(2)), 0)
    one, other = u.flatten(1), v.flatten(1)
    covariance = (shares[:, None] * one).T @ other - torch.outer(shares @ one, shares @ other)
    found = weighted_correlation(shares, centered_gram(u), centered_gram(v))
    assert found.item() == pytest.approx(covariance.square().mean().item(), rel=1e-4)


def test_one_step_of_the_weights_is_that_worked_out_by_hand():
    # u = v = (1, -1, 0): c(p) = (p1 + p2 - (p1 - p2)^2)^2. At p = 1/3: c = (2/3)^2 and dc/dp = (4/3, 4/3, 0); so
    # d(c/c(1))/dp = (3, 3, 0), of weighted mean 2, and d/dl = p (d/dp - 2) = (1/3, 1/3, -2/3). A step of .1 * 3 times
    # it gives l = (-.1, -.1, .2), and w1 / w3 = exp(-.3). The variance has no gradient at equal weights.
    u = torch.tensor([[1.0], [-1.0], [0.0]])
    weights, left = decorrelating_weights(u, u, steps=1, learning_rate=0.1, evenness=5.0)
    assert (weights[0] / weights[2]).item() == pytest.approx(math.exp(-0.3), rel=1e-5)
    assert weights[0].item() == pytest.approx(weights[1].item())
    assert weights.mean().item() == pytest.approx(1)
    assert left.item() == pytest.approx((1 - weights[2].item() / 3) ** 2 / (2 / 3) ** 2, rel=1e-5)


def test_weights_are_positive_have_mean_one_and_decorrelate():
    hidden = torch.randn(64, 1, generator=generator())
    changed, unchanged = (hidden + 0.5 * torch.randn(64, 4, generator=generator(seed)) for seed in (1, 2))
    weights, left = decorrelating_weights(changed, unchanged, 20, 0.1, 0.1)
    assert weights.min() > 0
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    assert left < 0.9
    even, _ = decorrelating_weights(changed, unchanged, 20, 0.1, 10.0)
    assert even.var() < weights.var()
    assert not weights.requires_grad


@pytest.mark.parametrize("batch", [1, 5])
def test_features_that_are_constant_leave_every_weight_at_one(batch):
    functions = random_fourier_functions(torch.ones(batch, 4), 3, generator())
    weights, left = decorrelating_weights(functions[:, :2], functions[:, 2:], 20, 0.1, 0.1)
    assert torch.allclose(weights, torch.ones(batch))
    assert left == 0


def test_fourier_functions_are_cosines_of_standardized_features():
    features = torch.tensor([[1.0], [3.0]])  # standardized -1 and 1
    found = random_fourier_functions(features, 2, generator(4))
    again = generator(4)
    omega, phi = torch.randn((1, 2), generator=again), 2 * math.pi * torch.rand((1, 2), generator=again)
    expected = [[math.sqrt(2) * math.cos(x * w + p) for w, p in zip(omega[0], phi[0], strict=True)] for x in (-1, 1)]
    assert found.shape == (2, 1, 2)
    torch.testing.assert_close(found[:, 0], torch.tensor(expected))


def test_the_features_that_change_are_those_that_the_classifier_rests_on():
    classifier = nn.Linear(3, 1)
    classifier.weight.data, classifier.bias.data = torch.tensor([[1.0, -2.0, 0.0]]), torch.zeros(1)
    same, other = torch.tensor([[1.0, 0.0, 5.0]]), torch.tensor([[0.0, -0.5, 5.0]])
    # Both logits are 1: -ln sigmoid(-1) and -ln sigmoid(1), their mean.
    error, saliency = classified(classifier, same, other)
    assert error.item() == pytest.approx((math.log(1 + math.e) + math.log(1 + 1 / math.e)) / 2)
    assert saliency.tolist() == [1, 2, 0]
    assert most_salient(saliency, 0.3).tolist() == [False, True, False]
    assert most_salient(saliency, 0.01).tolist() == [False, True, False]
    assert most_salient(saliency, 0.99).tolist() == [True, True, False]


def test_ppos_losses_of_samples_are_those_worked_out_by_hand():
    class Evaluation:
        log_prob = torch.tensor([1.5, 0.5, 1.0]).log()
        value = torch.tensor([1.0, 2.0, 0.0])

    ones, advantages = torch.ones(3), torch.tensor([2.0, -1.0, 1.0])
    minibatch = CamalRolloutSamples(ones, ones, ones, 0 * ones, advantages, torch.tensor([3.0, 2.0, 1.0]))
    # -min(2 * 1.5, 2 * 1.2), -min(-1 * .5, -1 * .8), -1; squared errors 4, 0, 1.
    assert ppo_losses(minibatch, Evaluation, 0.2, 0.5, False).tolist() == pytest.approx([-2.4 + 2, 0.8, -1 + 0.5])


@pytest.mark.parametrize("settings", [{}, {"clip_range": 0.05, "vf_coef": 0.8, "normalize_advantage": False}])
def test_equal_weights_of_samples_are_ppos_own_loss(settings):
    model = trained(**settings)
    (samples,) = model.rollout_buffer.get(16)
    evaluation, loss = model._ppo_loss(samples, settings.get("clip_range", 0.2), None, defaultdict(list), 0)
    ours = SGFDConfig(**settings)
    losses = ppo_losses(samples, evaluation, ours.clip_range, ours.vf_coef, ours.normalize_advantage)
    assert losses.mean().item() == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)  # ent_coef is 0


def test_the_loss_is_what_weighting_adds_and_the_classifiers_error(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    found = term.loss(samples, evaluation, 0.5)
    assert found.total.item() == pytest.approx(found.parts["added"].item() + found.parts["classifier"].item(), rel=1e-5)
    assert found.parts["max_weight"] > 1
    assert 0 <= found.parts["correlation_left"] < 1


def test_the_classifier_learns_and_neither_encoder_nor_heads_learn_from_it(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    parts = term.loss(samples, evaluation, 0.5).parts
    policy, classifier = list(model.policy.parameters()), list(term.module.parameters())
    learned = torch.autograd.grad(parts["classifier"], [*policy, *classifier], retain_graph=True, allow_unused=True)
    assert learned[: len(policy)] == (None,) * len(policy)
    assert all(float(each.abs().max()) > 0 for each in learned[len(policy) :])
    unused = torch.autograd.grad(parts["added"], classifier, retain_graph=True, allow_unused=True)
    assert unused == (None,) * len(classifier)
    assert all(float(each.abs().max()) > 0 for each in torch.autograd.grad(parts["added"], policy))


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))], ids=str
)
def test_every_action_space_trains(space):
    env = CountingEnv()
    env.action_space = space
    assert math.isfinite(trained(env=env).logger.name_to_value["sgfd/loss"])


def test_training_needs_no_masks_and_adds_to_camal():
    assert trained(env=unsegmented_env()).logger.name_to_value["sgfd/classifier"] > 0
    log = trained(camal={"weight": 0.1}).logger.name_to_value
    assert log["camal/loss"] > 0 < log["sgfd/classifier"]


def test_a_comparison_knows_the_method():
    assert parse_method("sgfd").terms == ("sgfd",)
    assert parse_method("camal+sgqn+sgfd").terms == ("sgqn", "sgfd")


def test_observations_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match="SGFD changes the colors of images, but the observations are Box"):
        trained(env=gym.make("CartPole-v1"), policy="MlpPolicy", policy_kwargs=None)


def test_an_encoder_of_one_feature_is_refused():
    kwargs = {"encoder": "compact", "features_extractor_kwargs": {"features_dim": 1}}
    with pytest.raises(ValueError, match=r"SGFD needs an encoder with at least 2 features.*got 1"):
        trained(policy_kwargs=kwargs)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": 2}, ValueError, r"sgfd.weight must be in \[0, 1\], got 2"),
        ({"weight": "1"}, TypeError, "sgfd.weight must be a number, got '1'"),
        ({"clip_range": 0}, ValueError, "sgfd.clip_range must be above 0, got 0"),
        ({"vf_coef": math.nan}, ValueError, r"sgfd.vf_coef must be in \[0, .*\], got nan"),
        ({"normalize_advantage": 1}, TypeError, "sgfd.normalize_advantage must be true or false, got 1"),
        ({"changed_fraction": 1}, ValueError, r"sgfd.changed_fraction must be in \(0, 1\), got 1"),
        ({"num_functions": 0}, ValueError, r"sgfd.num_functions must be in \[1, 1000\], got 0"),
        ({"steps": 2.5}, TypeError, "sgfd.steps must be an integer, got 2.5"),
        ({"learning_rate": math.inf}, ValueError, r"sgfd.learning_rate must be in \[0, .*\], got inf"),
        ({"evenness": -1}, ValueError, r"sgfd.evenness must be in \[0, .*\], got -1"),
        ({"step": 3}, ValueError, "unknown setting 'step' in sgfd; did you mean 'steps'"),
    ],
)
def test_wrong_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        trained(terms={"sgfd": settings})

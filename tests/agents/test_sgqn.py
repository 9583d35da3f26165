"""SGQN: saliency, its mask, the three parts of the loss, and what the term leaves alone."""

import math

import gymnasium as gym
import pytest
import torch
from torch.nn import functional

from camal_rl.agents import CAMALPPO
from camal_rl.agents.drac import random_crop
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.sgqn import (
    AttributionDecoder,
    SGQNConfig,
    SGQNTerm,
    masked_images,
    per_frame,
    saliency_maps,
    salient_pixels,
)
from camal_rl.rl.methods import parse_method

from .fakes import CountingEnv, unsegmented_env

SETTINGS = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}


def trained(env=None, steps=16, algorithm=CAMALPPO, policy="CamPolicy", **kwargs):
    if algorithm is CAMALPPO:
        kwargs = {"camal": {"weight": 0}, "terms": ["sgqn"], **kwargs}
    return algorithm(policy, env or CountingEnv(), **{**SETTINGS, **kwargs}).learn(steps)


def term_of(model):
    return next(term for term in model.auxiliary_terms if term.name == "sgqn")


@pytest.fixture(scope="module")
def agent():
    """Return a trained agent, its term and one minibatch of random frames."""
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    pixels = torch.randint(0, 256, (16, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    return model, term_of(model), samples._replace(observations=pixels)


def test_saliency_of_a_frame_is_its_largest_channel_over_its_maximum():
    gradient = torch.tensor([[[[1.0, -4.0]], [[-2.0, 0.0]], [[0.0, 3.0]], [[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]])
    # Two RGB frames of two pixels: largest magnitudes (2, 4), and none.
    assert per_frame(gradient).tolist() == [[[[0.5, 1.0]], [[0.0, 0.0]]]]
    gray = torch.tensor([[[[1.0, -4.0]], [[-2.0, 0.0]]]])
    assert per_frame(gray).tolist() == [[[[0.25, 1.0]], [[1.0, 0.0]]]]


def test_the_mask_is_the_top_quantile_of_each_frame():
    saliency = torch.tensor([[[[0.1, 0.4, 0.2, 0.3, 0.5]], [[5.0, 1.0, 4.0, 2.0, 3.0]]]])
    # The .75 quantile of five numbers is the fourth of them.
    assert salient_pixels(saliency, 0.75).int().tolist() == [[[[0, 1, 0, 0, 1]], [[1, 0, 1, 0, 0]]]]
    assert salient_pixels(saliency, 1).int().tolist() == [[[[0, 0, 0, 0, 1]], [[1, 0, 0, 0, 0]]]]
    assert salient_pixels(saliency, 0).all()


def test_pixels_without_saliency_are_never_salient():
    saliency = torch.tensor([[[[0.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    assert salient_pixels(saliency, 0.5).int().tolist() == [[[[0, 0, 0, 1]], [[0, 0, 0, 0]]]]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_masked_image_is_black_outside_its_frames_mask(kind):
    images = torch.arange(1, 13).view(1, 6, 1, 2).to(kind)
    mask = torch.tensor([[[[True, False]], [[False, True]]]])
    masked = masked_images(images, mask)
    assert masked.dtype == kind
    assert masked.tolist() == [[[[1, 0]], [[3, 0]], [[5, 0]], [[0, 8]], [[0, 10]], [[0, 12]]]]


def test_saliency_is_the_gradient_of_value_and_policy_at_the_pixels(agent):
    model, _, samples = agent
    _, found = saliency_maps(model.policy, samples)
    images = samples.observations.float().requires_grad_()
    latent = model.policy.features_extractor(images / 255)
    value, logits = model.policy.value_net(latent), model.policy.action_net(latent)
    taken = logits.log_softmax(1).gather(1, samples.actions.long())
    expected = 0
    for score in (value, taken):
        (gradient,) = torch.autograd.grad(score.sum(), images, retain_graph=True)
        magnitude = gradient.abs().amax(dim=1, keepdim=True)
        expected = expected + magnitude / magnitude.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert all(each.grad is None or not each.grad.isnan().any() for each in model.policy.parameters())
    assert not found.requires_grad


def test_the_loss_is_inconsistency_under_the_mask_and_the_decoders_error(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    term._generator.manual_seed(7)
    found = term.loss(samples, evaluation, 0.5)
    mask = salient_pixels(saliency_maps(model.policy, samples)[1], 0.9)
    assert 0.05 < mask.float().mean() < 0.15
    masked = evaluate_samples(model.policy, samples._replace(observations=samples.observations * mask), 0)
    p, q = (each.distribution.distribution.probs for each in (evaluation, masked))
    divergence = (p * (p / q).log()).sum(dim=1).mean()
    error = (masked.value - evaluation.value).square().mean()
    moved, target = (random_crop(each, torch.Generator().manual_seed(7)) for each in (samples.observations, mask))
    logits = term.module(
        evaluate_samples(model.policy, samples._replace(observations=moved), 0).encoded["value"].features
    )
    attribution = functional.binary_cross_entropy(logits.sigmoid(), target.float())
    assert found.parts["policy"].item() == pytest.approx(divergence.item(), rel=1e-3, abs=1e-6)
    assert found.parts["value"].item() == pytest.approx(error.item(), rel=1e-3)
    assert found.parts["attribution"].item() == pytest.approx(attribution.item(), rel=1e-3)
    assert found.total.item() == pytest.approx(sum(part.item() for part in found.parts.values()), rel=1e-5)


def test_gradients_flow_through_masked_and_moved_images_only(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    parts = term.loss(samples, evaluation, 0.5).parts
    encoder, heads = list(model.policy.features_extractor.parameters()), list(model.policy.value_net.parameters())
    assert torch.autograd.grad(parts["value"], [evaluation.value], retain_graph=True, allow_unused=True) == (None,)
    for name in parts:
        gradients = torch.autograd.grad(parts[name], encoder, retain_graph=True)
        assert any(float(each.abs().max()) > 0 for each in gradients), name
    decoder = list(term.module.parameters())
    assert torch.autograd.grad(parts["value"], decoder, retain_graph=True, allow_unused=True) == (None,) * len(decoder)
    unused = torch.autograd.grad(parts["attribution"], heads, retain_graph=True, allow_unused=True)
    assert unused == (None,) * len(heads)
    assert all(float(each.abs().max()) > 0 for each in torch.autograd.grad(parts["attribution"], decoder))


def test_a_fraction_of_the_minibatch_is_its_first_frames(agent):
    model, _, samples = agent
    term = SGQNTerm(SGQNConfig(frame_fraction=0.25), seed=1)
    term.setup(model.policy, None)
    term._generator.manual_seed(5)
    found = term.loss(samples, evaluate_samples(model.policy, samples, 0), 0.0)
    whole = SGQNTerm(SGQNConfig(), seed=1)
    whole.setup(model.policy, None)
    whole._generator.manual_seed(5)
    expected = whole.loss(samples.first(4), evaluate_samples(model.policy, samples.first(4), 0), 0.0)
    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (15, 22), (5, 3)])
def test_the_decoder_gives_one_mask_a_frame_of_the_images_size(size):
    assert AttributionDecoder(7, 2, size)(torch.rand(3, 7)).shape == (3, 2, *size)


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))], ids=str
)
def test_every_action_space_trains(space):
    env = CountingEnv()
    env.action_space = space
    log = trained(env=env).logger.name_to_value
    assert all(0 <= log[f"sgqn/{part}"] < math.inf for part in ("policy", "value", "attribution"))


def test_training_needs_no_masks_and_adds_to_camal():
    assert trained(env=unsegmented_env()).logger.name_to_value["sgqn/loss"] > 0
    log = trained(camal={"weight": 0.1}).logger.name_to_value
    assert log["camal/loss"] > 0 < log["sgqn/loss"]


def test_a_comparison_knows_the_method():
    assert parse_method("sgqn").terms == ("sgqn",)
    assert parse_method("camal+sgqn").loss == "camal"


def test_observations_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match="SGQN masks images, but the observations are Box"):
        trained(env=gym.make("CartPole-v1"), policy="MlpPolicy", policy_kwargs=None)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": -1}, ValueError, r"sgqn.weight must be in \[0, .*\], got -1"),
        ({"weight": math.nan}, ValueError, r"sgqn.weight must be in \[0, .*\], got nan"),
        ({"weight": "1"}, TypeError, "sgqn.weight must be a number, got '1'"),
        ({"quantile": 1.5}, ValueError, r"sgqn.quantile must be in \[0, 1\], got 1.5"),
        ({"quantile": True}, TypeError, "sgqn.quantile must be a number, got True"),
        ({"attribution_weight": math.inf}, ValueError, r"sgqn.attribution_weight must be in \[0, .*\], got inf"),
        ({"frame_fraction": 0}, ValueError, r"sgqn.frame_fraction must be in \(0, 1\], got 0"),
        ({"frame_fraction": math.nan}, ValueError, r"sgqn.frame_fraction must be in \(0, 1\], got nan"),
        ({"frame_fraction": None}, TypeError, "sgqn.frame_fraction must be a number, got None"),
        ({"quantil": 0.9}, ValueError, "unknown setting 'quantil' in sgqn; did you mean 'quantile'"),
    ],
)
def test_wrong_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        trained(terms={"sgqn": settings})

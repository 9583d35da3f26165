"""DrAC: the two parts of its loss, the augmentations, and what it leaves alone."""

import math
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import CategoricalDistribution, make_proba_distribution

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.agents.augmentations import AUGMENTATIONS
from camal_rl.agents.drac import (
    DrACConfig,
    DrACTerm,
    adjust_colors,
    color_jitter,
    policy_divergence,
    random_crop,
    translate,
)
from camal_rl.agents.sample_evaluation import evaluate_samples

from .fakes import CountingEnv, trained_with, unsegmented_env

trained = partial(trained_with, "drac")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(channels=3, kind=torch.uint8, batch=5, side=16):
    pixels = torch.randint(0, 256, (batch, channels, side, side), dtype=torch.uint8, generator=generator())
    return pixels if kind == torch.uint8 else pixels.to(kind) / 255


def categorical(*probabilities):
    return CategoricalDistribution(2).proba_distribution(torch.tensor(probabilities).log().requires_grad_())


def test_the_divergence_of_two_actions_is_that_worked_out_by_hand():
    # KL((1/2, 1/2) || (1/4, 3/4)) = ln(4/3) / 2, and KL(p || p) = 0.
    found = policy_divergence(categorical([0.5, 0.5], [0.9, 0.1]), categorical([0.25, 0.75], [0.9, 0.1]))
    assert found.item() == pytest.approx(math.log(4 / 3) / 4)
    # It is not symmetric: KL((1/4, 3/4) || (1/2, 1/2)) = ln(27/16) / 4.
    turned = policy_divergence(categorical([0.25, 0.75]), categorical([0.5, 0.5]))
    assert turned.item() == pytest.approx(math.log(27 / 16) / 4)


def test_the_divergence_sums_over_an_actions_dimensions():
    distribution = make_proba_distribution(gym.spaces.Box(-1, 1, (2,)))
    target, other = (
        make_proba_distribution(gym.spaces.Box(-1, 1, (2,))).proba_distribution(torch.tensor([mean]), torch.zeros(2))
        for mean in ([0.0, 0.0], [1.0, 2.0])
    )
    assert type(distribution) is type(target)
    # (1^2 + 2^2) / 2 with unit variances.
    assert policy_divergence(target, other).item() == pytest.approx(2.5)


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))], ids=str
)
def test_every_action_space_trains(space):
    class Actions(CountingEnv):
        def __init__(self):
            super().__init__()
            self.action_space = space

    log = trained(env=Actions()).logger.name_to_value
    # A divergence near 0 can be negative by rounding.
    assert -1e-6 < log["drac/policy"] < math.inf


def test_the_target_is_a_constant():
    target, augmented = (torch.zeros(1, 2, requires_grad=True) for _ in range(2))
    shifted = CategoricalDistribution(2).proba_distribution(augmented + torch.tensor([0.0, 1.0]))
    policy_divergence(CategoricalDistribution(2).proba_distribution(target), shifted).backward()
    assert target.grad is None
    assert float(augmented.grad.abs().max()) > 0.1


@pytest.fixture(scope="module")
def agent():
    """Return a trained agent whose frames are random, with its term and one minibatch."""
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    samples = samples._replace(observations=images(batch=16))
    return model, model.auxiliary_terms[1], samples


def test_the_loss_is_divergence_and_squared_error_of_augmented_images(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    term._generator.manual_seed(7)
    found = term.loss(samples, evaluation, 0.5)
    other = samples._replace(observations=random_crop(samples.observations, generator(7)))
    augmented = evaluate_samples(model.policy, other, 0)
    error = (augmented.value - evaluation.value).square().mean()
    p, q = (each.distribution.distribution.probs for each in (evaluation, augmented))
    divergence = (p * (p / q).log()).sum(dim=1).mean()
    assert found.parts["value"].item() == pytest.approx(error.item(), rel=1e-5)
    assert found.parts["policy"].item() == pytest.approx(divergence.item(), rel=1e-3, abs=1e-7)
    assert found.total.item() == pytest.approx(error.item() + divergence.item(), rel=1e-4)


def test_gradients_flow_through_the_augmented_images_only(agent):
    model, term, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    total = term.loss(samples, evaluation, 0.5).total
    logits = evaluation.distribution.distribution.logits
    assert torch.autograd.grad(total, [evaluation.value, logits], retain_graph=True, allow_unused=True) == (None, None)
    gradients = torch.autograd.grad(total, list(model.policy.parameters()))
    assert all(float(each.abs().max()) > 0 for each in gradients)


def test_an_image_is_moved_and_its_border_repeats():
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], dtype=torch.uint8)
    right_and_up = translate(image, torch.tensor([1]), torch.tensor([-1]))
    assert right_and_up.tolist() == [[[[4, 4, 5], [7, 7, 8], [7, 7, 8]]]]
    assert right_and_up.dtype == torch.uint8
    assert torch.equal(translate(image, torch.tensor([0]), torch.tensor([0])), image)


def test_each_image_is_moved_on_its_own_by_at_most_12_pixels_of_64():
    ramp = torch.arange(64).expand(400, 1, 64, 64)
    offsets = (random_crop(ramp, generator()) - ramp)[:, 0, 0, 32]
    assert sorted(set(offsets.tolist())) == list(range(-12, 13))


def ones(batch=5):
    return torch.ones(batch)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_identity_factors_leave_the_image(kind, channels):
    given = images(channels, kind)
    changed = adjust_colors(given, ones(), ones(), ones(), 0 * ones())
    torch.testing.assert_close(changed, given, rtol=0, atol=1e-5)


def test_colors_change_as_worked_out_by_hand():
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    one, zero = torch.ones(1), torch.zeros(1)

    def pixel(*factors):
        return adjust_colors(image, *factors)[0, :, 0, 0]

    torch.testing.assert_close(pixel(one / 2, one, one, zero), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(pixel(one, one / 2, one, zero), torch.tensor([0.3, 0.4, 0.5]))
    gray = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(pixel(one, one, zero, zero), torch.full((3,), gray))
    # A full turn of the hue is none; half a turn mirrors the color at its gray.
    torch.testing.assert_close(pixel(one, one, one, one), torch.tensor([0.2, 0.4, 0.6]))
    torch.testing.assert_close(pixel(one, one, one, one / 2), 2 * gray - torch.tensor([0.2, 0.4, 0.6]))


def test_gray_stays_gray():
    gray = images(1, torch.float32).expand(5, 3, 16, 16)
    changed = color_jitter(gray, generator())
    assert not torch.allclose(changed, gray, atol=0.05)
    assert float((changed - changed[:, :1]).abs().max()) < 1e-5


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_the_global_random_streams_are_left_alone(agent, augmentation):
    model, _, samples = agent
    term = DrACTerm(DrACConfig(augmentation=augmentation), seed=3)
    term.setup(model.policy, None)
    torches, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    term.loss(samples, evaluate_samples(model.policy, samples, 0), 0.0)
    assert torch.equal(torch.get_rng_state(), torches)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


def test_weight_zero_is_stock_ppo_bit_for_bit():
    ours = trained(terms={"drac": {"weight": 0}}, steps=32).policy.state_dict()
    stock = trained(algorithm=PPO, policy=CamPolicy, steps=32).policy.state_dict()
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    weighted = trained(steps=32).policy.state_dict()
    assert not all(torch.equal(weighted[name], stock[name]) for name in stock)


def test_camal_and_drac_add_up(tmp_path):
    model = trained(camal={"weight": 0.1}, terms=[("drac", {"augmentation": "color_jitter"})])
    log = model.logger.name_to_value
    assert log["camal/loss"] > 0 < log["drac/loss"]
    model.save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", device="cpu")
    assert loaded.terms == {"drac": {"weight": 0.1, "augmentation": "color_jitter"}}
    assert type(PPO.load(tmp_path / "model", device="cpu").policy) is CamPolicy


def test_drac_needs_no_masks():
    assert trained(env=unsegmented_env()).logger.name_to_value["drac/value"] >= 0


def test_observations_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match="DrAC augments images, but the observations are Box"):
        trained(env=gym.make("CartPole-v1"), policy="MlpPolicy", policy_kwargs=None)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": -1}, ValueError, "drac.weight must be a finite number of at least 0, got -1"),
        ({"weight": math.nan}, ValueError, "drac.weight must be a finite number of at least 0, got nan"),
        ({"weight": "1"}, TypeError, "drac.weight must be a number, got '1'"),
        ({"augmentation": "blur"}, ValueError, "drac.augmentation must be one of crop, grayscale, .*, got 'blur'"),
        ({"augmentations": "crop"}, ValueError, "unknown setting 'augmentations' in drac; did you mean 'augmentation'"),
    ],
)
def test_wrong_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        trained(terms={"drac": settings})

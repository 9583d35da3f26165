"""Background mixing: which pixels are replaced by which, the loss, and what it needs."""

import math
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.agents.background_mix import (
    BackgroundMixConfig,
    BackgroundMixTerm,
    mixed,
    other_rows,
    shifted,
)
from camal_rl.agents.relevant_pixels import unpacked
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.state_tree import from_bytes, to_bytes

from .fakes import SMALL_RUN, CountingEnv, WrongShapeEnv, trained_with, unsegmented_env

RELEVANT_PIXELS = "background_mix_relevant"
trained = partial(trained_with, "background_mix")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def agent():
    """Return a trained agent and all 16 samples of its rollout, with random images."""
    model = trained()
    (samples,) = model.rollout_buffer.get(16)
    pixels = torch.randint(0, 256, samples.observations.shape, dtype=torch.uint8, generator=generator())
    return model, samples._replace(observations=pixels)


def term_of(model, seed=0, **settings):
    term = BackgroundMixTerm(BackgroundMixConfig(**settings), seed)
    term.setup(model.policy, None)
    return term


def test_frames_show_others_where_they_may():
    frames = torch.tensor([[1, 2, 3], [4, 5, 6]]).expand(1, 2, 2, 3)
    places = torch.tensor([[[True, False, False], [False, True, True]]])
    expected = [[-1, 2, 3], [4, -5, -6]]
    assert mixed(frames, -frames, places).tolist() == [[expected, expected]]
    last = mixed(frames.movedim(1, -1), -frames.movedim(1, -1), places)
    assert last.movedim(-1, 1).tolist() == [[expected, expected]]


def test_the_other_frame_is_any_other_one():
    drawn = [other_rows(2, 4, generator(seed)).tolist() for seed in range(60)]
    assert {first for first, _ in drawn} == {1, 2, 3}
    assert {second for _, second in drawn} == {0, 2, 3}
    assert other_rows(1, 1, generator()).tolist() == [0]


def test_a_shifted_mask_has_as_many_pixels_in_the_same_shape_at_a_random_place():
    mask = torch.zeros(1, 3, 4, dtype=torch.bool)
    mask[0, 0, :2] = True
    seen = set()
    for seed in range(200):
        (place,) = shifted(mask, generator(seed))
        rows, columns = place.nonzero().T.tolist()
        assert rows[0] == rows[1]
        assert (columns[1] - columns[0]) in (1, 3)  # beside each other, or around the border
        seen.add(tuple(place.flatten().tolist()))
    assert len(seen) == 12


def test_what_matters_in_either_frame_stays(agent):
    """Frame t of CountingEnv shows its one relevant pixel at column t of the first row."""
    model, samples = agent
    relevant = unpacked(samples.columns[RELEVANT_PIXELS], (16, 16))
    steps = relevant[:, 0].int().argmax(dim=1)
    assert relevant.sum(dim=(1, 2)).tolist() == [1] * 16
    assert sorted(steps.tolist()) == sorted([*range(8)] * 2)
    partners = other_rows(4, 16, generator(7))
    expected = samples.observations[partners].clone()
    for row, partner in enumerate(partners.tolist()):
        for column in (steps[row], steps[partner]):
            expected[row, :, 0, column] = samples.observations[row, :, 0, column]
    evaluation = evaluate_samples(model.policy, samples, 0)
    found = term_of(model, seed=7).loss(samples, evaluation, 0.0)
    changed = samples._replace(observations=expected, actions=samples.actions[:4])
    other = evaluate_samples(model.policy, changed, 0)
    error = (other.value - evaluation.value[:4]).square().mean()
    p, q = evaluation.distribution.distribution.probs[:4], other.distribution.distribution.probs
    divergence = (p * (p / q).log()).sum(dim=1).mean()
    assert found.parts["value"].item() == pytest.approx(error.item(), rel=1e-5)
    assert found.parts["policy"].item() == pytest.approx(divergence.item(), rel=1e-3, abs=1e-7)
    assert found.total.item() == pytest.approx(error.item() + divergence.item(), rel=1e-4)
    same = (steps[partners] == steps[:4]).sum().item()
    assert found.parts["mixed_fraction"].item() == pytest.approx(1 - (8 - same) / 4 / 256)


def test_where_everything_matters_nothing_changes(agent):
    model, samples = agent
    columns = {RELEVANT_PIXELS: torch.full_like(samples.columns[RELEVANT_PIXELS], 255)}
    samples = samples._replace(columns=columns)
    evaluation = evaluate_samples(model.policy, samples, 0)
    found = term_of(model, fraction=1).loss(samples, evaluation, 0.0)
    assert found.parts["mixed_fraction"] == 0
    assert found.total.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("settings", [{"fraction": 0.01}, {"fraction": 1}, {"placement": "random"}])
def test_gradients_flow_through_the_mixed_frames_only(agent, settings):
    model, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    torches, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    total = term_of(model, **settings).loss(samples, evaluation, 0.5).total
    assert torch.equal(torch.get_rng_state(), torches)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    logits = evaluation.distribution.distribution.logits
    assert torch.autograd.grad(total, [evaluation.value, logits], retain_graph=True, allow_unused=True) == (None, None)
    gradients = torch.autograd.grad(total, list(model.policy.parameters()))
    assert all(float(each.abs().max()) > 0 for each in gradients)


def test_the_control_mixes_as_much_elsewhere(agent):
    model, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    ours, control = (
        term_of(model, seed=5, placement=placement).loss(samples, evaluation, 0.0)
        for placement in ("surroundings", "random")
    )
    assert torch.equal(ours.parts["mixed_fraction"], control.parts["mixed_fraction"])
    assert not torch.equal(ours.total, control.total)


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))], ids=str
)
def test_every_action_space_trains_on_a_share_of_the_frames(space):
    class Actions(CountingEnv):
        def __init__(self):
            super().__init__()
            self.action_space = space

    assert 0 <= trained(env=Actions()).logger.name_to_value["background_mix/policy"] < math.inf


def test_a_minibatch_of_one_frame_has_nothing_to_mix():
    log = trained(batch_size=1, n_epochs=1, normalize_advantage=False).logger.name_to_value
    assert log["background_mix/loss"] == pytest.approx(0, abs=1e-6)


def test_it_trains_beside_camal_and_is_saved(tmp_path):
    model = trained(camal={"weight": 0.1}, terms={"background_mix": {"placement": "random"}})
    log = model.logger.name_to_value
    assert log["camal/loss"] > 0 < log["background_mix/loss"]
    assert (log["background_mix/weight"], log["background_mix/mixed_fraction"] > 0.98) == (0.5, True)
    model.save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", device="cpu")
    assert loaded.terms == {"background_mix": {"weight": 0.5, "fraction": 0.25, "placement": "random"}}


def test_a_saved_state_goes_on_as_if_nothing_had_been(agent):
    model, samples = agent
    evaluation = evaluate_samples(model.policy, samples, 0)
    term, other = (term_of(model, seed, placement="random") for seed in (1, 2))
    term.loss(samples, evaluation, 0.0)
    other.restore_training_state(from_bytes(to_bytes(term.training_state())))
    for _ in range(3):
        assert torch.equal(term.loss(samples, evaluation, 0).total, other.loss(samples, evaluation, 0).total)


def test_weight_zero_is_stock_ppo_bit_for_bit():
    ours = trained(terms={"background_mix": {"weight": 0}}, steps=32).policy.state_dict()
    stock = trained(algorithm=PPO, policy=CamPolicy, steps=32).policy.state_dict()
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    assert trained(terms={"background_mix": {"weight": 0}}, env=unsegmented_env())


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (unsegmented_env, "background_mix needs an environment with segmentation; make it with camal_rl.envs.make_vec"),
        (WrongShapeEnv, r"segmentation\(\) must return uint8 label maps of shape \(2, 16, 16\)"),
    ],
)
def test_what_does_not_serve_is_refused(env, message):
    with pytest.raises(ValueError, match=message):
        trained(env=env())


def test_an_environment_without_segmentation_is_refused_at_setup():
    with pytest.raises(ValueError, match="background_mix needs"):
        CAMALPPO("CamPolicy", unsegmented_env(), camal={"weight": 0}, terms=["background_mix"], **SMALL_RUN)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": -1}, ValueError, "background_mix.weight must be a finite number of at least 0, got -1"),
        ({"weight": 10**400}, ValueError, "background_mix.weight must be at most 1e"),
        ({"fraction": 0}, ValueError, r"background_mix.fraction must be in \(0, 1\], got 0"),
        ({"fraction": math.nan}, ValueError, r"background_mix.fraction must be in \(0, 1\], got nan"),
        ({"fraction": "1"}, TypeError, "background_mix.fraction must be a number, got '1'"),
        ({"placement": "mask"}, ValueError, "background_mix.placement must be one of surroundings, random, got 'mask'"),
        ({"placment": "random"}, ValueError, "unknown setting 'placment' in background_mix; did you mean 'placement'"),
    ],
)
def test_wrong_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        trained(terms={"background_mix": settings})

"""CAMAL DQN: masks lie in the replay buffer beside their observations, and maps of Q(s, a) are trained on them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from torch import nn

from camal_rl.agents import CAMALDQN, CamalConfig, CamQPolicy
from camal_rl.agents.attributions import explain, policy_scores, preferred_actions
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.attention import class_activation_map
from camal_rl.failures import DivergedError
from camal_rl.random_states import random_states
from tests.agents.fakes import CountingEnv, WrongShapeEnv, unsegmented_env
from tests.agents.policies import SIZE, channels_first, frames, state_of

SETTINGS = {"buffer_size": 64, "learning_starts": 4, "batch_size": 8, "train_freq": 1, "seed": 1, "device": "cpu"}
COMPACT = {"policy_kwargs": {"encoder": "compact"}}
MEMORY = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
METHODS = ("gradcam", "hirescam", "layercam", "gradcam++", "normgrad")


def agent(env=None, camal=None, **kwargs):
    return CAMALDQN("CamQPolicy", env or CountingEnv(), camal=camal, **{**SETTINGS, **COMPACT, **kwargs})


def q_policy(encoder="compact", spread=0.3, **kwargs):
    torch.manual_seed(0)
    space = spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)
    made = CamQPolicy(space, spaces.Discrete(5), lambda _: 1e-3, encoder=encoder, **kwargs)
    for layer in made.q_net.q_net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=spread)
    return made


# Masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("options", [{}, MEMORY, {"n_steps": 3}], ids=["stock", "memory", "several steps"])
def test_every_sample_has_the_mask_of_its_own_observation_also_after_the_buffer_has_gone_round(envs, options):
    model = agent(CountingEnv(envs), buffer_size=20 * envs, learning_starts=10**6, **options)
    for steps in (12, 33):
        model.learn(steps * envs)
        samples = model.replay_buffer.sample(200)
        shown = samples.observations[:, 0, 0, 0].long() % SIZE
        # One relevant pixel of the first row: 4x4 cells on 16x16 pixels, one for four columns.
        lit = samples.targets[:, 0].argmax(dim=1)
        assert samples.targets.dtype == torch.uint8
        assert torch.equal(lit, shown // 4)
        assert torch.equal(samples.targets.flatten(1).sum(dim=1), torch.full((200,), 255))
        assert len(shown.unique()) > 5


def test_masks_are_stored_on_the_grid_of_the_maps_and_not_at_the_size_of_the_images():
    model = agent()
    model.learn(8)
    assert model.replay_buffer.target_masks.shape == (32, 2, *model.policy.cam_grid)
    assert model.replay_buffer.target_masks.dtype == np.uint8


def test_evenly_spaced_samples_draw_nothing_and_are_those_of_the_buffer():
    model = agent(learning_starts=10**6)
    model.learn(20)
    before = random_states()["numpy"]["state"]["key"].tolist()
    samples = model.replay_buffer.evenly_spaced(7)
    assert random_states()["numpy"]["state"]["key"].tolist() == before
    assert torch.equal(samples.targets[:, 0].argmax(dim=1), samples.observations[:, 0, 0, 0].long() % SIZE // 4)


@pytest.mark.parametrize("options", [{}, MEMORY, {"n_steps": 3}], ids=["stock", "memory", "several steps"])
@pytest.mark.parametrize("steps", [14, 61])
def test_what_a_checkpoint_holds_of_the_buffer_gives_the_same_samples(options, steps):
    models = [agent(buffer_size=40, learning_starts=10**6, **options) for _ in range(2)]
    models[0].learn(steps)
    models[1].replay_buffer.restore_stored(models[0].replay_buffer.stored())
    drawn = []
    for model in models:
        model.set_random_seed(5)
        drawn.append(model.replay_buffer.sample(100))
    for one, other in zip(*([*each[:-1], each.targets] for each in drawn), strict=True):
        assert one is other is None or torch.equal(one, other)
    assert models[0].replay_buffer.pos == models[1].replay_buffer.pos
    kept = models[0].replay_buffer.stored()
    if not options.get("optimize_memory_usage"):
        # An episode ends every third step; the last step has no follower.
        assert len(kept["next_places"][0]) <= 2 * (len(kept["rewards"]) // 3 + 2)


def test_a_stored_buffer_of_another_shape_is_refused():
    stored = agent(CountingEnv(size=24)).learn(8).replay_buffer.stored()
    with pytest.raises(ValueError, match="its replay buffer has uint8"):
        agent().replay_buffer.restore_stored(stored)


# Maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", SHIPPED_ENCODERS)
def test_the_closed_form_is_autograd_of_q_of_the_greedy_action(encoder, method):
    size = 40 if encoder == "nature" else SIZE
    torch.manual_seed(0)
    policy = CamQPolicy(
        spaces.Box(0, 255, (3, size, size), np.uint8), spaces.Discrete(4), lambda _: 1e-3, encoder=encoder
    )
    images = channels_first(frames(5, size, size))
    evaluation = policy.evaluate_for_attention(images)
    assert policy.has_closed_form("q")
    assert torch.equal(evaluation.actions, policy.q_net(images).argmax(dim=1))
    maps = policy.attention_maps(evaluation, ["q"], method, "absolute", create_graph=True)
    features = evaluation.cam_features("q")
    by_autograd = class_activation_map(features, evaluation.score("q"), method, True, "absolute")
    torch.testing.assert_close(maps["q"], by_autograd, rtol=1e-4, atol=1e-7)
    first, second = (
        torch.autograd.grad(cam.sum(), policy.q_net.parameters(), retain_graph=True, allow_unused=True)
        for cam in (maps["q"], by_autograd)
    )
    for one, other in zip(first, second, strict=True):
        if one is None or other is None:
            assert all(each is None or not each.any() for each in (one, other))
        else:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_head_with_a_hidden_layer_has_maps_by_autograd():
    policy = q_policy(net_arch=[8])
    assert not policy.has_closed_form("q")
    assert policy.attention(frames())["q"].amax(dim=(1, 2)).tolist() == pytest.approx([1, 1, 1])


def test_attention_explains_the_greedy_action_or_the_one_that_is_asked_about_and_leaves_nothing_behind():
    policy = q_policy()
    before = state_of(policy)
    own, greedy = policy.attention(frames()), preferred_actions(policy, channels_first(frames()))
    assert list(own) == ["q"]
    assert torch.equal(own["q"], policy.attention(frames(), actions=greedy)["q"])
    assert not torch.equal(own["q"], policy.attention(frames(), actions=(greedy + 1) % 5)["q"])
    assert state_of(policy) == before


def test_value_rectification_is_that_of_q():
    policy = q_policy(maps={"value_rectification": "absolute"})
    assert torch.equal(policy.attention(frames())["q"], policy.attention(frames(), None, None, "absolute")["q"])
    assert not torch.equal(policy.attention(frames())["q"], policy.attention(frames(), rectification="relu")["q"])


@pytest.mark.parametrize("targets", [["value"], ["policy"], ["q", "value"]])
def test_a_q_network_has_no_other_target(targets):
    with pytest.raises(ValueError, match=r"unknown target '(value|policy)'; choose one of q"):
        q_policy().attention(frames(), targets=targets)
    with pytest.raises(ValueError, match=r"camal\.targets must be among the attention targets of the policy, q, got"):
        agent(camal={"targets": targets})


def test_the_default_targets_stand_for_q():
    assert agent(camal={"weight": 0.1}).camal.targets == ("q",)
    assert agent(camal=CamalConfig()).camal.targets == ("q",)


@pytest.mark.parametrize("method", ["gradcam", "occlusion", "integrated_gradients", "guided_backprop", "perturbation"])
@pytest.mark.parametrize("stock", [False, True])
def test_every_kind_of_map_explains_a_q_network_also_one_of_stock_dqns(method, stock):
    if stock:
        policy = DQN("CnnPolicy", CountingEnv(size=40), buffer_size=4, seed=0, device="cpu").policy
        images = frames(2, 40, 40)
    else:
        policy, images = q_policy(), frames(2)
    maps = explain(policy, images, method)
    assert maps.shape == images.shape[:3]
    assert float(maps.max()) == pytest.approx(1)
    assert list(policy_scores(policy)) == ["q"]


# Acting -----------------------------------------------------------------------------------------------------------


def test_sampled_actions_explore_image_by_image_with_the_final_share():
    model = agent(exploration_final_eps=0.4)
    assert model.policy.exploration == 0.4
    images = np.repeat(frames(1), 2000, axis=0)
    torch.manual_seed(0)
    sampled, greedy = (model.predict(images, deterministic=each)[0] for each in (False, True))
    assert len(np.unique(greedy)) == 1
    assert (sampled != greedy).mean() == pytest.approx(0.4 * 2 / 3, abs=0.04)
    torch.manual_seed(0)
    assert np.array_equal(model.predict(images)[0], sampled)


# Training ---------------------------------------------------------------------------------------------------------


def test_training_brings_the_maps_onto_the_masks():
    model = agent(camal={"weight": 1.0}, learning_rate=1e-3, batch_size=32)
    model.learn(160, log_interval=10**6)
    logged = model.logger.name_to_value
    samples = model.replay_buffer.evenly_spaced(64)
    with torch.enable_grad():
        after = model.camal_term.alignment(model.policy.evaluate_for_attention(samples.observations), samples.targets)
    # The frames do not show in which column of the first row the object is.
    assert after["area_fraction"] == pytest.approx(1 / 16)
    assert after["q/epg"] == pytest.approx(1 / 4, abs=0.03)
    assert {"camal/loss", "camal/inside", "camal/q/outside", "train/td_loss"} <= set(logged)


def test_alignment_is_logged_at_weight_zero_too():
    model = agent(camal={"weight": 0.0}, learning_starts=4)
    model.learn(30, log_interval=10**6)
    model.dump_logs()
    model._diagnosed_at = -1
    model._log_alignment()
    assert {"camal/q/epg", "camal/q/iou", "camal/weight", "camal/area_fraction"} <= set(model.logger.name_to_value)


def test_a_saved_model_keeps_its_settings_and_needs_no_masks(tmp_path):
    model = agent(camal={"weight": 0.3, "method": "hirescam"}).learn(12)
    model.save(tmp_path / "model")
    loaded = CAMALDQN.load(tmp_path / "model", device="cpu")
    assert loaded.camal == model.camal
    assert torch.equal(loaded.policy.attention(frames())["q"], model.policy.attention(frames())["q"])
    stock = DQN.load(tmp_path / "model", device="cpu")
    assert np.array_equal(
        stock.predict(frames(), deterministic=True)[0], model.predict(frames(), deterministic=True)[0]
    )


@pytest.mark.parametrize(
    ("env", "kwargs", "error", "message"),
    [
        (unsegmented_env, {"policy": "CamQPolicy"}, ValueError, "CAMAL needs an environment with segmentation"),
        (
            lambda: CountingEnv(size=40),
            {"policy": "CnnPolicy"},
            ValueError,
            r'use policy="CamPolicy" .of DQN "CamQPolicy". or weight 0',
        ),
        (CountingEnv, {"camal": 3}, TypeError, "camal must be a CamalConfig or a mapping"),
        (CountingEnv, {"camal": {"wieght": 1}}, ValueError, "did you mean"),
        (CountingEnv, {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        (CountingEnv, {"buffer_size": 2.5}, TypeError, "buffer_size must be a whole number, got 2.5"),
        (CountingEnv, {"buffer_size": 10**15}, ValueError, "lower buffer_size"),
        (CountingEnv, {"learning_rate": float("nan")}, ValueError, "learning_rate must be a finite number"),
        (
            CountingEnv,
            {"exploration_final_eps": 2},
            ValueError,
            r"exploration_final_eps must be a finite number in \[0",
        ),
        (CountingEnv, {"gamma": -1}, ValueError, r"gamma must be a finite number in \[0, 1\]"),
        (WrongShapeEnv, {}, ValueError, "must return uint8 label maps of shape"),
    ],
)
def test_what_cannot_work_is_one_line(env, kwargs, error, message):
    given = {"policy": "CamQPolicy", "camal": {"weight": 0.1}, **SETTINGS, **kwargs}
    if given["policy"] == "CamQPolicy":
        given.update(COMPACT)
    with pytest.raises(error, match=message):
        CAMALDQN(given.pop("policy"), env(), **given).learn(8)


def test_numbers_that_are_not_finite_end_training_with_the_setting_to_blame():
    model = agent(camal={"weight": 1.0}, learning_rate=1e6, max_grad_norm=1e8)
    with pytest.raises(DivergedError, match=r"learning_rate=1e\+06 is the most likely cause") as caught:
        model.learn(200)
    assert "observations" in caught.value.evidence["minibatch"]

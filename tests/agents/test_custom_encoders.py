import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from torch import nn

from camal_rl.agents import CAMALPPO, CamalConfig, CompactEncoder
from camal_rl.agents.attributions import explain
from camal_rl.attention import CAM_METHODS, class_activation_map, normalize_cam

from .fakes import CountingEnv
from .policies import (
    BOX,
    ChannelsLast,
    Convolutions,
    InPlace,
    InPlaceSum,
    OutOfPlaceSum,
    Tokens,
    channels_first,
    frames,
    policy_of,
    state_of,
)

ENCODERS = ["nature", "compact", "impala", "patch", Convolutions, InPlaceSum, ChannelsLast, Tokens]


def size_for(encoder):
    return 52 if encoder == "nature" else 16


def freeze(policy, what):
    modules = {"encoder": policy.features_extractor, "everything": policy}
    if what == "layers before":
        next(module for module in policy.features_extractor.modules() if isinstance(module, nn.Conv2d)).requires_grad_(
            False
        )
    else:
        modules[what].requires_grad_(False)


def outputs(policy, images):
    """Return values, preferred actions and their log-probabilities by every way through the policy."""
    batch = channels_first(images)
    with torch.no_grad():
        actions, values, log_prob = policy.forward(batch, deterministic=True)
        ways = [(values, log_prob), (policy.predict_values(batch), policy.get_distribution(batch).log_prob(actions))]
        ways.append(policy.evaluate_actions(batch, actions)[:2])
    for num_attention_frames in (None, 0, 2):
        evaluation = policy.evaluate_for_attention(batch, actions, num_attention_frames)
        ways.append((evaluation.value, evaluation.log_prob))
    return [(value.flatten().detach(), log_prob.detach()) for value, log_prob in ways]


# In-place operations behind the CAM layer -------------------------------------------------------------------------


@pytest.mark.parametrize(("encoder", "plain"), [(InPlace, Convolutions), (InPlaceSum, OutOfPlaceSum)])
@pytest.mark.parametrize("method", CAM_METHODS)
@pytest.mark.parametrize("frozen", [False, True])
def test_an_operation_in_place_behind_the_layer_changes_no_map(encoder, plain, method, frozen):
    one, other = policy_of(encoder), policy_of(plain)
    one.features_extractor.requires_grad_(not frozen)
    maps, expected = (policy.attention(frames(), method=method) for policy in (one, other))
    for target, cam in expected.items():
        assert float(cam.max()) == 1
        torch.testing.assert_close(maps[target], cam)
        given = explain(one, frames(), method, target, layer="last")
        torch.testing.assert_close(given, explain(other, frames(), method, target, layer="last"))


# Frozen encoders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("what", ["encoder", "everything", "layers before"])
@pytest.mark.parametrize("actions", [spaces.Discrete(5), BOX])
@pytest.mark.filterwarnings("ignore:the policy map:UserWarning")  # of a policy that is certain of its action
def test_freezing_changes_no_map(encoder, what, actions):
    size = size_for(encoder)
    policy = policy_of(encoder, actions, (3, size, size), spread=0.05)
    images = frames(3, size, size)
    expected = policy.attention(images)
    freeze(policy, what)
    before = state_of(policy)
    for target, cam in policy.attention(images).items():
        torch.testing.assert_close(cam, expected[target])
        if target == "value":
            assert float(cam.max()) == 1
    assert state_of(policy) == before


@pytest.mark.parametrize("encoder", ["nature", "compact", "impala", "patch", Convolutions, InPlaceSum])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("actions", [spaces.Discrete(3), BOX])
def test_a_frozen_encoder_trains_its_heads(encoder, weight, actions):
    class Env(CountingEnv):
        def __init__(self):
            super().__init__(size=size_for(encoder))
            self.action_space = actions

    def trained(weight):
        camal = CamalConfig(weight=weight, value_rectification="absolute")
        model = CAMALPPO(
            "CamPolicy",
            Env(),
            n_steps=4,
            batch_size=8,
            n_epochs=2,
            seed=0,
            camal=camal,
            policy_kwargs={"encoder": encoder},
        )
        model.policy.features_extractor.requires_grad_(False)
        before = copy.deepcopy(model.policy.state_dict())
        return model.learn(16).policy, before, model

    policy, before, model = trained(weight)
    after = policy.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert {"value_net.weight", "action_net.weight"} <= changed
    assert not any("features_extractor" in key for key in changed)
    assert np.isfinite(model.logger.name_to_value["camal/value/epg"])
    if weight:
        without = trained(0.0)[0].state_dict()
        assert not torch.equal(after["value_net.weight"], without["value_net.weight"])


def test_with_weight_zero_an_encoder_without_any_map_will_do():
    from .fakes import unsegmented_env

    class Flat(Convolutions):
        def __init__(self, observation_space):
            super().__init__(observation_space)
            self.first = nn.Linear(3 * 16 * 16, 8)
            del self.last

        def forward(self, images):
            return torch.relu(self.first(images.flatten(1)))

    model = CAMALPPO("CamPolicy", unsegmented_env(), n_steps=4, batch_size=4, policy_kwargs={"encoder": Flat},
                     camal=CamalConfig(weight=0))  # fmt: skip
    model.learn(8)
    with pytest.raises(ValueError, match="no CAM layer '' in Flat; its layers are: first"):
        model.policy.attention(frames())


# Subclasses of CamEncoder -----------------------------------------------------------------------------------------


class Tanh(CompactEncoder):
    def __init__(self, observation_space, **kwargs):
        super().__init__(observation_space, **kwargs)
        self.linear[1] = nn.Tanh()


class Normalized(CompactEncoder):
    def __init__(self, observation_space, **kwargs):
        super().__init__(observation_space, **kwargs)
        self.linear = nn.Sequential(self.linear[0], nn.LayerNorm(256), nn.ReLU())


class Deeper(CompactEncoder):
    def __init__(self, observation_space, **kwargs):
        super().__init__(observation_space, **kwargs)
        self.linear = nn.Sequential(*self.linear, nn.Linear(256, 256), nn.ReLU())


class Bare(CompactEncoder):
    def __init__(self, observation_space, **kwargs):
        super().__init__(observation_space, **kwargs)
        self.linear = self.linear[0]


class Doubled(CompactEncoder):
    def forward(self, observations):
        return 2 * super().forward(observations)


class OwnHidden(CompactEncoder):
    def hidden(self, features):
        return super().hidden(features).tanh() - 0.1


class OwnFeatures(CompactEncoder):
    def cam_features(self, observations):
        return super().cam_features(observations) * 2 + 0.1


class Same(CompactEncoder):
    pass


SUBCLASSES = [Tanh, Normalized, Deeper, Bare, Doubled, OwnHidden, OwnFeatures, Same]


@pytest.mark.parametrize("encoder", SUBCLASSES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_way_through_a_policy_gives_the_same_for_any_subclass(encoder, precision):
    policy = policy_of(encoder, precision=precision, spread=0.05)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "float32" else {"rtol": 5e-2, "atol": 5e-2}
    first, *others = outputs(policy, frames())
    for other in others:
        torch.testing.assert_close(other[0], first[0], **tolerance)
        torch.testing.assert_close(other[1], first[1], **tolerance)


@pytest.mark.parametrize("encoder", SUBCLASSES)
@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_maps_of_any_subclass_are_those_of_automatic_differentiation(encoder, method):
    policy = policy_of(encoder, spread=0.05)
    assert policy.cam_grid == (4, 4)
    evaluation = policy.evaluate_for_attention(channels_first(frames()), torch.tensor([0, 1, 2]))
    maps = policy.attention_maps(evaluation, method=method, rectification="absolute")
    for target, score in {"value": evaluation.value, "policy": evaluation.log_prob}.items():
        features = evaluation.cam_features(target)
        expected = class_activation_map(features, score, method, rectify="absolute")
        torch.testing.assert_close(maps[target], expected, rtol=1e-3, atol=1e-7)
    assert policy.has_closed_form("value") == (encoder is Same)


def test_a_policy_with_other_heads_is_found_out_on_the_first_batch():
    from camal_rl.agents import CamPolicy

    class Tempered(CamPolicy):
        def _get_action_dist_from_latent(self, latent_pi):
            return super()._get_action_dist_from_latent(latent_pi.square())

    policy = policy_of(policy_class=Tempered, spread=0.02)
    assert policy.has_closed_form("policy")
    evaluation = policy.evaluate_for_attention(channels_first(frames()))
    cam = policy.attention_maps(evaluation)["policy"]
    assert (policy.has_closed_form("policy"), policy.has_closed_form("value")) == (False, True)
    expected = class_activation_map(evaluation.cam_features("policy"), evaluation.log_prob, rectify="absolute")
    torch.testing.assert_close(cam, expected)


def test_a_named_layer_of_a_shipped_encoder_is_taken():
    named, default = policy_of("compact", cam_layer="cnn.1"), policy_of("compact")
    assert (named.cam_grid, default.cam_grid) == ((8, 8), (4, 4))
    torch.testing.assert_close(
        policy_of("compact", cam_layer="cnn.5").attention(frames())["value"], default.attention(frames())["value"]
    )


# Channels last, and tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 12])
@pytest.mark.parametrize("layer", ["norm", "block"])
@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 16, 32)])
def test_channels_last_are_read_on_the_right_axes(width, layer, shape):
    policy = policy_of(
        ChannelsLast, shape=shape, cam_layer=layer, features_extractor_kwargs={"width": width}, spread=0.05
    )
    images = frames(2, *shape[1:])
    evaluation = policy.evaluate_for_attention(channels_first(images))
    assert policy.cam_grid == (4, shape[2] // 4)
    assert evaluation.cam_features("value").shape == (2, width, *policy.cam_grid)
    extractor = policy.features_extractor
    patches = extractor.norm(extractor.first(channels_first(images) / 255).permute(0, 2, 3, 1))
    expected = patches if layer == "norm" else extractor.block(patches)
    torch.testing.assert_close(evaluation.cam_features("value").permute(0, 2, 3, 1), expected)
    assert float(policy.attention(images, rectification="absolute")["value"].max()) == 1


@pytest.mark.parametrize("prefix", [0, 1, 5, 9])
@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 16, 32)])
def test_tokens_lie_on_the_grid_of_the_patch_embedding_whatever_comes_before_them(prefix, shape):
    kwargs = {"features_extractor_kwargs": {"prefix": prefix}, "cam_layer": "norm", "shape": shape, "spread": 0.05}
    policy = policy_of(Tokens, **kwargs)
    images = frames(2, *shape[1:])
    evaluation = policy.evaluate_for_attention(channels_first(images))
    assert policy.cam_grid == (4, shape[2] // 4)
    extractor = policy.features_extractor
    patches = extractor.norm(extractor.embed(channels_first(images) / 255).permute(0, 2, 3, 1))
    torch.testing.assert_close(evaluation.cam_features("value").permute(0, 2, 3, 1), patches)
    assert float(policy.attention(images)["value"].max()) == 1


def test_a_layer_without_positions_is_one_line():
    for layer, got in {
        "linear.0": r"an output of shape \(1, 256\)",
        "linear": "no output, since it did not run",
    }.items():
        with pytest.raises(
            ValueError, match=rf"must give a feature map \(B, C, h, w\), got {got}.*set `cam_layer`"
        ) as e:
            _ = policy_of("compact", cam_layer=layer).cam_grid
        assert "\n" not in str(e.value)


def test_a_layer_that_runs_twice_is_one_line():
    class Twice(Convolutions):
        def forward(self, images):
            return self.last(self.last(torch.relu(self.first(images)))).mean(dim=(2, 3))

    with pytest.raises(ValueError, match="2 outputs, since it ran 2 times in one forward pass"):
        policy_of(Twice).attention(frames())


@pytest.mark.parametrize("encoder", [Convolutions, InPlace, Tanh])
def test_maps_leave_nothing_behind_also_after_an_exception(encoder, monkeypatch):
    policy = policy_of(encoder)
    policy.train()
    policy.features_extractor.eval()
    before = state_of(policy)
    policy.attention(frames())
    explain(policy, frames(), "layercam", "value")
    assert state_of(policy) == before
    monkeypatch.setattr(policy.value_net, "forward", lambda _: 1 / 0)
    for maps in (policy.attention, explain):
        with pytest.raises(ZeroDivisionError):
            maps(policy, frames(), "gradcam", "value") if maps is explain else maps(frames())
        assert state_of(policy) == before


def test_stock_ppo_trains_a_policy_with_a_subclass():
    model = PPO("CnnPolicy", CountingEnv(size=40), n_steps=4, batch_size=8)
    assert model.learn(8).num_timesteps == 8
    ours = CAMALPPO("CamPolicy", CountingEnv(), n_steps=4, batch_size=8, policy_kwargs={"encoder": Tanh})
    assert np.isfinite(ours.learn(16).logger.name_to_value["camal/loss"])


def test_normalized_maps_are_those_of_the_evaluation():
    policy = policy_of(Tanh)
    evaluation = policy.evaluate_for_attention(channels_first(frames()))
    raw = policy.attention_maps(evaluation)
    for target, cam in policy.attention(frames()).items():
        torch.testing.assert_close(cam, normalize_cam(raw[target].detach()))

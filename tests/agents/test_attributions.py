import importlib.util
import os

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents import CamPolicy
from camal_rl.agents.attributions import EXPLAIN_METHODS, explain, policy_scores, preferred_actions
from camal_rl.attention import CAM_METHODS, class_activation_map, normalize_cam, upsample_cam
from camal_rl.metrics import fill_images
from camal_rl.saliency.attribution import CAPTUM_METHODS, captum_map
from camal_rl.saliency.guided_backprop import guided_backprop_map

needs_captum = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None and "CI" not in os.environ, reason="needs camal-rl[explain]"
)
METHODS = [pytest.param(m, marks=needs_captum) if m in CAPTUM_METHODS else m for m in EXPLAIN_METHODS]
SIZE = 16


def policy_of(policy_class=CamPolicy, actions=None, size=SIZE, **kwargs):
    torch.manual_seed(0)
    space = spaces.Box(0, 255, (3, size, size), np.uint8)
    made = policy_class(space, actions or spaces.Discrete(5), lambda _: 1e-3, **kwargs)
    nn.init.normal_(made.action_net.weight, std=0.3)
    return made


@pytest.fixture
def policy():
    return policy_of(encoder="compact")


def frames(count=3, size=SIZE):
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def channels_first(images):
    return torch.as_tensor(images).permute(0, 3, 1, 2)


class OwnEncoder(BaseFeaturesExtractor):
    """Functional ReLU, batch normalization behind the last convolution, and a switch that breaks it."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 6)
        self.first = nn.Conv2d(3, 4, 5, stride=4)
        self.last = nn.Conv2d(4, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.activation = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.calls_left = -1

    def forward(self, images):
        self.calls_left -= 1
        out = self.activation(self.norm(self.last(torch.relu(self.first(images)))))
        if self.calls_left == 0:
            raise RuntimeError("broken encoder")
        return self.pool(out).flatten(1)


def state_of(policy):
    return {
        "training": [module.training for module in policy.modules()],
        "hooks": [(len(module._forward_hooks), len(module._backward_hooks)) for module in policy.modules()],
        "grad": [parameter.grad for parameter in policy.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in policy.parameters()],
        "values": {name: tensor.tolist() for name, tensor in policy.state_dict().items()},
    }


def test_scores_are_the_value_and_the_log_probability_of_given_actions(policy):
    images, actions = channels_first(frames()), torch.tensor([4, 0, 2])
    scores = policy_scores(policy)
    values, log_prob, _ = policy.evaluate_actions(images, actions)
    assert torch.equal(scores["value"](images, actions), values.flatten())
    assert torch.equal(scores["policy"](images, actions), log_prob)
    # Floating point images in 0 .. 255 are the same images, and gradients reach them.
    real = images.float().requires_grad_()
    for score in scores.values():
        torch.testing.assert_close(score(real, actions), score(images, actions))
        assert bool(torch.autograd.grad(score(real, actions).sum(), real)[0].any())
    assert preferred_actions(policy, images).tolist() == policy.predict(frames(), deterministic=True)[0].tolist()


@needs_captum
@pytest.mark.parametrize("encoder", ["nature", "compact"])
@pytest.mark.parametrize("target", ["value", "policy"])
def test_integrated_gradients_are_complete(target, encoder):
    from captum.attr import IntegratedGradients

    policy = policy_of(encoder=encoder, size=40)
    real = channels_first(frames(size=40)).float()
    actions = preferred_actions(policy, real)
    score, base = policy_scores(policy)[target], fill_images(real, "mean")
    signed = IntegratedGradients(score).attribute(real, base, additional_forward_args=(actions,), n_steps=200)
    difference = (score(real, actions) - score(base, actions)).detach()
    total = signed.sum(dim=(1, 2, 3))
    assert float(difference.abs().min()) > 1e-3
    torch.testing.assert_close(total.float(), difference, rtol=0.01, atol=1e-4)
    # Our map is the magnitude of these attributions.
    ours = captum_map("integrated_gradients", score, real, (actions,), steps=200)
    torch.testing.assert_close(ours, signed.abs().sum(dim=1).detach().float(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ["value", "policy"])
def test_every_method_gives_maps_of_the_image_and_leaves_nothing_behind(policy, method, target):
    policy.train()
    policy.features_extractor.eval()
    before, images = state_of(policy), frames()
    copy = images.copy()
    with torch.no_grad():
        maps = explain(policy, images, method, target)
    assert maps.shape == (3, SIZE, SIZE)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert float(maps.min()) >= 0
    assert torch.equal(maps.amax(dim=(1, 2)), torch.ones(3))
    assert state_of(policy) == before
    assert np.array_equal(images, copy)
    # Layouts and chunks make no difference; floats in 0 .. 255 are the same images.
    whole = explain(policy, channels_first(images).float(), method, target)
    single = explain(policy, images, method, target, chunk_size=2)
    torch.testing.assert_close(whole, maps, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(single, maps, rtol=1e-3, atol=1e-3)


def test_the_list_of_methods_is_complete():
    assert (*CAM_METHODS, *CAPTUM_METHODS, "guided_backprop", "perturbation") == EXPLAIN_METHODS


def test_methods_are_not_aliases_of_each_other(policy):
    methods = [m for m in EXPLAIN_METHODS if m not in CAPTUM_METHODS]
    maps = [explain(policy, frames(1), method, "value").flatten() for method in methods]
    for index, one in enumerate(maps):
        assert all((one - other).abs().max() > 0.01 for other in maps[:index])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", [1, 2])
def test_nothing_is_left_behind_after_an_exception(method, call):
    policy = policy_of(encoder=OwnEncoder, size=32)
    policy.train()
    before = state_of(policy)
    policy.features_extractor.calls_left = call
    with pytest.raises(RuntimeError, match="broken encoder"):
        explain(policy, frames(size=32), method, "policy", chunk_size=1)
    assert state_of(policy) == before


@pytest.mark.parametrize("layer", ["last", "first"])
def test_hooks_are_gone_after_an_exception(layer):
    policy = policy_of(ActorCriticCnnPolicy, size=32, features_extractor_class=OwnEncoder)
    before = state_of(policy)
    policy.features_extractor.calls_left = 2  # the first call chooses the preferred action
    with pytest.raises(RuntimeError, match="broken encoder"):
        explain(policy, frames(size=32), "gradcam", "policy", layer=layer)
    assert state_of(policy) == before


@pytest.mark.parametrize("method", CAM_METHODS)
@pytest.mark.parametrize("target", ["value", "policy"])
def test_a_stock_policy_has_the_maps_of_a_cam_policy_with_its_weights(method, target):
    ours, stock = policy_of(encoder="nature", size=64), policy_of(ActorCriticCnnPolicy, size=64)
    stock.load_state_dict(ours.state_dict())
    images = frames(size=64)
    # The closed form against autograd through hooks.
    expected, found = explain(ours, images, method, target), explain(stock, images, method, target)
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("encoder", ["impala", "compact"])
def test_last_layer_by_name_is_the_default(encoder):
    policy = policy_of(encoder=encoder)
    name = f"cnn.{len(policy.features_extractor.cnn) - 1}"
    named = explain(policy, frames(), "hirescam", "value", layer=name)
    torch.testing.assert_close(named, explain(policy, frames(), "hirescam", "value"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("rectify", ["relu", "absolute"])
def test_an_earlier_layer_against_autograd_by_hand(policy, depth, rectify):
    images = channels_first(frames())
    extractor = policy.features_extractor
    features = extractor.cnn[:depth](images.float() / 255)
    value = policy.value_net(extractor.linear(extractor.cnn[depth:](features).flatten(1))).flatten()
    cam = class_activation_map(features, value, "hirescam", rectify=rectify)
    expected = normalize_cam(upsample_cam(cam, (SIZE, SIZE)))
    with torch.no_grad():
        found = explain(policy, images, "hirescam", "value", layer=f"cnn.{depth - 1}", rectify=rectify)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_last_layer_of_an_unknown_encoder_is_what_follows_its_last_convolution_on_the_same_grid():
    policy = policy_of(ActorCriticCnnPolicy, size=32, features_extractor_class=OwnEncoder)
    maps = {
        name: explain(policy, frames(size=32), "normgrad", "value", layer=name)
        for name in ("last", "activation", "norm")
    }
    assert torch.equal(maps["last"], maps["activation"])
    assert not torch.allclose(maps["last"], maps["norm"])


def test_separate_encoders_are_explained_each_on_its_own():
    policy, images = policy_of(ActorCriticCnnPolicy, size=64, share_features_extractor=False), frames(size=64)
    before = {target: explain(policy, images, "hirescam", target) for target in ("value", "policy")}
    with torch.no_grad():
        policy.pi_features_extractor.cnn[0].weight.mul_(-1)
    assert torch.equal(explain(policy, images, "hirescam", "value"), before["value"])
    assert not torch.allclose(explain(policy, images, "hirescam", "policy"), before["policy"])


def test_frozen_parameters_can_be_explained():
    policy, images = policy_of(ActorCriticCnnPolicy, size=64), frames(size=64)
    expected = explain(policy, images, "hirescam", "value", layer="cnn.0")
    policy.requires_grad_(False)
    assert torch.equal(explain(policy, images, "hirescam", "value", layer="cnn.0"), expected)


@pytest.mark.parametrize("target", ["value", "policy"])
def test_perturbation_by_hand_at_two_corners(policy, target):
    # On 16x16 images windows are 2x2, one pixel apart: a pixel at a corner lies under a single window.
    images = channels_first(frames(1)).float()
    effects = []
    for corner in (slice(0, 2), slice(-2, None)):
        covered = images.clone()
        covered[:, :, corner, corner] = images.mean(dim=(2, 3), keepdim=True)
        with torch.no_grad():
            if target == "value":
                effects.append((policy.predict_values(images) - policy.predict_values(covered)).abs())
            else:
                p, q = (policy.get_distribution(each).distribution.probs for each in (images, covered))
                effects.append((p * (p / q).log()).sum())
    found = explain(policy, images, "perturbation", target)[0]
    assert float(found[0, 0] / found[-1, -1]) == pytest.approx(float(effects[0] / effects[1]), rel=0.01)


@needs_captum
def test_continuous_actions_are_explained_and_several_discrete_ones_except_by_their_divergence():
    policy = policy_of(CamPolicy, spaces.Box(-1, 1, (2,)), encoder="compact")
    assert explain(policy, frames(1), "occlusion", "policy").max() == 1
    assert explain(policy, frames(1), "perturbation", "value").max() == 1
    assert explain(policy, frames(1), "perturbation", "policy").max() == 1
    several = policy_of(CamPolicy, spaces.MultiDiscrete([3, 2]), encoder="compact")
    with pytest.raises(ValueError, match="need Discrete or continuous actions, got MultiDiscrete"):
        explain(several, frames(1), "perturbation", "policy")


def test_guided_backprop_sees_the_functional_relus_of_our_encoders(policy):
    images = channels_first(frames())
    extractor = policy.features_extractor
    modules = nn.Sequential(extractor.cnn, nn.Flatten(), extractor.linear, policy.value_net)
    assert sum(isinstance(module, nn.ReLU) for module in modules.modules()) == 4
    expected = normalize_cam(guided_backprop_map(lambda x: modules(x / 255).flatten(), images))
    torch.testing.assert_close(explain(policy, images, "guided_backprop", "value"), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "saliency"}, "unknown method 'saliency'; choose one of gradcam"),
        ({"target": "q"}, "unknown target 'q'; choose one of value, policy"),
        ({"layer": "cnn.9"}, "no layer 'cnn.9' in CompactEncoder; its layers: cnn, cnn.0"),
        ({"layer": "linear"}, r"must give a feature map \(B, C, h, w\), got no output"),
        ({"layer": "linear.0"}, r"must give a feature map \(B, C, h, w\), got an output of shape \(2, 256\)"),
        ({"rectify": "square"}, "unknown rectification 'square'"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"images": frames()[:, ::2]}, r"expected images of shape \(B, 3, 16, 16\), got \(3, 8, 16, 3\)"),
        ({"images": channels_first(frames()).float() / 255}, "has uint8 images in 0 .. 255, got torch.float32 in 0"),
        ({"images": frames()[:0]}, "one or more images"),
        ({"method": "perturbation", "layer": "cnn.0"}, "perturbation has no options layer and rectify"),
        ({"method": "guided_backprop", "rectify": "absolute"}, "guided_backprop has no options layer and rectify"),
    ],
)
def test_bad_input(policy, change, match):
    before = state_of(policy)
    with pytest.raises(ValueError, match=match):
        explain(**{"policy": policy, "images": frames(2), "method": "gradcam", **change})
    assert state_of(policy) == before


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_maps_on_cuda_equal_maps_on_cpu(policy, method):
    on_cpu = explain(policy, frames(), method, "value")
    on_gpu = explain(policy.to("cuda"), frames(), method, "value")
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-2, atol=1e-2)

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents import CamPolicy
from camal_rl.agents.cam_encoder import resolve_precision
from camal_rl.agents.encoders import SHIPPED_ENCODERS, CompactEncoder
from camal_rl.attention import CAM_METHODS, class_activation_map

IMAGES = spaces.Box(0, 255, (3, 64, 64), np.uint8)


def policy_of(encoder, actions=None, **kwargs):
    torch.manual_seed(0)
    made = CamPolicy(IMAGES, actions or spaces.Discrete(5), lambda _: 1e-3, encoder=encoder, **kwargs)
    nn.init.normal_(made.action_net.weight, std=0.3)  # the stock start, std 0.01, is too even to compare maps
    return made


def frames(count=6, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def channels_first(images):
    return torch.as_tensor(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("encoder", "grid"), [("nature", (4, 4)), ("impala", (8, 8)), ("compact", (16, 16)), ("patch", (8, 8))]
)
def test_cam_grids(encoder, grid):
    policy = policy_of(encoder)
    assert policy.cam_grid == grid
    maps = policy.attention(frames(seed=2))
    for cam in maps.values():
        assert cam.shape == (6, *grid)
        assert cam.min() >= 0
    # Evidence for an untrained score may be nowhere (a zero map); for the value of these frames every policy has some.
    assert maps["value"].amax(dim=(1, 2)) == pytest.approx([1] * 6)


@pytest.mark.parametrize("encoder", SHIPPED_ENCODERS)
@pytest.mark.parametrize("method", CAM_METHODS)
@pytest.mark.parametrize("num_attention_frames", [None, 4])
def test_closed_form_equals_double_backward_in_values_and_parameter_gradients(
    encoder, method, num_attention_frames, monkeypatch
):
    monkeypatch.setattr(
        "camal_rl.agents.attentive_policy.preprocess_obs", lambda images, *_, **__: images.double() / 255
    )
    policy = policy_of(encoder).double()
    observations, actions = channels_first(frames()), torch.tensor([0, 4, 2, 3, 1, 0])
    weights = torch.rand(6, *policy.cam_grid, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def gradients(maps):
        loss = sum((cam * weights[:num_attention_frames]).sum() for cam in maps.values())
        return torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True, allow_unused=True)

    evaluation = policy.evaluate_for_attention(observations, actions, num_attention_frames)
    rectification = {"value": "absolute", "policy": "relu"}
    closed = policy.attention_maps(evaluation, method=method, rectification=rectification, create_graph=True)
    features = evaluation.encoded["value"].cam_features
    some = slice(num_attention_frames)
    by_autograd = {
        "value": class_activation_map(features, evaluation.value[some], method, True, "absolute"),
        "policy": class_activation_map(features, evaluation.log_prob[some], method, True, "relu"),
    }
    assert min(cam.max() for cam in closed.values()) > 0
    for target, cam in closed.items():
        torch.testing.assert_close(cam, by_autograd[target], rtol=1e-6, atol=1e-9)
    for one, other in zip(gradients(closed), gradients(by_autograd), strict=True):
        one = torch.zeros(()) if one is None else one
        other = torch.zeros(()) if other is None else other
        torch.testing.assert_close(one, other.expand_as(one) if other.dim() == 0 else other, rtol=1e-6, atol=1e-9)


class NormalizedEncoder(CompactEncoder):
    """Its images do not go through one by one."""

    def __init__(self, observation_space, features_dim=16, precision="float32"):
        super().__init__(observation_space, features_dim, precision)
        self.cnn.append(torch.nn.BatchNorm2d(32)).append(torch.nn.ReLU())


@pytest.mark.parametrize("encoder", ["compact", NormalizedEncoder])
def test_maps_of_some_images_leave_the_evaluation_of_all_as_it_is(encoder):
    policy = policy_of(encoder).train()
    observations, actions = channels_first(frames()), torch.tensor([0, 1, 2, 3, 4, 0])
    every = policy.evaluate_for_attention(observations, actions)
    some = policy.evaluate_for_attention(observations, actions, num_attention_frames=2)
    torch.testing.assert_close(some.value, every.value)
    torch.testing.assert_close(some.log_prob, every.log_prob)
    maps, of_some = policy.attention_maps(every), policy.attention_maps(some)
    for target, cam in of_some.items():
        torch.testing.assert_close(cam, maps[target][:2], rtol=1e-4, atol=1e-6)


def test_evaluate_for_attention_is_evaluate_actions():
    policy = policy_of("compact")
    observations, actions = channels_first(frames()), torch.tensor([0, 1, 2, 3, 4, 0])
    evaluation = policy.evaluate_for_attention(observations, actions)
    values, log_prob, entropy = policy.evaluate_actions(observations, actions)
    assert torch.equal(evaluation.value, values.flatten())
    assert torch.equal(evaluation.log_prob, log_prob)
    assert torch.equal(evaluation.entropy, entropy)


def test_attention_leaves_nothing_behind():
    policy = policy_of("compact")
    policy.train()
    before = {name: parameter.clone() for name, parameter in policy.named_parameters()}
    policy.attention(frames())
    assert policy.training
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert all(torch.equal(before[name], parameter) for name, parameter in policy.named_parameters())


def test_attention_explains_the_action_it_is_asked_about():
    policy = policy_of("compact")
    one, other = (policy.attention(frames(), actions=torch.full((6,), action)) for action in (0, 1))
    assert torch.equal(one["value"], other["value"])
    assert not torch.allclose(one["policy"], other["policy"])


def test_attention_takes_both_image_layouts_and_refuses_others():
    policy = policy_of("compact")
    images = frames()
    assert torch.equal(policy.attention(images)["value"], policy.attention(channels_first(images))["value"])
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, 64, 64\), got \(6, 32, 64, 3\)"):
        policy.attention(images[:, ::2])


def test_heads_behind_a_hidden_layer_and_separate_encoders_use_autograd_or_their_own_features():
    deep = policy_of("compact", net_arch=[16])
    assert not deep.has_closed_form("value")
    separate = policy_of("compact", share_features_extractor=False)
    assert separate.has_closed_form("policy")
    for policy in (deep, separate):
        assert policy.attention(frames())["policy"].shape == (6, 16, 16)


class OwnEncoder(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, 8)
        self.first = nn.Conv2d(3, 4, 5, stride=4)
        self.last = nn.Conv2d(4, 8, 3)
        self.fail = False

    def forward(self, images):
        out = self.last(torch.relu(self.first(images)))
        if self.fail:
            raise RuntimeError("broken encoder")
        return torch.relu(out).mean(dim=(2, 3))


def test_an_encoder_of_your_own_uses_its_last_convolution_or_the_named_layer():
    assert policy_of(OwnEncoder).cam_grid == (13, 13)
    assert policy_of(OwnEncoder, cam_layer="first").cam_grid == (15, 15)
    with pytest.raises(ValueError, match="no CAM layer 'second' in OwnEncoder; its layers are: first, last"):
        _ = policy_of(OwnEncoder, cam_layer="second").cam_grid


def test_hooks_are_gone_after_an_exception():
    policy = policy_of(OwnEncoder)
    policy.features_extractor.fail = True
    with pytest.raises(RuntimeError, match="broken encoder"):
        policy.attention(frames())
    assert not policy.features_extractor.last._forward_hooks


def test_bfloat16_maps_are_close_to_float32_maps():
    exact, coarse = policy_of("compact"), policy_of("compact", precision="bfloat16")
    coarse.load_state_dict(exact.state_dict())
    ours, theirs = (policy.attention(frames())["value"] for policy in (coarse, exact))
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().mean() < 0.04


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"encoder": "natur"}, "unknown encoder 'natur'; did you mean 'nature'"),
        ({"encoder": "compact", "precision": "float16"}, "precision must be one of auto, float32, bfloat16"),
        ({"encoder": OwnEncoder, "precision": "bfloat16"}, "needs one of the encoders"),
    ],
)
def test_bad_encoders(kwargs, message):
    with pytest.raises(ValueError, match=message):
        policy_of(**kwargs)


def test_a_policy_saves_and_loads_by_itself(tmp_path):
    policy = policy_of("impala", precision="bfloat16")
    policy.save(tmp_path / "policy")
    loaded = CamPolicy.load(tmp_path / "policy")
    assert loaded.precision == "bfloat16"
    assert torch.equal(loaded.attention(frames())["policy"], policy.attention(frames())["policy"])


@pytest.mark.gpu
@pytest.mark.parametrize("encoder", SHIPPED_ENCODERS)
def test_maps_on_cuda_equal_maps_on_cpu(encoder):
    policy = policy_of(encoder)
    on_cpu = policy.attention(frames())
    on_gpu = policy.to("cuda").attention(frames())
    for target, cam in on_cpu.items():
        torch.testing.assert_close(on_gpu[target].cpu(), cam, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", CAM_METHODS)
def test_maps_of_a_bfloat16_encoder_are_float32_and_close_to_those_of_float32(method):
    maps = {
        precision: policy_of("compact", precision=precision).attention(frames(), method=method)
        for precision in ("float32", "bfloat16")
    }
    for target, cam in maps["bfloat16"].items():
        assert cam.dtype == torch.float32
        similarity = torch.nn.functional.cosine_similarity(cam.flatten(1), maps["float32"][target].flatten(1))
        assert similarity.min() > 0.95


@pytest.mark.parametrize(("bfloat16", "amx"), [(True, False), (False, True), (False, False)])
def test_auto_is_bfloat16_where_the_cpu_computes_in_it(monkeypatch, bfloat16, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    expected = "bfloat16" if bfloat16 or amx else "float32"
    assert resolve_precision("auto", torch.device("cpu")) == expected
    images = channels_first(frames())
    automatic, named = (
        policy_of("compact", precision=precision)._encode_all(images) for precision in ("auto", expected)
    )
    assert automatic["value"].cam_features.dtype == getattr(torch, expected)
    assert torch.equal(automatic["value"].features, named["value"].features)


def test_a_named_precision_is_taken_at_its_word():
    for name in ("float32", "bfloat16"):
        assert resolve_precision(name, torch.device("cpu")) == name


@pytest.mark.parametrize("shape", [(2, 8, 12, 10), (1, 3, 2, 2)])
def test_pooling_without_gradients_is_pytorchs(shape):
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    pool = next(module for module in policy_of("impala").modules() if isinstance(module, nn.MaxPool2d))
    with torch.no_grad():
        assert torch.equal(pool(x), nn.functional.max_pool2d(x, 3, 2, 1))
        odd = x[..., :-1]
        assert torch.equal(pool(odd), nn.functional.max_pool2d(odd, 3, 2, 1))
    assert torch.equal(pool(x), nn.functional.max_pool2d(x, 3, 2, 1))


@pytest.mark.gpu
def test_cuda_evaluates_and_attends_as_the_cpu_does():
    policy = policy_of("compact")
    images, actions = channels_first(frames()), torch.arange(6) % 5
    here = policy.evaluate_for_attention(images, actions)
    maps = policy.attention(frames(), actions)
    policy.to("cuda")
    there = policy.evaluate_for_attention(images.cuda(), actions.cuda())
    assert torch.allclose(here.value, there.value.cpu(), atol=1e-4)
    assert torch.allclose(here.log_prob, there.log_prob.cpu(), atol=1e-4)
    for target, cam in policy.attention(frames(), actions.cuda()).items():
        assert torch.allclose(maps[target], cam.cpu(), atol=1e-3)

"""The closed form against automatic differentiation: maps and every parameter gradient."""

import pytest
import torch
from torch.nn import functional

from camal_rl.attention import CAM_METHODS, RECTIFICATIONS, class_activation_map, normalize_cam
from camal_rl.closed_form import (
    closed_form_cam,
    closed_form_cams,
    log_prob_score_gradient,
    value_score_gradient,
)
from camal_rl.losses import camal_loss
from tests.method.watched_operations import LargeTensors, NoSync

BATCH, CHANNELS, HEIGHT, WIDTH, UNITS, ACTIONS = 6, 3, 4, 5, 8, 4
ACTION = torch.tensor([0, 3, 1, 1, 2, 0])


class Network:
    """Convolution -> ReLU (the CAM layer) -> Linear -> ReLU -> value and policy heads."""

    def __init__(self, seed, dtype=torch.float64, device="cpu"):
        generator = torch.Generator().manual_seed(seed)

        def make(*shape):
            return torch.randn(*shape, generator=generator, dtype=dtype).to(device).requires_grad_()

        self.images = make(BATCH, 2, HEIGHT, WIDTH).detach()
        self.target = (torch.rand(BATCH, HEIGHT, WIDTH, generator=generator) > 0.7).to(device, dtype)
        self.target[0], self.target[1] = 0, 1
        self.kernel = make(CHANNELS, 2, 3, 3)
        self.weight = make(UNITS, CHANNELS * HEIGHT * WIDTH)
        self.bias = make(UNITS)
        self.value_weight = make(1, UNITS)
        self.policy_weight = make(ACTIONS, UNITS)
        self.policy_bias = make(ACTIONS)
        self.action = ACTION.to(device)

    def parameters(self):
        return [self.kernel, self.weight, self.bias, self.value_weight, self.policy_weight, self.policy_bias]

    def forward(self):
        features = functional.conv2d(self.images, self.kernel, padding=1).relu()
        before = functional.linear(features.flatten(1), self.weight, self.bias)
        logits = functional.linear(before.relu(), self.policy_weight, self.policy_bias)
        value = (before.relu() @ self.value_weight.T).squeeze(1)
        return features, before, value, logits

    def autograd_cam(self, target, method, rectify):
        features, _, value, logits = self.forward()
        log_prob = logits.log_softmax(dim=1).gather(1, self.action[:, None]).squeeze(1)
        return class_activation_map(features, value if target == "value" else log_prob, method, True, rectify)

    def closed_cam(self, target, method, rectify):
        features, before, _, logits = self.forward()
        if target == "value":
            slope = value_score_gradient(self.value_weight)
        else:
            slope = log_prob_score_gradient(self.policy_weight, logits.softmax(dim=1), self.action)
        weight = self.weight.view(UNITS, CHANNELS, HEIGHT, WIDTH)
        return closed_form_cam(features, weight, before > 0, slope, method, rectify)

    def gradients(self, cam):
        loss = camal_loss(normalize_cam(cam), self.target).total
        found = torch.autograd.grad(loss, self.parameters(), allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters(), found, strict=True)]


@pytest.mark.parametrize("rectify", RECTIFICATIONS)
@pytest.mark.parametrize("target", ["value", "policy"])
@pytest.mark.parametrize("method", CAM_METHODS)
def test_equals_double_backward(method, target, rectify):
    network = Network(seed=0)
    expected = network.autograd_cam(target, method, rectify)
    found = network.closed_cam(target, method, rectify)
    assert bool((expected > 0).any())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    pairs = list(zip(network.gradients(found), network.gradients(expected), strict=True))
    assert bool((pairs[1][1] != 0).any()), "the hidden weight must receive a gradient"
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", CAM_METHODS)
def test_several_scores_at_once_equal_one_by_one(method):
    network = Network(seed=2)
    features, before, _, logits = network.forward()
    slopes = [
        value_score_gradient(network.value_weight),
        log_prob_score_gradient(network.policy_weight, logits.softmax(dim=1), network.action),
    ]
    weight = network.weight.view(UNITS, CHANNELS, HEIGHT, WIDTH)
    together = closed_form_cams(features, weight, before > 0, slopes, method, ["absolute", "relu"])
    assert len(together) == 2
    singles = [network.closed_cam("value", method, "absolute"), network.closed_cam("policy", method, "relu")]
    torch.testing.assert_close(together, singles)
    found, expected = network.gradients(sum(together)), network.gradients(sum(singles))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_features_in_low_precision_give_nearly_the_same_map_in_full_precision():
    torch.manual_seed(0)
    features, weight = torch.rand(4, 3, 4, 5), torch.randn(8, 3, 4, 5)
    active, slope = torch.rand(4, 8) > 0.5, torch.randn(8)
    exact = closed_form_cam(features, weight, active, slope, rectify="absolute")
    rough = closed_form_cam(features.bfloat16(), weight, active, slope, rectify="absolute")
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.02 * exact.max().item())


@pytest.mark.parametrize("rectify", RECTIFICATIONS)
@pytest.mark.parametrize("method", CAM_METHODS)
def test_derivative(method, rectify):
    torch.manual_seed(1)
    features = torch.rand(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    active = torch.tensor([[True, False, True, True], [True, True, True, False]])
    assert torch.autograd.gradcheck(
        lambda f, w, s: closed_form_cam(f, w, active, s, method, rectify), (features, weight, slope)
    )


def test_map_by_hand():
    # One active unit of two; its weight's channel means are 2 and -1, its score gradient 3: alpha = (6, -3).
    features = torch.tensor([[[[1.0, 2.0]], [[1.0, 5.0]]]])
    weight = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]], [[[9.0, 9.0]], [[9.0, 9.0]]]])
    active = torch.tensor([[True, False]])
    cam = closed_form_cam(features, weight, active, torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(cam, torch.tensor([[[3.0, 0.0]]]))
    cam = closed_form_cam(features, weight, active, torch.tensor([3.0, 4.0]), "hirescam", "absolute")
    torch.testing.assert_close(cam, torch.tensor([[[3.0, 12.0]]]))


def test_log_prob_gradient_by_hand():
    weight = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    slope = log_prob_score_gradient(weight, torch.tensor([[0.25, 0.75]]), torch.tensor([0]))
    torch.testing.assert_close(slope, torch.tensor([[-1.5, 2.25]]))


def test_the_gradient_of_a_log_probability_never_waits_for_the_device():
    with NoSync():
        log_prob_score_gradient(torch.rand(4, 3), torch.rand(2, 4), torch.tensor([0, 3]))


def test_gradcam_makes_nothing_of_the_features_size():
    features, weight = torch.rand(32, 3, 4, 4), torch.rand(8, 3, 4, 4)
    active, slope = torch.ones(32, 8, dtype=torch.bool), torch.rand(8)
    with LargeTensors(features.numel()) as large:
        closed_form_cam(features, weight, active, slope)
        assert not large.made_by
        closed_form_cam(features, weight, active, slope, "hirescam")
        assert large.made_by


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"features": torch.rand(2, 12)}, ValueError, "B, C, h, w"),
        ({"hidden_weight": torch.rand(5, 12)}, ValueError, "view the linear layer's weight"),
        ({"active": torch.ones(2, 5)}, TypeError, "must be boolean"),
        ({"active": torch.ones(2, 4, dtype=torch.bool)}, ValueError, r"\(2, 5\)"),
        ({"score_gradient": torch.rand(2)}, ValueError, "score_gradient must be"),
        ({"method": "camm"}, ValueError, "unknown CAM method 'camm'"),
    ],
)
def test_bad_input(change, error, match):
    good = {
        "features": torch.rand(2, 3, 2, 2),
        "hidden_weight": torch.rand(5, 3, 2, 2),
        "active": torch.ones(2, 5, dtype=torch.bool),
        "score_gradient": torch.rand(2, 5),
    }
    closed_form_cam(**good)
    with pytest.raises(error, match=match):
        closed_form_cam(**{**good, **change})


def test_bad_score_gradients():
    with pytest.raises(ValueError, match=r"must be \(1, U\)"):
        value_score_gradient(torch.rand(2, 5))
    weight, probabilities = torch.rand(3, 5), torch.full((2, 3), 1 / 3)
    with pytest.raises(TypeError, match="integers"):
        log_prob_score_gradient(weight, probabilities, torch.zeros(2))
    with pytest.raises(ValueError, match="actions must be"):
        log_prob_score_gradient(weight, probabilities, torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="same number of actions"):
        log_prob_score_gradient(weight, torch.full((2, 4), 0.25), torch.zeros(2, dtype=torch.int64))


@pytest.mark.gpu
@pytest.mark.parametrize("method", CAM_METHODS)
def test_cpu_equals_cuda(method):
    here, there = Network(0), Network(0, device="cuda")
    found, expected = there.closed_cam("policy", method, "relu"), here.closed_cam("policy", method, "relu")
    torch.testing.assert_close(found.cpu(), expected)
    for ours, theirs in zip(there.gradients(found), here.gradients(expected), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs)

import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map
from camal_rl.supervised.cam_classifier import CamClassifier, class_score
from camal_rl.supervised.config import CamalConfig
from tests.supervised.fakes import DeepHeadNet, PooledNet, TokenNet

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1, 0, 1])


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def fixed_network():
    """Two 2x2 input channels are the features; W = [[1, 2], [-1, 3]]."""
    model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    model[3].weight.data = torch.tensor([[1.0, 2.0], [-1.0, 3.0]])
    return model


def test_a_fixed_network_has_the_map_worked_out_by_hand():
    images = torch.tensor([[[[1.0, 0.0], [2.0, 0.0]], [[0.0, 4.0], [1.0, 0.0]]]])
    cams = CamClassifier(fixed_network(), images, "0")
    cam, logits = cams.maps(images, torch.tensor([1]), CamalConfig())
    # d logit_1 / d A = (-1, 3) / 4, so the map is relu(-A_0 + 3 A_1) / 4.
    assert torch.allclose(cam, torch.tensor([[[0.0, 3.0], [0.25, 0.0]]]))
    absolute, _ = cams.maps(images, torch.tensor([1]), CamalConfig(rectification="absolute"))
    assert torch.allclose(absolute, torch.tensor([[[0.25, 3.0], [0.25, 0.0]]]))
    # The channels' means are 3/4 and 5/4.
    bias = cams.model[3].bias.detach()
    assert torch.allclose(logits, torch.tensor([[3.25, 3.0]]) + bias)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "gradcam++"])
@pytest.mark.parametrize("score", ["logit", "log_probability"])
@pytest.mark.parametrize("target", ["true", "predicted"])
def test_the_closed_form_equals_autograd_in_values_and_parameter_gradients(method, score, target):
    camal = CamalConfig(method=method, score=score, target=target, rectification="absolute")
    model = PooledNet().double()
    images = IMAGES.double()
    cams = CamClassifier(model, images)
    logits, features = cams.forward(images)
    fast = cams.training_map(features, logits, LABELS, camal)
    assert cams.closed_form is True
    classes = LABELS if target == "true" else logits.argmax(dim=1)
    slow = class_activation_map(features, class_score(logits, classes, score), method, True, "absolute").float()
    assert torch.allclose(fast, slow, atol=1e-6)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(fast.square().sum(), parameters, retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad(slow.square().sum(), parameters, allow_unused=True)
    for left, right in zip(ours, theirs, strict=True):
        left, right = (torch.zeros(1) if each is None else each for each in (left, right))
        assert torch.allclose(left, right, atol=1e-9, rtol=1e-5)


@pytest.mark.parametrize("model", [DeepHeadNet(), PooledNet(dropout=0.5), TokenNet()])
def test_other_networks_fall_back_to_autograd(model):
    cams = CamClassifier(model, IMAGES)
    logits, features = cams.forward(IMAGES)
    cam = cams.training_map(features, logits, LABELS, CamalConfig())
    assert cams.closed_form is False
    assert cam.requires_grad
    assert torch.equal(cam, class_activation_map(features, class_score(logits, LABELS, "logit"), "gradcam", True))


def test_tokens_become_a_map_row_by_row_and_the_prediction_stays():
    model = TokenNet()
    cams = CamClassifier(model, IMAGES)
    assert cams.grid == (4, 4)
    with torch.no_grad():
        logits, features = cams.forward(IMAGES)
        plain = model(IMAGES)
        embedded = model.patches(model.embed(IMAGES).permute(0, 2, 3, 1))
    assert torch.equal(logits, plain)
    assert torch.allclose(features.permute(0, 2, 3, 1), embedded, atol=1e-6)


def test_a_grid_that_is_no_square_must_be_named():
    model = TokenNet()
    wide = torch.rand(2, 3, 8, 16)
    assert CamClassifier(model, wide, token_grid=(2, 4)).grid == (2, 4)
    with pytest.raises(ValueError, match="gives 9 tokens, not 3 prefix tokens"):
        CamClassifier(model, wide, token_grid=(2, 4), prefix_tokens=3)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("featurs", r"unknown CAM layer 'featurs'; did you mean 'features'\? .*features \(6, 4, 4\)"),
        ("head", r"layer 'head' must give a feature map \(B, C, h, w\) or tokens .*got shape \(5, 2\)"),
    ],
)
def test_a_wrong_layer_is_one_line(layer, message):
    with pytest.raises(ValueError, match=message) as error:
        CamClassifier(PooledNet(), IMAGES, layer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("layer", "what"), [("unused", "none at all"), ("last", "zero everywhere")])
def test_a_score_that_does_not_depend_on_the_layer_is_one_line(layer, what):
    with pytest.raises(ValueError, match=f"the score does not depend on layer {layer!r}: its gradient there is {what}"):
        CamClassifier(TokenNet(), IMAGES, layer)


def test_a_model_that_is_only_looked_at_may_have_zero_maps():
    cam, _ = CamClassifier(TokenNet(), IMAGES, "last", strict=False).maps(IMAGES, LABELS, CamalConfig())
    assert not cam.any()


def test_a_model_without_a_layer_of_its_own_lists_the_candidates():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"give the name of the CAM layer, .*: 0 \(4, 14, 14\)$"):
        CamClassifier(model, IMAGES)


def test_hooks_are_gone_also_after_an_exception():
    model = PooledNet()
    cams = CamClassifier(model, IMAGES)
    assert hooks(model) == 0
    with cams.capture():
        assert hooks(model) == 1
    assert hooks(model) == 0
    with pytest.raises(RuntimeError):
        cams.forward(torch.rand(1, 4, 16, 16))
    assert hooks(model) == 0


def test_modes_statistics_and_gradients_stay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cams = CamClassifier(model, IMAGES, "0")
    cams.maps(IMAGES, LABELS, CamalConfig())
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_frozen_backbone_still_has_maps():
    model = PooledNet()
    model.features.requires_grad_(False)
    cam, _ = CamClassifier(model, IMAGES).maps(IMAGES, LABELS, CamalConfig(rectification="absolute"))
    assert cam.shape == (5, 4, 4)
    assert bool((cam.amax(dim=(1, 2)) > 0).all())

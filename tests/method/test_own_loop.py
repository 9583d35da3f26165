"""What the page "the loss in your own loop" says to watch, each point tried."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from camal_rl.attention import class_activation_map, normalize_cam, zero_maps
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.closed_form import closed_form_cam
from camal_rl.layer_capture import FeatureLayout, captured
from camal_rl.training_modes import evaluating

CONFIG = CamalConfig(weight=0.5, targets=("value",), value_rectification="absolute")
CLASSES = torch.tensor([0, 1, 2, 3])
MASKS = torch.zeros(4, 4, 4, dtype=torch.uint8)
MASKS[:, 1:3, 1:3] = 255


def images(size=16):
    return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """Two convolutions, the second the CAM layer, and a head of two linear layers."""

    def __init__(self, head=None, last=()):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), *last)
        self.head = head or nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, images):
        features = self.encoder(images)
        return features, self.head(features)


def chosen(logits):
    return logits.gather(1, CLASSES[:, None])[:, 0].float()


def loss_of(features, logits, masks=MASKS):
    cam = class_activation_map(features, chosen(logits), CONFIG.method, True, CONFIG.value_rectification)
    return functional.cross_entropy(logits.float(), CLASSES) + camal_term({"value": cam}, masks, CONFIG).loss


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def assert_close(found, expected, tolerance=1e-5):
    largest = max(float(each.abs().max()) for each in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * largest)


# Operations in place ------------------------------------------------------------------------------------------------


def test_an_operation_in_place_after_the_layer_changes_the_map_silently_and_a_copy_prevents_it():
    def pooled(inplace):
        return nn.Sequential(nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    network, in_place = Network(pooled(False)), Network(pooled(True))
    in_place.load_state_dict(network.state_dict())
    expected = class_activation_map(*scored(network))
    overwritten = class_activation_map(*scored(in_place))
    assert not torch.allclose(overwritten, expected)
    features = in_place.encoder(images())
    torch.testing.assert_close(class_activation_map(features, chosen(in_place.head(features.clone()))), expected)
    with captured(in_place.encoder, FeatureLayout("encoder")) as found:
        _, logits = in_place(images())
    torch.testing.assert_close(class_activation_map(found[0], chosen(logits)), expected)


def scored(network):
    features, logits = network(images())
    return features, chosen(logits)


def test_an_operation_in_place_after_the_score_is_refused():
    features, logits = Network(last=[nn.ReLU()])(images())
    features += 1
    with pytest.raises(ValueError, match="does not depend on features"):
        loss_of(features, logits)


# Normalization ------------------------------------------------------------------------------------------------------


def test_batch_normalization_above_the_layer_makes_maps_of_noise_in_training_mode():
    head = nn.Sequential(nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    network = Network(head)
    features, value = network(images())
    statistics = head[0].running_mean.clone()
    largest = class_activation_map(features, value[:, 0], rectify="absolute").amax()
    with evaluating(head):
        value = head(features)
    cam = class_activation_map(features, value[:, 0], create_graph=True, rectify="absolute")
    assert largest < 1e-5 * cam.amax()
    assert not zero_maps(cam.detach()).any()
    assert head.training
    assert torch.equal(head[0].running_mean, statistics)
    camal_term({"value": cam}, MASKS, CONFIG).loss.backward()
    assert network.encoder[0].weight.grad.abs().sum() > 0


def test_batch_normalization_above_the_layer_mixes_images_and_below_it_does_not():
    def own_share(encoder, head):
        features = encoder(images())
        score = chosen(head(features))
        (of_sum,) = torch.autograd.grad(score.sum(), features, retain_graph=True)
        (of_own,) = torch.autograd.grad(score[0], features)
        return torch.allclose(of_sum[0], of_own[0], atol=1e-6)

    norm, linear = nn.BatchNorm2d(8), Network().head
    assert not own_share(Network().encoder, nn.Sequential(norm, nn.ReLU(), linear))
    assert own_share(nn.Sequential(Network().encoder, norm), linear)
    assert own_share(Network().encoder, nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU(), linear))


# Frames without objects ---------------------------------------------------------------------------------------------


def test_a_batch_without_objects_has_a_term_of_zero_that_can_be_differentiated():
    network = Network()
    features, logits = network(images())
    cam = class_activation_map(features, chosen(logits), create_graph=True)
    term = camal_term({"value": cam}, torch.zeros_like(MASKS), CONFIG).loss
    assert term.item() == 0
    assert all(each.abs().max() == 0 for each in torch.autograd.grad(term, network.encoder.parameters()))


# Mixed precision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
def test_bfloat16_needs_nothing_but_autocast(inside):
    network = Network()
    expected = gradients(network, loss_of(*network(images())))
    with torch.autocast("cpu", torch.bfloat16):
        features, logits = network(images())
        loss = loss_of(features, logits) if inside else None
    loss = loss if inside else loss_of(features, logits)
    assert (features.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    assert_close(gradients(network, loss), expected, tolerance=0.1)


def test_maps_vanish_in_float16_where_the_score_is_not_scaled():
    network = Network(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)))
    with torch.no_grad():
        network.head[2].weight.mul_(1e-5)

    def cam_of(precision, scale):
        with torch.autocast("cpu", precision or torch.float16, enabled=precision is not None):
            features, logits = network(images(64))
        return class_activation_map(features, scale * chosen(logits), rectify="absolute").float()

    expected = normalize_cam(cam_of(None, 1))
    assert zero_maps(cam_of(torch.float16, 1)).all()
    torch.testing.assert_close(normalize_cam(cam_of(torch.float16, 4096)), expected, rtol=0, atol=0.03)
    torch.testing.assert_close(normalize_cam(cam_of(torch.bfloat16, 1)), expected, rtol=0, atol=0.03)


def test_gradients_in_float16_with_a_scaler_are_those_of_float32_once_its_scale_is_low_enough():
    network = Network()
    expected = gradients(network, loss_of(*network(images())))
    optimizer, scaler = torch.optim.SGD(network.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    for _ in range(12):
        with torch.autocast("cpu", torch.float16):
            features, logits = network(images())
        optimizer.zero_grad()
        scaler.scale(loss_of(features, logits)).backward()
        scaler.unscale_(optimizer)
        found = [parameter.grad.clone() for parameter in network.parameters()]
        scaler.step(optimizer)
        scaler.update()
        if all(each.isfinite().all() for each in found):
            break
    assert_close(found, expected, tolerance=0.05)


# torch.compile ------------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled():
    """Return ``torch.compile`` with the part of the default backend that has no double backward pass."""
    torch._dynamo.reset()
    yield lambda what: torch.compile(what, backend="aot_eager")
    torch._dynamo.reset()


def test_the_layers_below_the_features_can_be_compiled(compiled):
    network = Network()
    expected = gradients(network, loss_of(*network(images())))
    features = compiled(network.encoder)(images())
    assert_close(gradients(network, loss_of(features, network.head(features))), expected)


def test_a_compiled_head_is_refused_by_pytorch_and_a_compiled_network_by_the_map(compiled):
    network = Network()
    features = network.encoder(images())
    with pytest.raises(RuntimeError, match="double backward"):
        loss_of(features, compiled(network.head)(features)).backward()
    with pytest.raises(ValueError, match=r"torch\.compile .* docs/own_loop\.md"):
        loss_of(*compiled(network)(images()))


def test_a_whole_step_with_the_closed_form_can_be_compiled(compiled):
    network = Network()
    expected = gradients(network, loss_of(*network(images())))

    def step(batch):
        features = network.encoder(batch)
        hidden = network.head[1](features.flatten(1))
        logits = network.head[3](hidden.relu())
        weight = network.head[1].weight.view(-1, *features.shape[1:])
        slope = network.head[3].weight[CLASSES]
        cam = closed_form_cam(features, weight, hidden > 0, slope, CONFIG.method, CONFIG.value_rectification)
        return functional.cross_entropy(logits, CLASSES) + camal_term({"value": cam}, MASKS, CONFIG).loss

    assert_close(gradients(network, compiled(step)(images())), expected, tolerance=1e-4)

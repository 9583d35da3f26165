"""Guided backpropagation: by hand, against Captum, and for every way of writing a ReLU."""

import importlib.util
import os

import pytest
import torch
from torch import nn
from torch.nn import functional

from camal_rl.saliency.guided_backprop import guided_backprop_map
from tests.method.networks import small_cnn

needs_captum = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None and "CI" not in os.environ, reason="needs camal-rl[explain]"
)

NINE = torch.arange(1.0, 10.0).view(1, 1, 3, 3)


def torch_relu_in_place(x):
    torch.relu_(x)
    return x


def method_relu_in_place(x):
    x.relu_()
    return x


RELUS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "torch.relu": torch.relu,
    "method": torch.Tensor.relu,
    "functional": functional.relu,
    "functional in place": lambda x: functional.relu(x, inplace=True),
    "functional in place, positional": lambda x: functional.relu(x, True),
    "torch.relu_": torch_relu_in_place,
    "method in place": method_relu_in_place,
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_by_hand_for_every_way_of_writing_a_relu(relu):
    # x = 2; units 1x, -1x, 3x with weights 5, 7, -2. Gradient: 5 * 1 + (-2) * 3 = -1. Guided: 5 * 1.
    def score(images):
        hidden = relu(images.flatten(1) * torch.tensor([1.0, -1.0, 3.0]))
        return hidden @ torch.tensor([5.0, 7.0, -2.0])

    image = torch.full((1, 1, 1, 1), 2.0)
    torch.testing.assert_close(guided_backprop_map(score, image), torch.tensor([[[5.0]]]))
    probe = image.clone().requires_grad_()
    score(probe).sum().backward()
    assert probe.grad.item() == -1  # outside the call a ReLU is a ReLU
    assert score(image).item() == -2


def test_functional_relus_give_the_map_of_modules():
    net = small_cnn()

    def by_functions(images):
        hidden = torch.relu(net[2](functional.relu(net[0](images))))
        return net[7](net[5](net[4](hidden)).relu())[:, 1]

    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = guided_backprop_map(lambda x: net(x)[:, 1], images)
    torch.testing.assert_close(guided_backprop_map(by_functions, images), expected)
    real = images.clone().requires_grad_()
    (plain,) = torch.autograd.grad(net(real)[:, 1].sum(), real)
    assert not torch.allclose(expected, plain.abs().sum(dim=1))


@needs_captum
@pytest.mark.filterwarnings("ignore:Setting backward hooks", "ignore:Input Tensor 0 did not already require")
def test_equals_captum_where_captum_sees_every_relu():
    from captum.attr import GuidedBackprop

    net = small_cnn()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    actions = torch.tensor([0, 1, 2, 3])

    def score(batch, chosen):
        return net(batch).gather(1, chosen[:, None]).squeeze(1)

    expected = GuidedBackprop(net).attribute(images.clone(), target=actions).abs().sum(dim=1)
    for chunk_size in (1, 3, 64):
        found = guided_backprop_map(score, images, (actions,), chunk_size)
        torch.testing.assert_close(found, expected)


def test_uint8_images_are_given_as_0_to_255_and_nothing_is_left_behind():
    net = small_cnn()
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    copy = images.clone()
    with torch.no_grad():
        found = guided_backprop_map(lambda x: net(x / 255)[:, 0], images)
    torch.testing.assert_close(found, guided_backprop_map(lambda x: net(x)[:, 0], images.float() / 255) / 255)
    assert torch.equal(images, copy)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


def test_relus_are_themselves_again_after_an_exception():
    def broken(images):
        torch.relu(images)
        raise RuntimeError("broken score")

    with pytest.raises(RuntimeError, match="broken score"):
        guided_backprop_map(broken, NINE)
    x = torch.ones(1, requires_grad=True)
    (-torch.relu(x)).sum().backward()
    assert x.grad.item() == -1


def test_scores_that_cannot_be_explained():
    with pytest.raises(ValueError, match="ran no ReLU"):
        guided_backprop_map(lambda x: torch.tanh(x).sum(dim=(1, 2, 3)), NINE)
    with pytest.raises(ValueError, match="does not depend on the images"):
        guided_backprop_map(lambda x: torch.relu(x.detach()).sum(dim=(1, 2, 3)), NINE)
    with pytest.raises(ValueError, match="one number per image"):
        guided_backprop_map(torch.relu, NINE)
    with pytest.raises(TypeError, match="uint8 or floating point"):
        guided_backprop_map(torch.relu, NINE.long())

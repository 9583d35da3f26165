"""Our maps against those of torchcam and Captum: the same network, the same inputs, 1e-5 of the largest value."""

import importlib.util
import os
import sys

import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map

needs_captum = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None and "CI" not in os.environ, reason="needs Captum"
)
needs_torchcam = pytest.mark.skipif(
    importlib.util.find_spec("torchcam") is None and ("CI" not in os.environ or sys.version_info < (3, 11)),
    reason="needs torchcam, which needs Python 3.11",
)

CLASSES = [0, 3, 1, 2, 3]


class Cnn(nn.Module):
    """Convolutions -> CAM layer -> two linear layers, large enough for gradients of order 1."""

    def __init__(self, rectified):
        super().__init__()
        layers = [nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1)]
        self.features = nn.Sequential(*layers, nn.ReLU() if rectified else nn.Identity())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 4))
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)

    def forward(self, images):
        return self.head(self.features(images))


# Negative features too: rectified ones alone cannot tell where a method rectifies.
@pytest.fixture(params=[True, False], ids=["rectified", "signed"])
def net(request):
    return Cnn(request.param).eval()


@pytest.fixture
def images():
    return torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def our_map(net, images, method, rectify="relu"):
    features = net.features(images)
    score = net.head(features).gather(1, torch.tensor(CLASSES)[:, None]).squeeze(1)
    return class_activation_map(features, score, method, rectify=rectify)


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape == (5, 6, 6)
    assert float(ours.amax(dim=(1, 2)).min()) > 0.1, "every map must have something to compare"
    peak = theirs.abs().amax(dim=(1, 2), keepdim=True)
    assert float(((ours - theirs).abs() / peak).max()) < 1e-5


# torchcam's maps are rectified; `normalized=True` would also subtract each map's minimum, which ours never do.
@needs_torchcam
@pytest.mark.parametrize(("method", "name"), [("gradcam", "GradCAM"), ("layercam", "LayerCAM")])
def test_torchcam(net, images, method, name):
    import torchcam.methods

    with getattr(torchcam.methods, name)(net, "features") as extractor:
        scores = net(images)
        (theirs,) = extractor(class_idx=CLASSES, scores=scores, normalized=False)
    assert_same(our_map(net, images, method), theirs)


# One convention of several: the score itself, not its exponential; powers of its gradient for the higher derivatives.
# The paper's denominator (eq. 10) has the sum of the features times the third derivative at the position; torchcam has
# the sum of their products. The two are one where the gradient is the same at all positions, as under global average
# pooling, the networks that class activation maps come from; elsewhere literals hold ours (test_class_activation_map).
# SmoothGradCAMpp with a single sample and no noise to speak of is that map. The plain GradCAMpp of torchcam 0.5.0
# leaves the denominator out: it divides a copy (`alpha[idx][mask].div_`) and drops it.
@needs_torchcam
def test_gradcam_plus_plus_equals_torchcam_under_global_average_pooling(net, images):
    from torchcam.methods import SmoothGradCAMpp

    net.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    with torch.no_grad():
        net.head[2].weight.copy_(torch.randn(4, 8, generator=torch.Generator().manual_seed(5)))
    net, images = net.double(), images.double()
    with SmoothGradCAMpp(net, "features", num_samples=1, std=1e-13) as extractor:
        net(images)
        (theirs,) = extractor(class_idx=CLASSES, normalized=False, eps=1e-14)
    assert_same(our_map(net, images, "gradcam++"), theirs)


@needs_captum
@pytest.mark.parametrize("rectify", ["relu", "absolute"])
def test_gradcam_equals_captum(net, images, rectify):
    from captum.attr import LayerGradCam

    signed = LayerGradCam(net, net.features).attribute(images, torch.tensor(CLASSES)).squeeze(1).detach()
    assert_same(our_map(net, images, "gradcam", rectify), signed.relu() if rectify == "relu" else signed.abs())


@needs_captum
@pytest.mark.parametrize("rectify", ["relu", "absolute"])
def test_hirescam_equals_captums_gradient_times_activation(net, images, rectify):
    from captum.attr import LayerGradientXActivation

    product = LayerGradientXActivation(net, net.features).attribute(images, torch.tensor(CLASSES))
    signed = product.sum(dim=1).detach()
    assert_same(our_map(net, images, "hirescam", rectify), signed.relu() if rectify == "relu" else signed.abs())


@needs_captum
def test_normgrad_from_captums_gradient(images):
    from captum.attr import LayerActivation, LayerGradientXActivation

    net = Cnn(rectified=False).eval().double()
    images = images.double()
    activation = LayerActivation(net, net.features).attribute(images).detach()
    product = LayerGradientXActivation(net, net.features).attribute(images, torch.tensor(CLASSES)).detach()
    gradient = product / activation  # signed features are nowhere 0
    theirs = torch.linalg.matrix_norm(torch.einsum("bchw,bdhw->bhwcd", gradient, activation))
    assert_same(our_map(net, images, "normgrad"), theirs)

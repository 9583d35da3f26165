"""Attention maps: literals worked out by hand, derivatives, and what a call must leave alone."""

import gc

import pytest
import torch
from torch import nn

from camal_rl.attention import (
    CAM_METHODS,
    RECTIFICATIONS,
    cam_from_gradient,
    class_activation_map,
    nonfinite_maps,
    normalize_cam,
    upsample_cam,
    weighted_channel_sums,
    zero_maps,
)

FEATURES = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]]])
GRADIENT = torch.tensor([[[[1.0, 0.0], [-1.0, 2.0]], [[-1.0, -1.0], [0.0, -2.0]]]])

# Grad-CAM: channel weights .5 and -1. Grad-CAM++, the features' sums being 10 and 3:
# (relu) 1/(2 + 10) + 2 * 4/(8 + 80) = 23/132 and 0;
# (absolute) 2/12 + 1/11 = 17/66 and 2/(2 + 3) + 2 * 4/(8 + 24) = 13/20.
EXPECTED = {
    ("gradcam", "relu"): [[0.0, 1.0], [1.5, 0.0]],
    ("gradcam", "absolute"): [[0.5, 1.0], [1.5, 0.0]],
    ("hirescam", "relu"): [[0.0, 0.0], [0.0, 4.0]],
    ("hirescam", "absolute"): [[0.0, 0.0], [3.0, 4.0]],
    ("layercam", "relu"): [[1.0, 0.0], [0.0, 8.0]],
    ("layercam", "absolute"): [[2.0, 0.0], [3.0, 12.0]],
    ("gradcam++", "relu"): [[23 / 132, 46 / 132], [69 / 132, 92 / 132]],
    ("gradcam++", "absolute"): [[17 / 66 + 13 / 20, 34 / 66], [51 / 66, 68 / 66 + 26 / 20]],
    # sqrt(2) sqrt(2); 1 * 2; 1 * 3; sqrt(8) sqrt(20)
    ("normgrad", "relu"): [[2.0, 2.0], [3.0, 4 * 10**0.5]],
    ("normgrad", "absolute"): [[2.0, 2.0], [3.0, 4 * 10**0.5]],
}
COMBINATIONS = [(method, rectify) for method in CAM_METHODS for rectify in RECTIFICATIONS]


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh(), nn.Linear(5, 2))

    def forward(self, images):
        features = self.encoder(images)
        return features, self.head(features)


def test_every_combination_has_an_expected_map():
    assert set(EXPECTED) == set(COMBINATIONS)


@pytest.mark.parametrize(("method", "rectify"), COMBINATIONS)
def test_map_equals_hand_computation(method, rectify):
    features = FEATURES.clone().requires_grad_()
    score = (features * GRADIENT).sum(dim=(1, 2, 3))
    cam = class_activation_map(features, score, method, rectify=rectify)
    torch.testing.assert_close(cam, torch.tensor([EXPECTED[method, rectify]]))


@pytest.mark.parametrize("method", CAM_METHODS)
def test_absolute_map_does_not_see_the_sign_of_the_score(method):
    torch.manual_seed(0)
    features, gradient = torch.rand(3, 4, 5, 5), torch.randn(3, 4, 5, 5)
    plus = cam_from_gradient(features, gradient, method, "absolute")
    minus = cam_from_gradient(features, -gradient, method, "absolute")
    torch.testing.assert_close(plus, minus)
    rectified, mirrored = cam_from_gradient(features, gradient, method), cam_from_gradient(features, -gradient, method)
    assert torch.allclose(rectified, mirrored) == (method == "normgrad")


@pytest.mark.parametrize("method", CAM_METHODS)
def test_samples_do_not_influence_each_other(method):
    torch.manual_seed(0)
    net = SmallNet()
    images = torch.rand(4, 2, 4, 4)
    features, outputs = net(images)
    together = class_activation_map(features, outputs[:, 0], method)
    for index in range(4):
        alone_features, alone = net(images[index : index + 1])
        single = class_activation_map(alone_features, alone[:, 0], method)
        torch.testing.assert_close(together[index], single[0])


@pytest.mark.parametrize(("method", "rectify"), COMBINATIONS)
def test_derivative_of_the_trainable_map(method, rectify):
    torch.manual_seed(3)
    start = torch.rand(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(18, 4, dtype=torch.float64, requires_grad=True)

    def trainable(features, weight):
        features = features * 1.0
        score = torch.tanh(features.flatten(1) @ weight).sum(dim=1)
        return normalize_cam(class_activation_map(features, score, method, True, rectify))

    assert torch.autograd.gradcheck(trainable, (start, weight))


def test_map_is_detached_unless_asked_for_a_graph():
    features, outputs = SmallNet()(torch.rand(2, 2, 4, 4))
    assert not class_activation_map(features, outputs[:, 0]).requires_grad
    assert class_activation_map(features, outputs[:, 0], create_graph=True).requires_grad


def test_two_scores_share_one_forward_pass_and_loss_still_backpropagates():
    features, outputs = SmallNet()(torch.rand(2, 2, 4, 4))
    first = class_activation_map(features, outputs[:, 0])
    second = class_activation_map(features, outputs[:, 1])
    assert first.shape == second.shape == (2, 4, 4)
    outputs.sum().backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_existing_gradients_modes_and_hooks_stay(create_graph):
    net = SmallNet()
    net.eval()
    net.head.train()
    modes = [module.training for module in net.modules()]
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    features, outputs = net(torch.rand(2, 2, 4, 4))
    class_activation_map(features, outputs[:, 0], create_graph=create_graph)
    with pytest.raises(ValueError, match="unknown CAM method"):
        class_activation_map(features, outputs[:, 0], "cam", create_graph=create_graph)
    assert all(bool((parameter.grad == 7).all()) for parameter in net.parameters())
    assert [module.training for module in net.modules()] == modes
    assert all(not module._forward_hooks and not module._backward_hooks for module in net.modules())
    assert features._backward_hooks is None
    assert torch.is_grad_enabled()


def test_no_tensor_is_left_behind():
    net = SmallNet()
    images = torch.rand(2, 2, 4, 4)

    def call():
        features, outputs = net(images)
        normalize_cam(class_activation_map(features, outputs[:, 0], create_graph=True)).sum().backward()
        net.zero_grad()

    def living_tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    call()
    before = living_tensors()
    for _ in range(100):
        call()
    assert living_tensors() <= before


class TestErrors:
    def test_score_of_other_features(self):
        net = SmallNet()
        features, _ = net(torch.rand(2, 2, 4, 4))
        _, outputs = net(torch.rand(2, 2, 4, 4))
        with pytest.raises(ValueError, match="does not depend on features"):
            class_activation_map(features, outputs[:, 0])

    def test_forward_pass_without_gradients(self):
        with torch.no_grad():
            features, outputs = SmallNet()(torch.rand(2, 2, 4, 4))
        with pytest.raises(ValueError, match="with gradients enabled"):
            class_activation_map(features, outputs[:, 0])

    def test_detached_features(self):
        features, outputs = SmallNet()(torch.rand(2, 2, 4, 4))
        with pytest.raises(ValueError, match="does not depend on features"):
            class_activation_map(features.detach(), outputs[:, 0])

    def test_score_with_several_outputs(self):
        features, outputs = SmallNet()(torch.rand(2, 2, 4, 4))
        with pytest.raises(ValueError, match=r"shape \(2,\), got \(2, 2\)"):
            class_activation_map(features, outputs)

    def test_flat_features(self):
        with pytest.raises(ValueError, match="B, C, h, w"):
            class_activation_map(torch.rand(2, 3), torch.rand(2))

    def test_integer_features_and_score(self):
        with pytest.raises(TypeError, match="features must be floating point"):
            class_activation_map(torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.rand(1))
        with pytest.raises(TypeError, match="score must be floating point"):
            class_activation_map(torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64))

    def test_gradient_of_another_shape_and_unknown_rectification(self):
        with pytest.raises(ValueError, match="gradient must have"):
            cam_from_gradient(FEATURES, GRADIENT[:, :1])
        with pytest.raises(ValueError, match="unknown rectification 'square'"):
            cam_from_gradient(FEATURES, GRADIENT, rectify="square")


def test_normgrad_is_the_frobenius_norm_of_the_outer_product_at_each_position():
    torch.manual_seed(0)
    features, gradient = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5)
    outer = torch.einsum("bchw,bdhw->bhwcd", gradient, features)
    expected = torch.linalg.matrix_norm(outer, ord="fro")
    torch.testing.assert_close(cam_from_gradient(features, gradient, "normgrad"), expected)


def test_normgrad_is_what_a_virtual_identity_convolution_gets_from_one_position():
    torch.manual_seed(0)
    net = SmallNet()
    features = net.encoder(torch.rand(1, 2, 4, 4)).detach()
    kernel = torch.eye(3).view(3, 3, 1, 1).requires_grad_()
    expected = torch.zeros(4, 4)
    for row, column in [(0, 0), (1, 3), (3, 2)]:
        here = torch.zeros(4, 4)
        here[row, column] = 1
        # The identity acts through its weight at this position only.
        seen = torch.nn.functional.conv2d(features, kernel) * here + features * (1 - here)
        (gradient,) = torch.autograd.grad(net.head(seen)[0, 0], kernel)
        expected[row, column] = gradient.norm()
    features.requires_grad_()
    cam = class_activation_map(features, net.head(features)[:, 0], "normgrad")[0]
    assert cam.min() > 0
    torch.testing.assert_close(torch.where(expected > 0, cam, 0.0), expected)


@pytest.mark.parametrize("zeros", ["features", "gradient", "both"])
def test_normgrad_at_a_norm_of_zero_is_zero_with_finite_gradients(zeros):
    features, gradient = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3)
    if zeros != "gradient":
        features[:, :, 1, 1] = 0
    if zeros != "features":
        gradient[:, :, 1, 1] = 0
    features.requires_grad_()
    gradient.requires_grad_()
    cam = cam_from_gradient(features, gradient, "normgrad")
    cam.sum().backward()
    assert cam[0, 1, 1] == 0
    assert int((cam == 0).sum()) == 1
    assert bool(features.grad.isfinite().all())
    assert bool(gradient.grad.isfinite().all())
    assert bool((features.grad[:, :, 0, 0] != 0).all())


def test_gradcam_plus_plus_is_finite_where_the_gradient_is_zero():
    features = torch.rand(1, 2, 3, 3, requires_grad=True)
    gradient = torch.zeros(1, 2, 3, 3, requires_grad=True)
    cam = cam_from_gradient(features, gradient, "gradcam++")
    cam.sum().backward()
    assert zero_maps(cam).tolist() == [True]
    assert bool(features.grad.isfinite().all())
    assert bool(gradient.grad.isfinite().all())


class TestNormalization:
    def test_each_map_is_divided_by_its_own_maximum(self):
        cam = torch.tensor([[[1.0, 4.0]], [[0.5, 0.1]]])
        torch.testing.assert_close(normalize_cam(cam), torch.tensor([[[0.25, 1.0]], [[1.0, 0.2]]]))

    def test_scale_does_not_matter_down_to_tiny_maps(self):
        cam = torch.rand(3, 4, 4)
        torch.testing.assert_close(normalize_cam(cam * 1e-8), normalize_cam(cam))

    def test_zero_map_stays_zero_with_finite_gradients(self):
        cam = torch.zeros(2, 3, 3, requires_grad=True)
        result = normalize_cam(cam)
        result.sum().backward()
        assert bool((result == 0).all())
        assert bool(cam.grad.isfinite().all())

    def test_gradient_of_the_maximum_by_hand(self):
        # map (1, 2) / 2: d(sum)/d first = 1/2, d(sum)/d second = 1/2 - 3/4 = -1/4
        cam = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
        normalize_cam(cam).sum().backward()
        torch.testing.assert_close(cam.grad, torch.tensor([[[0.5, -0.25]]]))

    def test_zero_and_nonfinite_maps_are_reported(self):
        cam = torch.ones(4, 2, 2)
        cam[1] = 0
        cam[2, 0, 0] = torch.nan
        cam[3, 1, 1] = torch.inf
        assert zero_maps(cam).tolist() == [False, True, False, False]
        assert nonfinite_maps(cam).tolist() == [False, False, True, True]
        assert normalize_cam(cam)[2].isnan().all()
        assert normalize_cam(cam)[3, 1, 1].isnan()

    def test_several_maps_of_the_same_frames_are_those_one_by_one(self):
        cams = torch.rand(2, 3, 4, 5)
        cams[1, 2] = 0
        cams[0, 1, 2, 3] = torch.nan
        for function in (normalize_cam, zero_maps, nonfinite_maps, lambda cam: upsample_cam(cam, (8, 7))):
            one_by_one = torch.stack([function(cam) for cam in cams])
            torch.testing.assert_close(function(cams), one_by_one, equal_nan=True)

    def test_wrong_shapes_and_types(self):
        with pytest.raises(ValueError, match="B, h, w"):
            normalize_cam(torch.zeros(3, 3))
        with pytest.raises(TypeError, match="floating point"):
            zero_maps(torch.zeros(1, 3, 3, dtype=torch.uint8))


def test_upsampling_by_hand():
    # Two cells (0, 1) over four pixels: centers at .25 and .75 of the width.
    row = upsample_cam(torch.tensor([[[0.0, 1.0]]]), (2, 4))
    torch.testing.assert_close(row, torch.tensor([[[0.0, 0.25, 0.75, 1.0]] * 2]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("some", [slice(None), slice(2)])
def test_channel_sums_add_to_the_gradient_of_another_reader_and_change_none(layout, some):
    torch.manual_seed(0)
    features = torch.randn(4, 3, 2, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    offset, weights = torch.zeros(4, 3, 2, 5, dtype=torch.float64, requires_grad=True), torch.randn(4, 2, 3).double()
    maps = weighted_channel_sums(features[some], weights[some])
    torch.testing.assert_close(maps, torch.einsum("bkc,bchw->bkhw", weights[some], features[some]))
    found = torch.autograd.grad((features + offset).square().sum() + maps.sum(), [offset, features])
    expected = 2 * features.detach()
    torch.testing.assert_close(found[0], expected)
    expected[some] += weights[some].sum(dim=1)[:, :, None, None]
    torch.testing.assert_close(found[1], expected)

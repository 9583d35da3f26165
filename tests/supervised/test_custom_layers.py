"""Layers of networks of any library: frozen, followed by operations in place, channels last, tokens."""

import copy

import pytest
import torch
from torch import nn

from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, LogConfig, OptimizationConfig
from camal_rl.supervised.models import build_model
from camal_rl.supervised.models.cam_layer import find_cam_layer
from camal_rl.supervised.trainer import Trainer
from tests.supervised.fakes import DeepHeadNet, PooledNet, Squares, TokenNet

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1, 0, 1])
pytestmark = pytest.mark.usefixtures("own_random_numbers")


class Residual(nn.Module):
    """``layer`` is followed by a sum and a ReLU, in place or not."""

    cam_layer = "layer"

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place
        torch.manual_seed(4)
        self.first, self.layer, self.head = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 2)

    def forward(self, images):
        identity = self.first(images)
        out = self.layer(identity)
        if self.in_place:
            out += identity
            out.relu_()
        else:
            out = (out + identity).relu()
        return self.head(out.square().mean(dim=(2, 3)))


class ChannelsLast(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(5)
        self.embed, self.norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        self.mlp, self.head = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, images):
        patches = self.norm(self.embed(images).permute(0, 2, 3, 1))
        return self.head((patches + self.mlp(patches).relu()).mean(dim=(1, 2)))


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "normgrad"])
@pytest.mark.parametrize("frozen", [False, True])
def test_operations_in_place_behind_the_layer_change_no_map_and_no_training_step(method, frozen):
    camal = CamalConfig(method=method, rectification="absolute")
    gradients = []
    for in_place in (True, False):
        model = Residual(in_place)
        model.layer.requires_grad_(not frozen)
        model.first.requires_grad_(not frozen)
        cams = CamClassifier(model, IMAGES)
        cam, _ = cams.maps(IMAGES, LABELS, camal)
        logits, features = cams.forward(IMAGES)
        trained = cams.training_map(features, logits, LABELS, camal)
        torch.testing.assert_close(trained.detach(), cam)
        assert bool((cam.amax(dim=(1, 2)) > 0).all())
        gradients.append((cam, *torch.autograd.grad(trained.square().sum(), [model.head.weight])))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("make", [PooledNet, DeepHeadNet, TokenNet, ChannelsLast, lambda: Residual(True)])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_frozen_networks_have_the_maps_of_trained_ones_whatever_the_caller_switched_off(make, mode):
    layer = "norm" if make is ChannelsLast else None
    camal = CamalConfig(rectification="absolute")
    free, frozen = make(), make()
    frozen.requires_grad_(False)
    expected, _ = CamClassifier(free, IMAGES, layer).maps(IMAGES, LABELS, camal)
    with mode():
        found, _ = CamClassifier(frozen, IMAGES.clone(), layer).maps(IMAGES.clone(), LABELS, camal)
    torch.testing.assert_close(found, expected)
    assert bool((found.amax(dim=(1, 2)) > 0).all())
    assert not any(module._forward_hooks for module in frozen.modules())
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in frozen.parameters())


def test_a_frozen_backbone_trains_its_head_with_the_term():
    def head(weight):
        model = PooledNet()
        model.features.requires_grad_(False)
        before = copy.deepcopy(model.features.state_dict())
        optimization = OptimizationConfig(steps=4, batch_size=8)
        trainer = Trainer(
            model, Squares(), camal=CamalConfig(weight=weight), optimization=optimization, log=LogConfig(0, 0)
        )
        trainer.fit()
        assert all(torch.equal(value, before[key]) for key, value in model.features.state_dict().items())
        return model.head.weight

    assert not torch.equal(head(0.0), head(5.0))


@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("size", [(16, 16), (16, 32)])
def test_channels_last_are_read_on_the_right_axes(width, size):
    model, images = ChannelsLast(width), torch.rand(2, 3, *size)
    cams = CamClassifier(model, images, "norm")
    assert cams.grid == (4, size[1] // 4)
    _, features = cams.forward(images)
    patches = model.norm(model.embed(images).permute(0, 2, 3, 1))
    torch.testing.assert_close(features.permute(0, 2, 3, 1), patches)
    assert find_cam_layer(model, size).name in ("norm", "mlp")


SWIN = {"patch_size": 4, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
DINO = {"patch_size": 8, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("kind", "sizes", "shape", "grid", "prefix"),
    [
        ("Swin", {**SWIN, "image_size": 64}, (64, 64), (8, 8), 0),
        ("Swin", {**SWIN, "image_size": [32, 64]}, (32, 64), (4, 8), 0),
        ("Dinov2WithRegisters", {**DINO, "image_size": 32, "num_register_tokens": 8}, (32, 32), (4, 4), 9),
        ("Dinov2WithRegisters", {**DINO, "image_size": 32, "num_register_tokens": 4}, (32, 64), (4, 8), 5),
        ("ViT", {**DINO, "image_size": [32, 64], "intermediate_size": 32}, (32, 64), (4, 8), 1),
    ],
)
def test_transformers_of_hugging_face_have_the_grid_of_their_patches(tmp_path, kind, sizes, shape, grid, prefix):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(num_labels=3, **sizes)
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path)
    model = build_model(f"transformers:{tmp_path}", 3, shape)
    assert (model.token_grid, model.prefix_tokens) == (grid, prefix)
    images, labels = torch.rand(2, 3, *shape), torch.tensor([0, 2])
    cams = CamClassifier(model, images)
    cam, _ = cams.maps(images, labels, CamalConfig(rectification="absolute"))
    assert cam.shape == (2, *grid)
    assert bool((cam.amax(dim=(1, 2)) > 0).all())
    # Without what the builder knows, the patch embedding says the same.
    bare = CamClassifier(model.network, images, model.cam_layer.removeprefix("network."))
    assert (bare.grid, bare._layout.prefix_tokens) == (grid, prefix)


def test_windows_of_a_swin_transformer_are_not_offered(tmp_path):
    transformers = pytest.importorskip("transformers")
    network = transformers.SwinForImageClassification(transformers.SwinConfig(num_labels=3, image_size=64, **SWIN))
    images = torch.rand(2, 3, 64, 64)
    with pytest.raises(ValueError, match="give the name of the CAM layer") as caught:
        CamClassifier(network, images)
    offered = str(caught.value)
    assert "swin.encoder.layers.0.blocks.0.layernorm_before (256, 8)" in offered
    assert "attention.self" not in offered
    with pytest.raises(ValueError, match=r"for 2 images \(windows\?\); choose another layer"):
        CamClassifier(network, images, "swin.encoder.layers.0.blocks.0.attention")


def test_maps_are_by_default_those_that_the_model_is_trained_with(tmp_path):
    camal = CamalConfig(weight=0.5, method="hirescam", rectification="absolute", score="log_probability")
    model = PooledNet()
    trainer = Trainer(
        model, Squares(), camal=camal, layer="features.2", optimization=OptimizationConfig(steps=2, batch_size=8)
    )
    trainer.fit()
    expected, _ = CamClassifier(model, IMAGES, "features.2").maps(IMAGES, LABELS, camal)
    torch.save(model, tmp_path / "model.pt")
    for each in (model, copy.deepcopy(model), torch.load(tmp_path / "model.pt", weights_only=False)):
        assert torch.equal(CamClassifier(each, IMAGES).maps(IMAGES, LABELS)[0], expected)
    assert torch.equal(trainer.attention.maps(IMAGES, LABELS)[0], expected)
    other, _ = CamClassifier(model, IMAGES).maps(IMAGES, LABELS, CamalConfig())
    assert not torch.equal(other, expected)
    assert PooledNet.cam_layer == "features"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:0], LABELS[:0], r"expected one or more images \(B, 3, H, W\), got a batch of shape \(0, 3, 16, 16\)"),
        (IMAGES[0], LABELS[0], r"expected one or more images \(B, 3, H, W\), got a batch of shape \(3, 16, 16\)"),
        (IMAGES, LABELS[:2], r"whole numbers of shape \(5,\) as labels, one for each image, got torch.int64 of shape"),
        (IMAGES, LABELS.float(), r"whole numbers of shape \(5,\) as labels, .* got torch.float32"),
    ],
)
def test_other_images_and_labels_are_one_line(images, labels, message):
    cams = CamClassifier(PooledNet(), IMAGES)
    with pytest.raises(ValueError, match=message):
        cams.maps(images, labels)

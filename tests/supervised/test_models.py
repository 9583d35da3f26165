import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map
from camal_rl.supervised.ifam import Ifam
from camal_rl.supervised.models import build_model, model_names
from camal_rl.supervised.models.cam_layer import CamLayer, find_cam_layer

from .seen_layer import run

OPTIONS = {
    "compact": {"width": 8},
    "resnet": {"channels": [8, 16], "depths": [1, 2]},
    "vit": {"dim": 16, "depth": 2, "heads": 2},
    "ifam": {"dim": 16, "depth": 2, "heads": 2},
}
LAYERS = {
    "compact": ("features", (2, 32, 8, 8)),
    "resnet": ("network.resnet.encoder.stages.1", (2, 16, 8, 8)),
    "vit": ("network.vit.layers.1.layernorm_before", (2, 17, 16)),
    "ifam": ("stage2.blocks.1.norm1", (2, 17, 16)),
}


pytestmark = pytest.mark.usefixtures("own_random_numbers")


@pytest.mark.parametrize("name", OPTIONS)
def test_logits_and_the_layer_for_maps(name):
    model = build_model(name, 3, 32, **OPTIONS[name])
    logits, features = run(model, torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 3)
    assert (model.cam_layer, tuple(features.shape)) == LAYERS[name]
    if name in ("vit", "ifam"):
        assert (model.token_grid, model.prefix_tokens) == ((4, 4), 1)
    else:
        assert not hasattr(model, "token_grid")


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("compact", {}, (1, 64, 16, 16)),
        ("compact", {"halvings": 3}, (1, 128, 8, 8)),
        ("resnet", {}, (1, 128, 8, 8)),
        ("resnet", {"stem_pooling": True}, (1, 128, 4, 4)),
        ("vit", {}, (1, 65, 128)),
    ],
)
def test_default_sizes_at_64x64(name, options, shape):
    _, features = run(build_model(name, 2, 64, **options), torch.rand(1, 3, 64, 64))
    assert tuple(features.shape) == shape


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.usefixtures("own_random_numbers")
def test_maps_can_be_trained_on(name):
    torch.manual_seed(1)  # with this one iFAM's untrained stage 1 keeps patches
    model = build_model(name, 3, 32, **OPTIONS[name])
    logits, features = run(model, torch.rand(2, 3, 32, 32))
    if features.dim() == 3:
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), features, create_graph=True)
        assert name == "ifam" or gradient[:, 1:].abs().amax(dim=2).min() > 0  # every patch counts
        loss = (gradient * features)[:, 1:].sum(dim=2).relu().mean()
    else:
        loss = class_activation_map(features, logits[:, 0], create_graph=True).mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0


def test_after_the_last_attention_of_a_vit_patches_no_longer_count():
    model = build_model("vit", 3, 32, **OPTIONS["vit"])
    logits, tokens = run(model, torch.rand(2, 3, 32, 32), "network.vit.layernorm")
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), tokens)
    assert gradient[:, 0].abs().sum() > 0
    assert gradient[:, 1:].abs().sum() == 0


@pytest.mark.parametrize("name", OPTIONS)
def test_images_are_normalized_inside(name):
    model = build_model(name, 3, 32, **OPTIONS[name]).eval()
    images = torch.rand(2, 3, 32, 32)
    expected = model(images)
    model.normalize = nn.Identity()
    torch.testing.assert_close(model((images - 0.5) / 0.25), expected)


def test_normalization_is_no_part_of_the_checkpoint():
    assert not any("normalize" in name for name in build_model("compact", 2, 32).state_dict())


@pytest.mark.parametrize("name", OPTIONS)
def test_images_that_are_not_floats_in_four_dimensions(name):
    model = build_model(name, 3, 32, **OPTIONS[name])
    with pytest.raises(TypeError, match=r"images must be floating point in \[0, 1\], got torch.uint8; use"):
        model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got shape \(3, 32, 32\)"):
        model(torch.zeros(3, 32, 32))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_trial_run_finds_the_same_layer(name):
    model = build_model(name, 3, 32, **OPTIONS[name])
    if name == "ifam":  # an empty mask would leave no patch to look at
        model.foreground_mask = lambda images: torch.ones(1, 4, 4, dtype=torch.bool)
    model.normalize.eval()
    before = {module: module.training for module in model.modules()}
    tokens = ((4, 4), 1) if name in ("vit", "ifam") else (None, 0)
    assert find_cam_layer(model, (32, 32)) == CamLayer(LAYERS[name][0], *tokens)
    assert {module: module.training for module in model.modules()} == before
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_images_that_are_not_square():
    model = build_model("vit", 3, (32, 64), **OPTIONS["vit"])
    assert model.token_grid == (4, 8)
    assert model(torch.rand(1, 3, 32, 64)).shape == (1, 3)
    assert find_cam_layer(model, (32, 64)).token_grid == (4, 8)
    _, features = run(build_model("compact", 3, (32, 64)), torch.rand(1, 3, 32, 64))
    assert features.shape[2:] == (8, 16)


def test_a_network_without_positions_has_no_layer_for_maps():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="found no layer for maps in Sequential"):
        find_cam_layer(network, (8, 8))
    with pytest.raises(TypeError, match=r"must return logits \(B, K\), or an object with .logits; got Tensor"):
        find_cam_layer(nn.Conv2d(3, 4, 3), (8, 8))


def test_names():
    assert model_names() == (
        "compact", "resnet", "vit", "ifam", "transformers:<folder>", "torchvision:<name>", "timm:<name>",
    )  # fmt: skip
    assert isinstance(build_model("ifam", 2, 32, **OPTIONS["ifam"]), Ifam)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            ("resnt", 3, 32),
            "unknown model 'resnt'; did you mean 'resnet'\\? the models are compact, resnet, vit, ifam, tr",
        ),
        (("timm", 3, 32), "unknown model 'timm'; a name must follow timm:; the models are"),
        (("compact", 1, 32), "num_classes must be at least 2, got 1"),
        (("compact", 3, 4), "image_size must be at least 8, got 4"),
        (("compact", 3, (32, 32, 3)), r"image_size must be \(H, W\) or one number, got \(32, 32, 3\)"),
        (("compact", 3, 32, {"width": 12}), "width must be a positive multiple of 8, got 12"),
        (("compact", 3, 32, {"halvings": 5}), "halvings must leave a map of at least 2x2, got 5 for images of 32x32"),
        (("resnet", 3, 32, {"channels": [8]}), r"one positive number for each stage, got \[8\] and \[1, 1, 1\]"),
        (("resnet", 3, 8), "images of 8x8 are too small for 3 stages; use fewer stages"),
        (("vit", 3, 30), "patch_size must divide the image, got 8 for images of 30x30"),
        (("vit", 3, 32, {"heads": 3}), "dim must be a multiple of heads, got 128 and 3"),
    ],
)
def test_wrong_values_are_one_clear_line(call, message):
    *call, options = call if isinstance(call[-1], dict) else (*call, {})
    with pytest.raises(ValueError, match=message) as caught:
        build_model(*call, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "compact",
            {"widht": 8},
            "unknown option 'widht' of model 'compact'; did you mean 'width'\\? its options are width,",
        ),
        ("transformers:x", {"dim": 8}, "unknown option 'dim' of model 'transformers:x'; it has none"),
        ("compact", {"width": "8"}, "option 'width' of model 'compact' must be a whole number, got '8'"),
        ("compact", {"width": True}, "must be a whole number, got True"),
        ("resnet", {"channels": 8}, "option 'channels' of model 'resnet' must be a list of whole numbers, got 8"),
        ("resnet", {"stem_pooling": 1}, "option 'stem_pooling' of model 'resnet' must be true or false, got 1"),
        ("ifam", {"temperature": "hot"}, "option 'temperature' of model 'ifam' must be a number, got 'hot'"),
    ],
)
def test_wrong_options_are_one_clear_line(name, options, message):
    with pytest.raises(TypeError, match=message):
        build_model(name, 3, 32, **options)
    with pytest.raises(TypeError, match=r"num_classes must be a whole number, got 2\.5"):
        build_model(name, 2.5, 32)

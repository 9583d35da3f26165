import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map
from camal_rl.feature_layout import feature_map_layers, find_layout, layout_of, trace_layers
from camal_rl.layer_capture import FeatureLayout, captured, single

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


class TimesTwo(nn.Module):
    """Gives twice its input; ``behind`` works on that before the sum."""

    def __init__(self, behind, gives=lambda x: 2 * x):
        super().__init__()
        self.layer = nn.Identity() if gives is None else _Function(gives)
        self.behind = behind

    def forward(self, x):
        return self.behind(self.layer(x)).sum(dim=(1, 2, 3))


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


@pytest.mark.parametrize(
    "behind",
    [
        lambda x: x.mul_(3),
        lambda x: torch.relu_(x.sub_(1)).mul(3).add_(3),
        lambda x: x.flatten(1).mul_(3).view_as(x),
        lambda x: 3 * x,
    ],
)
@pytest.mark.parametrize("trained", [True, False])
def test_features_are_what_the_layer_put_out_whatever_happens_to_it_next(behind, trained):
    network = TimesTwo(behind)
    given = torch.full((1, 1, 2, 2), 1.5)
    given = (given.requires_grad_() if trained else given) * 1
    with captured(network.layer, FeatureLayout("layer")) as found:
        score = network(given)
    assert hooks(network) == 0
    features = single(found, "layer")
    assert torch.equal(features, torch.full((1, 1, 2, 2), 3.0))
    (gradient,) = torch.autograd.grad(score.sum(), features)
    assert torch.equal(gradient, torch.full((1, 1, 2, 2), 3.0))


def test_a_layer_that_gives_its_own_input_is_copied():
    class Marked(nn.Module):
        def __init__(self):
            super().__init__()
            self.mark = nn.Identity()

        def forward(self, x):
            marked = self.mark(x)
            out = marked.sum(dim=(1, 2, 3))
            x.zero_()
            return out

    network = Marked()
    with captured(network.mark, FeatureLayout("mark")) as found:
        network(torch.ones(1, 1, 2, 2))
    assert torch.equal(single(found, "mark"), torch.ones(1, 1, 2, 2))


def test_results_are_those_without_a_hook_also_without_gradients():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
    with torch.no_grad():
        plain = network(IMAGES)
        for layer in ("0", "1"):
            with captured(network.get_submodule(layer), FeatureLayout(layer)) as found:
                assert torch.equal(network(IMAGES), plain)
            assert not found[0].requires_grad
        assert (found[0] >= 0).all()


def test_hooks_are_gone_after_an_exception():
    network = TimesTwo(lambda x: x / 0 + "text")
    with pytest.raises(TypeError), captured(network.layer, FeatureLayout("layer")):
        network(torch.ones(1, 1, 2, 2))
    with pytest.raises(TypeError):
        trace_layers(network, torch.ones(1, 1, 2, 2))
    assert hooks(network) == 0


def test_no_memory_is_kept_over_many_calls():
    network = TimesTwo(lambda x: 3 * x)
    for _ in range(100):
        with captured(network.layer, FeatureLayout("layer")) as found:
            network(IMAGES)
    assert hooks(network) == 0
    assert len(found) == 1


# Layouts ----------------------------------------------------------------------------------------------------------


class Patches(nn.Module):
    """Patches of 4x4 pixels, channels last or as tokens behind ``prefix`` others."""

    def __init__(self, channels=6, prefix=0, channels_last=True, linear=False):
        super().__init__()
        self.prefix, self.channels_last, self.linear = prefix, channels_last, linear
        self.embed = nn.Linear(48, channels) if linear else nn.Conv2d(3, channels, 4, 4)
        self.norm = nn.LayerNorm(channels)
        self.cell = _Function(torch.tanh)

    def forward(self, images):
        if self.linear:
            tokens = self.embed(nn.functional.unfold(images, 4, stride=4).transpose(1, 2))
        else:
            patches = self.embed(images).permute(0, 2, 3, 1)
            if self.channels_last:
                return self.cell(self.norm(patches)).mean(dim=(1, 2))
            tokens = patches.flatten(1, 2)
        prefix = tokens.new_zeros(len(tokens), self.prefix, tokens.shape[2])
        return self.cell(self.norm(torch.cat([prefix, tokens], dim=1))).mean(dim=1)


@pytest.mark.parametrize("channels", [4, 6, 16])
@pytest.mark.parametrize("size", [(16, 16), (16, 32), (32, 16)])
def test_channels_last_and_first_are_told_apart(channels, size):
    network, images = Patches(channels), torch.rand(2, 3, *size)
    trace = trace_layers(network, images)
    assert not find_layout(trace, "embed").channels_last
    for layer in ("norm", "cell"):
        assert find_layout(trace, layer).channels_last
        with captured(network.get_submodule(layer), find_layout(trace, layer)) as found:
            network(images)
        assert found[0].shape == (2, channels, size[0] // 4, size[1] // 4)


@pytest.mark.parametrize("channels", [4, 5])
def test_convolutions_stay_channels_first_whatever_their_number_of_channels(channels):
    network = nn.Sequential(nn.Conv2d(3, channels, 4, 4), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(channels), nn.Tanh()))
    trace = trace_layers(network, IMAGES)
    assert not any(find_layout(trace, layer).channels_last for layer in ("0", "1", "1.0", "1.1", "1.2"))


@pytest.mark.parametrize("prefix", [0, 1, 5, 9])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (16, 32)])
def test_tokens_that_complete_a_square_are_no_patches(prefix, linear, size):
    network = Patches(prefix=prefix, channels_last=False, linear=linear)
    layout = find_layout(trace_layers(network, torch.rand(2, 3, *size)), "norm")
    assert (layout.token_grid, layout.prefix_tokens) == ((4, size[1] // 4), prefix)


def test_grids_that_nothing_tells_apart_are_refused_in_one_line():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, images):
            return self.norm(images.flatten(2).transpose(1, 2)[:, :25]).mean(dim=1)

    # 25 tokens of 60x60 images: 5 x 5 patches of 12 pixels, or 4 x 4 of 15 behind nine others.
    trace = trace_layers(Blind(), torch.rand(2, 3, 60, 60))
    with pytest.raises(ValueError, match="several grids fit: 5 x 5 behind 0, 4 x 4 behind 9; set token_grid") as caught:
        find_layout(trace, "norm")
    assert "\n" not in str(caught.value)
    assert find_layout(trace, "norm", prefix_tokens=9).token_grid == (4, 4)
    assert find_layout(trace, "norm", token_grid=(5, 5)).prefix_tokens == 0


def test_halved_grids_of_a_hierarchical_transformer_are_found_by_the_patch_embedding():
    class Merging(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Conv2d(3, 4, 4, 4), nn.LayerNorm(16)

        def forward(self, images):
            patches = nn.functional.pixel_unshuffle(self.embed(images), 2)
            return self.norm(patches.flatten(2).transpose(1, 2)).mean(dim=1)

    layout = find_layout(trace_layers(Merging(), torch.rand(1, 3, 32, 64)), "norm")
    assert (layout.token_grid, layout.prefix_tokens) == ((4, 8), 0)


def test_only_layers_with_positions_are_offered():
    class Windows(Patches):
        def __init__(self):
            super().__init__(channels_last=True)
            self.window, self.scores, self.pooled = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, images):
            patches = self.norm(self.embed(images).permute(0, 2, 3, 1))
            windows = self.window(patches.unflatten(1, (2, 2)).unflatten(3, (2, 2)).transpose(2, 3).flatten(3, 4))
            windows = self.window(windows.flatten(0, 2))
            self.scores((windows @ windows.mT)[None].expand(2, -1, -1, -1))
            return self.pooled(patches.mean(dim=(1, 2), keepdim=True)).flatten(1)

    assert feature_map_layers(Windows(), IMAGES) == {"embed": (6, 4, 4), "norm": (4, 4, 6)}


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), "1", r"tokens \(B, P \+ h w, C\), got shape \(2, 2\); choose"),
        (nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(2)), "1", r"got shape \(2, 4, 16\), a flattened one; choose"),
        (nn.Sequential(nn.Conv2d(3, 4, 4, 4)), "5", "got no output, since it did not run; choose another layer"),
        (nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Flatten(0, 1)), "1", "for 2 images .windows.."),
    ],
)
def test_other_outputs_are_one_line(network, layer, message):
    with pytest.raises(ValueError, match=message) as caught:
        find_layout(trace_layers(network, IMAGES), layer)
    assert "\n" not in str(caught.value)


def test_a_trial_leaves_modes_statistics_gradients_and_images_alone():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    network[1].eval()
    images, before = IMAGES.clone(), {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        trace = trace_layers(network, images)
    assert [layout_of(trace, index).layer for index in range(3)] == ["0", "1", "2"]
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(images, IMAGES)
    assert not images.requires_grad


def test_maps_of_tokens_are_maps_of_their_patches():
    network = Patches(prefix=5, channels_last=False)
    layout = find_layout(trace_layers(network, IMAGES), "norm")
    with captured(network.norm, layout) as found:
        score = network(IMAGES)[:, 0]
    cam = class_activation_map(found[0], score, "hirescam")
    plain = Patches(channels_last=True)
    plain.load_state_dict(network.state_dict())
    with captured(plain.norm, FeatureLayout("norm", channels_last=True)) as found:
        score = plain(IMAGES)[:, 0]
    expected = class_activation_map(found[0], score, "hirescam")
    torch.testing.assert_close(cam / cam.amax(), expected / expected.amax())

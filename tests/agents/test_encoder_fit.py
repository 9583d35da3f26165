import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents import CAMALPPO, CamPolicy

from .fakes import CountingEnv


class OwnEncoder(BaseFeaturesExtractor):
    """Takes images from 13x13 on, and finds out when it runs."""

    def __init__(self, observation_space, broken=False):
        super().__init__(observation_space, 8)
        self.broken = broken
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 9, stride=2), nn.ReLU(), nn.Conv2d(4, 8, 3))

    def forward(self, images):
        if self.broken:
            raise RuntimeError("not a matter of size")
        return self.layers(images).mean(dim=(2, 3))


class EmptyMaps(OwnEncoder):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.crop = nn.ZeroPad2d((0, 0, 0, -2))

    def forward(self, images):
        return self.crop(self.layers(images)).sum(dim=(2, 3))


def policy_of(encoder, height, width, **kwargs):
    space = spaces.Box(0, 255, (3, height, width), np.uint8)
    return CamPolicy(space, spaces.Discrete(3), lambda _: 1e-3, encoder=encoder, **kwargs)


@pytest.mark.parametrize(
    ("encoder", "size", "name", "smallest"),
    [
        ("nature", (28, 28), "nature", 36),
        ("nature", (1, 1), "nature", 36),
        ("nature", (35, 100), "nature", 36),
        (OwnEncoder, (12, 12), "OwnEncoder", 13),
        (OwnEncoder, (40, 3), "OwnEncoder", 13),
    ],
)
def test_images_that_are_too_small_name_the_smallest(encoder, size, name, smallest):
    expected = f"encoder '{name}' does not fit images of {size[0]}x{size[1]} pixels; .* {smallest}x{smallest}$"
    with pytest.raises(ValueError, match=expected):
        policy_of(encoder, *size)
    policy_of(encoder, smallest, smallest)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_an_agent_says_so_in_one_line(weight):
    with pytest.raises(ValueError, match="smallest accepted size is 36x36") as caught:
        CAMALPPO("CamPolicy", CountingEnv(size=28), camal={"weight": weight})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoder", "size"), [("compact", 4), ("impala", 4), ("nature", 40)])
def test_a_map_of_one_cell_supervises_nothing_and_says_so(encoder, size):
    kwargs = {"policy_kwargs": {"encoder": encoder}, "n_steps": 4, "batch_size": 4}
    with pytest.warns(UserWarning, match=f"is a single cell on {size}x{size} images, so maps have no position"):
        CAMALPPO("CamPolicy", CountingEnv(size=size), **kwargs).learn(8)
    CAMALPPO("CamPolicy", CountingEnv(size=size), camal={"weight": 0}, **kwargs).learn(8)


def test_other_errors_of_an_encoder_stay_what_they_are():
    with pytest.raises(RuntimeError, match="not a matter of size"):
        policy_of(OwnEncoder, 40, 40, features_extractor_kwargs={"broken": True})


def test_a_map_without_cells_is_refused():
    model_kwargs = {"policy_kwargs": {"encoder": EmptyMaps, "cam_layer": "crop"}, "n_steps": 4, "batch_size": 4}
    with pytest.raises(ValueError, match="the CAM grid of encoder 'EmptyMaps' is 0x2"):
        CAMALPPO("CamPolicy", CountingEnv(size=16), camal={"weight": 0.1}, **model_kwargs)
    CAMALPPO("CamPolicy", CountingEnv(size=16), camal={"weight": 0}, **model_kwargs).learn(4)


def test_an_unknown_encoder_names_a_near_one_alone():
    with pytest.raises(ValueError, match="unknown encoder 'impalla'; did you mean 'impala'"):
        policy_of("impalla", 40, 40)
    with pytest.raises(ValueError, match="unknown encoder 'resnet'; the encoders are nature, impala, compact, patch"):
        policy_of("resnet", 40, 40)

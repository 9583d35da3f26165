import numpy as np
import pytest
import torch
from torch import nn

from camal_rl.supervised.attention_report import attention_report, on_common_grid
from camal_rl.supervised.background_swap import background_swap
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, EvaluationConfig
from camal_rl.supervised.data.samples import Sample
from camal_rl.supervised.data.spurious_shapes import SpuriousShapes
from camal_rl.supervised.evaluation import accuracy_report
from tests.supervised.fakes import PooledNet, Squares

SETTINGS = EvaluationConfig(images=8, grid=4, seed=0)


class Brightness(nn.Module):
    """Class 1 where the picture's brightest pixel is above a limit; its feature map is the picture."""

    cam_layer = "look"

    def __init__(self, limit):
        super().__init__()
        self.look, self.scale, self.limit = nn.Identity(), nn.Parameter(torch.ones(1)), limit

    def forward(self, images):
        peak = (self.look(images) * self.scale).mean(dim=1).amax(dim=(1, 2)) - self.limit
        return torch.stack([-10 * peak, 10 * peak], dim=1)


class Sees(PooledNet):
    """Says itself that it looks at the left half."""

    def built_in_attention(self, images):
        attention = torch.zeros(len(images), 2, 2)
        attention[:, :, 0] = 1
        return attention


def test_accuracy_by_group_and_of_the_worst_group():
    # Squares shine with 150 or 250: the limit calls all squares of group 1 class 1, and all of group 0 class 0.
    report = accuracy_report(Brightness(200 / 255), Squares(10))
    # Indices 0, 1, 4, 5, 8, 9 are in group 0, half of them of class 0.
    assert report["groups"] == {"dark": {"accuracy": 0.5, "n": 6}, "bright": {"accuracy": 0.5, "n": 4}}
    assert report["n"] == 10
    everything_1 = accuracy_report(Brightness(-1.0), Squares(7))
    # Of 7 images 1, 3 and 5 are of class 1; group 1 holds 2, 3 and 6.
    assert everything_1["average"] == pytest.approx(3 / 7)
    assert everything_1["groups"]["dark"] == {"accuracy": 0.5, "n": 4}
    assert everything_1["worst_group"] == everything_1["groups"]["bright"]["accuracy"] == pytest.approx(1 / 3)


def test_a_group_without_images_is_left_out():
    report = accuracy_report(Brightness(-1.0), Squares(2))
    assert list(report["groups"]) == ["dark"]
    assert report["worst_group"] == 0.5


def test_attention_on_the_squares_and_its_controls():
    data = Squares(16)
    model = Brightness(200 / 255)
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, data, CamalConfig(target="predicted", method="hirescam"), SETTINGS)
    assert list(report) == ["class"]
    found = report["class"]
    assert (found["frames"], found["empty_targets"], found["grid"]) == (8, 0, [16, 16])
    assert set(found["faithfulness"]) == {"own", "random", "mask"}
    # The brightest pixel, all that the model sees, lies in the square, where only one class has a positive map.
    assert found["alignment"]["epg"] == pytest.approx(1.0)
    effects = {name: each["deletion_effect"] for name, each in found["faithfulness"].items()}
    assert effects["mask"] > effects["random"]


def test_images_without_a_mask_are_undefined_and_a_set_without_any_is_empty():
    model = PooledNet()
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, Squares(8, masked={0, 3}), CamalConfig(), SETTINGS)["class"]
    assert report["empty_targets"] == 6
    assert report["faithfulness"]["mask"]["undefined"] == 6
    assert attention_report(model, cams, Squares(8, masked=set()), CamalConfig(), SETTINGS) == {}


def test_a_models_own_attention_is_measured_on_the_same_grid():
    model = Sees()
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, Squares(8), CamalConfig(), SETTINGS)
    assert report["built_in"]["grid"] == [2, 2]
    target = np.zeros((2, 4, 4))
    # The squares cover rows 4 to 7 and columns 2 to 5, or 10 to 13: two cells of 4x4 pixels.
    target[0, 1, :2] = target[1, 1, 2:] = 1
    left = torch.zeros(1, 2, 2)
    left[:, :, 0] = 1
    cam = on_common_grid(left, (16, 16), 4)[0].numpy()
    expected = np.mean([(cam * each).sum() / cam.sum() for each in target])
    assert report["built_in"]["alignment"]["epg"] == pytest.approx(expected, rel=1e-5)


def test_the_common_grid_averages_pixels():
    cam = torch.arange(16.0).view(1, 4, 4)
    assert torch.equal(on_common_grid(cam, (4, 4), 2), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]))


class Redrawn:
    """The texture is the value of the first pixel, the drawing's seed that of the second, the index the third."""

    textures = ("a", "b", "c")

    def __len__(self):
        return 6

    def background(self, index):
        return index % 3

    def __getitem__(self, index):
        return self.on_background(index, self.background(index), 0)

    def on_background(self, index, texture, texture_seed):
        image = torch.zeros(3, 2, 2, dtype=torch.uint8)
        image[0, 0] = torch.tensor([texture, texture_seed])
        image[0, 1, 0] = index
        return Sample(image, int(index < 3), torch.zeros(2, 2, dtype=torch.bool), False, 0)


def test_flips_are_counted_by_texture():
    # Class 1 on texture 2 alone: of the pairs only those from or to texture 2 flip.
    found = background_swap(lambda images: (images[:, 0, 0, 0] == 2).long(), Redrawn(), seed=5)
    # Images on 0 and 1 flip on one of two others, those on 2 on both.
    assert found["flips"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found["flips_any"] == 1.0
    assert found["flips_same_texture"] == 0.0
    assert (found["n"], found["pairs"], found["seed"]) == (6, 12, 5)
    blind = background_swap(lambda images: (images[:, 0, 1, 0] < 3).long(), Redrawn(), seed=5)
    assert (blind["flips"], blind["flips_any"], blind["accuracy_swapped"]) == (0.0, 0.0, 1.0)
    noise = background_swap(lambda images: (images[:, 0, 0, 1] == 5).long(), Redrawn(), seed=5)
    assert (noise["flips_same_texture"], noise["flips"]) == (1.0, 1.0)


def test_the_generators_own_sets_can_be_swapped():
    images = SpuriousShapes("test", length=4, image_size=32)
    mean = background_swap(lambda batch: (batch.float().mean(dim=(1, 2, 3)) > 127).long(), images, seed=1)
    assert mean["n"] == 4
    assert mean["pairs"] == 4 * (len(images.textures) - 1)

import numpy as np
import pytest
import torch
from torch import nn

from camal_rl.runs.results import ResultKey
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
    assert [(each.control, each.value, each.count) for each in report.select(figure="accuracy")] == [
        (None, 0.5, 10),
        ("dark", 0.5, 6),
        ("bright", 0.5, 4),
    ]
    assert report.find(ResultKey("accuracy")).error == pytest.approx((0.25 / 10) ** 0.5)
    everything_1 = accuracy_report(Brightness(-1.0), Squares(7))
    # Of 7 images 1, 3 and 5 are of class 1; group 1 holds 2, 3 and 6.
    assert everything_1.value("accuracy") == pytest.approx(3 / 7)
    dark = everything_1.find(ResultKey("accuracy", control="dark"))
    assert (dark.value, dark.count) == (0.5, 4)
    worst = everything_1.find(ResultKey("worst_group_accuracy"))
    assert worst.value == everything_1.value("accuracy", control="bright") == pytest.approx(1 / 3)
    assert worst.count == 3


def test_a_group_without_images_is_left_out():
    report = accuracy_report(Brightness(-1.0), Squares(2), "test")
    assert report.names("control") == ["dark"]
    assert report.value("worst_group_accuracy", level_set="test") == 0.5


def test_attention_on_the_squares_and_its_controls():
    data = Squares(16)
    model = Brightness(200 / 255)
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, data, CamalConfig(target="predicted", method="hirescam"), SETTINGS)
    assert list(report.maps) == report.results.targets() == ["class"]
    assert report.maps["class"].grid == (16, 16)
    empty = report.results.find(ResultKey("empty_targets", None, "class", "own"))
    assert (empty.value, empty.count) == (0, 8)
    deleted = report.results.select(figure="deletion_effect", target="class", control="mean")
    assert deleted.names("map") == ["own", "random", "mask"]
    # The brightest pixel, all that the model sees, lies in the square, where only one class has a positive map.
    assert report.results.value("epg", target="class", map="own") == pytest.approx(1.0)
    effects = {each.map: each.value for each in deleted}
    assert effects["mask"] > effects["random"]


def test_images_without_a_mask_are_undefined_and_a_set_without_any_is_empty():
    model = PooledNet()
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, Squares(8, masked={0, 3}), CamalConfig(), SETTINGS).results
    assert report.value("empty_targets", target="class", map="own") == 6
    assert report.find(ResultKey("area_fraction", None, "class", "own")).count == 2
    assert report.find(ResultKey("deletion_effect", None, "class", "mask", "mean")).count == 2
    assert attention_report(model, cams, Squares(8, masked=set()), CamalConfig(), SETTINGS) == ((), {})


def test_a_models_own_attention_is_measured_on_the_same_grid():
    model = Sees()
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    report = attention_report(model, cams, Squares(8), CamalConfig(), SETTINGS)
    assert report.maps["built_in"].grid == (2, 2)
    target = np.zeros((2, 4, 4))
    # The squares cover rows 4 to 7 and columns 2 to 5, or 10 to 13: two cells of 4x4 pixels.
    target[0, 1, :2] = target[1, 1, 2:] = 1
    left = torch.zeros(1, 2, 2)
    left[:, :, 0] = 1
    cam = on_common_grid(left, (16, 16), 4)[0].numpy()
    expected = np.mean([(cam * each).sum() / cam.sum() for each in target])
    assert report.results.value("epg", target="built_in", map="own") == pytest.approx(expected, rel=1e-5)


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
    assert found.value("background_flips") == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.value("background_flips", control="any") == 1.0
    assert found.value("background_flips", control="same_texture") == 0.0
    # 6 images; each on the 2 other textures.
    assert [each.count for each in found] == [12, 6, 6, 12]
    blind = background_swap(lambda images: (images[:, 0, 1, 0] < 3).long(), Redrawn(), seed=5)
    assert [each.value for each in blind] == [0.0, 0.0, 0.0, 1.0]
    noise = background_swap(lambda images: (images[:, 0, 0, 1] == 5).long(), Redrawn(), seed=5)
    assert (noise.value("background_flips", control="same_texture"), noise.value("background_flips")) == (1.0, 1.0)


def test_the_generators_own_sets_can_be_swapped():
    images = SpuriousShapes("test", length=4, image_size=32)
    mean = background_swap(lambda batch: (batch.float().mean(dim=(1, 2, 3)) > 127).long(), images, seed=1)
    assert mean.find(ResultKey("background_flips", control="any")).count == 4
    assert mean.find(ResultKey("background_flips")).count == 4 * (len(images.textures) - 1)

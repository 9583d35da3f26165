"""Average drop and increase in confidence, by hand and against torchcam."""

import contextlib

import pytest
import torch
from torch import nn
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

from camal_rl.metrics import ClassScoreDrop, average_drop, explanation_images, faithfulness, increase_in_confidence


def test_by_hand():
    before = torch.tensor([0.8, 0.5, 0.5, 0.0, 0.5])
    after = torch.tensor([0.6, 0.7, 0.5, 0.3, torch.nan])
    nan = torch.nan
    torch.testing.assert_close(average_drop(before, after), torch.tensor([0.25, 0, 0, nan, nan]), equal_nan=True)
    expected = torch.tensor([0, 1, 0, nan, nan])
    torch.testing.assert_close(increase_in_confidence(before, after), expected, equal_nan=True)
    with pytest.raises(ValueError, match=r"\(N,\)"):
        average_drop(before, after[:2])


def test_explanation_image_is_image_times_map_over_its_maximum():
    image, saliency = torch.tensor([[[[8.0, 6], [4, 2]]]]), torch.tensor([[[4.0, 2], [1, 0]]])
    copies = image.clone(), saliency.clone()
    torch.testing.assert_close(explanation_images(image, saliency), torch.tensor([[[[8.0, 3], [1, 0]]]]))
    gray = explanation_images(torch.full((1, 1, 2, 2), 201, dtype=torch.uint8), saliency)
    assert gray.dtype == torch.uint8
    assert gray[0, 0].tolist() == [[201, 100], [50, 0]]  # 100.5 is rounded to even, 50.25 down
    assert explanation_images(image, 0 * saliency).count_nonzero() == 0
    torch.testing.assert_close((image, saliency), copies)


class FixedMaps:
    """What torchcam asks of an extractor, with maps that are given."""

    def __init__(self, model, maps):
        self.model, self.maps = model, maps

    def __call__(self, class_idx=None, scores=None, **_):
        return [self.maps]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return contextlib.nullcontext()


@pytest.fixture
def classifier():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Softmax(dim=1))
    nn.init.normal_(model[1].weight, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("preferred", [True, False])
def test_equals_torchcam(classifier, preferred):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(12, 3, 8, 8, generator=generator)
    maps = torch.rand(12, 8, 8, generator=generator)
    maps = maps / maps.amax(dim=(1, 2), keepdim=True)  # torchcam multiplies by the map as it is
    targets = classifier(images).argmax(dim=1) if preferred else torch.arange(12) % 4
    extractor = FixedMaps(classifier, maps)
    confidence, curves = ClassificationMetric(extractor), DeletionInsertionMetric(extractor, steps=16)
    for metric in (confidence, curves):
        metric.update(images, class_idx=targets.tolist())
    fractions = [step / 16 for step in range(17)]
    ours = faithfulness(images, maps, classifier, ClassScoreDrop(targets), "zero", fractions, subsets=3).means()
    theirs = {**confidence.summary(), **curves.summary()}
    assert 0 < theirs["avg_drop"] < 1
    assert ours["average_drop"] == pytest.approx(theirs["avg_drop"], abs=1e-5)  # torchcam divides by p + 1e-7
    assert ours["increase_in_confidence"] == pytest.approx(theirs["conf_increase"])
    # Theirs are areas under the probability, ours under its drop from that of the image.
    start = float(classifier(images)[torch.arange(12), targets].mean())
    assert ours["deletion_change_auc"] == pytest.approx(start - theirs["deletion_auc"], abs=1e-6)
    assert ours["insertion_change_auc"] == pytest.approx(start - theirs["insertion_auc"], abs=1e-6)

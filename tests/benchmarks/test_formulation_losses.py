"""The losses that were tried as formulations: hand values, and their way into a configuration."""

import pytest
import torch

from benchmarks.formulation_losses import MARGIN, margin
from camal_rl.losses import attention_loss, camal_loss
from camal_rl.runs.loading import load_config

TARGET = torch.tensor([[[1.0, 1, 0], [0, 0, 0]], [[0.0] * 3] * 2])


@pytest.mark.parametrize(("inside", "expected"), [((0.9, 0.3), 0.0), ((0.5, 0.5), 0.0), ((0.2, 0.0), 0.8)])
def test_a_mean_attention_of_the_margin_suffices(inside, expected):
    assert MARGIN == 0.5
    cam = torch.tensor([[[*inside, 0.1], [0.0, 0.2, 0.0]], [[0.7] * 3] * 2])
    found = margin(cam, TARGET)
    assert found.inside.item() == pytest.approx(expected)
    assert found.outside.item() == pytest.approx(0.3 / (sum(inside) + 0.3))
    assert torch.equal(found.outside, camal_loss(cam, TARGET).outside)
    assert found.valid_fraction.item() == 0.5


def test_a_configuration_can_select_it():
    path = "benchmarks.formulation_losses:margin"
    assert load_config("toy_grid", [f"camal.loss={path}"]).camal.loss == path
    cams = torch.rand(2, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    found = attention_loss(path)(cams, TARGET)
    assert found.total.tolist() == [margin(each, TARGET).total.item() for each in cams]

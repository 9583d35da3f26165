"""Losses of users: by name or path, tried once before anything is trained on them, for one map or several."""

import pytest
import torch

from camal_rl import losses
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.losses import LOSSES, CamalLoss, attention_loss, energy_loss, register_loss


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    monkeypatch.setattr(losses, "_custom_losses", {})


def own_energy(cam, target):
    """The energy loss, for ``(B, h, w)`` alone."""
    assert cam.dim() == 3
    return energy_loss(cam, target)


def test_an_own_loss_is_known_by_its_name_and_by_its_path():
    register_loss("mine")(own_energy)
    cam, target = torch.rand(4, 3, 3), (torch.rand(4, 3, 3) > 0.5).float()
    for name in ("mine", f"{__name__}:own_energy"):
        assert CamalConfig(loss=name).loss == name
        assert attention_loss(name)(cam, target) == energy_loss(cam, target)


def test_a_loss_of_one_map_serves_several():
    register_loss("mine")(own_energy)
    cams, target = torch.rand(2, 4, 3, 3, requires_grad=True), (torch.rand(4, 3, 3) > 0.5).float()
    ours, theirs = attention_loss("mine")(cams, target), energy_loss(cams, target)
    for part in ("total", "inside", "outside", "valid_fraction"):
        torch.testing.assert_close(getattr(ours, part), getattr(theirs, part))
    maps = {"value": cams[0], "policy": cams[1]}
    mine, stock = (camal_term(maps, target, CamalConfig(loss=name)) for name in ("mine", "energy"))
    torch.testing.assert_close(mine.loss, stock.loss)
    mine.loss.backward()
    assert bool((cams.grad != 0).any())


def test_an_own_loss_is_tried_once():
    calls = []

    @register_loss("counting")
    def counting(cam, target):
        calls.append(cam.shape)
        return energy_loss(cam, target)

    for _ in range(3):
        CamalConfig(loss="counting")
    assert calls == [(2, 2, 3)]


def scalars(**parts):
    def loss(cam, target):
        own = {"inside": cam.mean() * 0, "outside": cam.mean(), "valid_fraction": torch.tensor(0.5), **parts}
        return CamalLoss(**{"total": own["inside"] + own["outside"], **own})

    return loss


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda cam, target: (cam - target).abs().mean(), "it returned Tensor"),
        (lambda cam: cam, "raised TypeError"),
        (lambda cam, target: cam @ target, "raised RuntimeError"),
        (lambda cam, target: None, "it returned NoneType"),
        (scalars(outside=torch.tensor(float("nan"))), "is nan on a frame with a target and one without"),
        (scalars(valid_fraction=0.5), "its valid_fraction is a float"),
        (scalars(outside=torch.ones(2)), r"its total is a Tensor of shape \(2,\)"),
        (scalars(total=torch.tensor(3.0)), "its total is 3 and not inside"),
        (scalars(outside=torch.tensor(0.5), inside=torch.tensor(0.0)), "no gradient flows"),
        (CamalLoss, "is not a function"),
        ([1], "is not a function"),
    ],
)
def test_what_is_no_loss_is_refused_in_one_line_when_the_configuration_is_checked(loss, message):
    LOSSES.register("bad", loss)
    with pytest.raises(ValueError, match=message) as refusal:
        CamalConfig(loss="bad")
    assert "attention loss 'bad' must take maps and targets (B, h, w)" in str(refusal.value)
    assert "camal_loss" not in str(refusal.value)


def test_shipped_losses_are_returned_as_they_are():
    assert attention_loss("energy") is energy_loss

"""Losses: literals, the rule for empty and full targets, derivatives, and that training on them moves attention."""

import math

import pytest
import torch
from torch import nn

from camal_rl.attention import class_activation_map, normalize_cam
from camal_rl.losses import LOSSES, PPCE_FLOOR, attention_loss, camal_loss, camal_square_loss
from camal_rl.metrics import energy_pointing_game
from tests.method.watched_operations import NoSync

CAM = torch.tensor([[[1.0, 0.5], [0.0, 0.25]]])
TOP_ROW = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])

# (inside, outside) of CAM against TOP_ROW
EXPECTED = {
    "camal": (0.25 / 2, 0.25 / 1.75),
    "camal_square": (0.25 / 2, 0.0625 / 2),
    "energy": (0.0, 0.25 / 1.75),
    "l1": (0.5 / 4, 0.25 / 4),
    "ppce": (-math.log((0.5 + PPCE_FLOOR) / (1 + PPCE_FLOOR)) / 2, 0.0),
    "rrr": (0.0, 0.0625),
    "mse": (0.25 / 4, 0.0625 / 4),
}
PULLS_INSIDE = ["camal", "camal_square", "energy", "l1", "ppce", "mse"]
PUSHES_OUTSIDE = ["camal", "camal_square", "energy", "l1", "rrr", "mse"]


def test_every_loss_has_an_expected_value():
    assert set(EXPECTED) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_value_by_hand(self, name):
        loss = attention_loss(name)(CAM, TOP_ROW)
        inside, outside = EXPECTED[name]
        assert loss.inside.item() == pytest.approx(inside, abs=1e-6)
        assert loss.outside.item() == pytest.approx(outside, abs=1e-6)
        assert loss.total.item() == pytest.approx(inside + outside, abs=1e-6)
        assert loss.valid_fraction.item() == 1

    def test_perfect_map_costs_nothing_and_inverted_map_something(self, name):
        assert LOSSES[name](TOP_ROW, TOP_ROW).total.item() == pytest.approx(0, abs=1e-6)
        assert LOSSES[name](1 - TOP_ROW, TOP_ROW).total.item() >= 0.5

    def test_empty_frames_contribute_nothing(self, name):
        empty = torch.zeros_like(TOP_ROW)
        cam = torch.cat([CAM, torch.full_like(CAM, 0.9)]).requires_grad_()
        loss = LOSSES[name](cam, torch.cat([TOP_ROW, empty]))
        torch.testing.assert_close(loss.total, LOSSES[name](CAM, TOP_ROW).total)
        assert loss.valid_fraction.item() == 0.5
        loss.total.backward()
        assert bool((cam.grad[1] == 0).all())
        assert bool((cam.grad[0] != 0).any())

    def test_no_valid_frame_gives_zero_with_a_graph(self, name):
        cam = CAM.clone().requires_grad_()
        loss = LOSSES[name](cam, torch.zeros_like(CAM))
        loss.total.backward()
        assert loss.total.item() == 0
        assert loss.valid_fraction.item() == 0
        assert bool((cam.grad == 0).all())

    def test_full_target_has_no_outside(self, name):
        loss = LOSSES[name](CAM, torch.ones_like(CAM))
        assert loss.outside.item() == pytest.approx(0, abs=1e-7)
        assert bool(loss.total.isfinite())

    def test_zero_map_is_finite(self, name):
        cam = torch.zeros(1, 2, 2, requires_grad=True)
        loss = LOSSES[name](cam, TOP_ROW)
        loss.total.backward()
        assert bool(loss.total.isfinite())
        assert bool(cam.grad.isfinite().all())

    def test_nan_is_not_hidden(self, name):
        cam = CAM.clone()
        cam[0, 0, 0] = torch.nan
        cam[0, 1, 0] = torch.nan
        assert LOSSES[name](cam, TOP_ROW).total.isnan()

    @pytest.mark.parametrize("soft", [False, True])
    def test_derivative(self, name, soft):
        torch.manual_seed(0)
        cam = (0.05 + 0.9 * torch.rand(3, 3, 4, dtype=torch.float64)).requires_grad_()
        target = torch.rand(3, 3, 4, dtype=torch.float64)
        target = target if soft else (target > 0.5).double()
        target[1] = 0
        assert torch.autograd.gradcheck(lambda cam: LOSSES[name](cam, target).total, (cam,))

    def test_direction_of_the_gradient(self, name):
        cam = torch.full((1, 2, 2), 0.5, requires_grad=True)
        LOSSES[name](cam, TOP_ROW).total.backward()
        assert bool((cam.grad[0, 0] < 0).all()) == (name in PULLS_INSIDE)
        assert bool((cam.grad[0, 1] > 0).all()) == (name in PUSHES_OUTSIDE)

    def test_never_waits_for_the_device(self, name):
        with NoSync():
            LOSSES[name](normalize_cam(CAM), TOP_ROW)

    def test_several_maps_of_the_same_frames_give_the_loss_of_each(self, name):
        torch.manual_seed(0)
        cams, target = torch.rand(2, 5, 3, 4, dtype=torch.float64), (torch.rand(5, 3, 4) > 0.6).double()
        target[1] = 0
        cams[:, 2] = 0
        together = LOSSES[name](cams, target)
        for k, cam in enumerate(cams):
            alone = LOSSES[name](cam, target)
            for part in ("total", "inside", "outside"):
                torch.testing.assert_close(getattr(together, part)[k], getattr(alone, part))
            assert together.valid_fraction == alone.valid_fraction == 0.8

    def test_bad_input(self, name):
        with pytest.raises(TypeError, match="target_tensor converts"):
            LOSSES[name](CAM, TOP_ROW.byte())
        with pytest.raises(TypeError, match="cam must be floating point"):
            LOSSES[name](CAM.byte(), TOP_ROW)
        with pytest.raises(ValueError, match=r"\(1, 2, 2\) and \(1, 4, 4\)"):
            LOSSES[name](CAM, torch.zeros(1, 4, 4))
        for cam, target in ((CAM[0], TOP_ROW[0]), (CAM[None, None], TOP_ROW), (CAM, TOP_ROW[None])):
            with pytest.raises(ValueError, match="same shape"):
                LOSSES[name](cam, target)

    @pytest.mark.gpu
    def test_cpu_equals_cuda(self, name):
        torch.manual_seed(0)
        cam, target = torch.rand(8, 6, 6), (torch.rand(8, 6, 6) > 0.7).float()
        there = LOSSES[name](cam.cuda(), target.cuda())
        torch.testing.assert_close(there.total.cpu(), LOSSES[name](cam, target).total)


def test_soft_targets_weigh():
    # inside = (1 * 1 + .5 * .25) / 1.5; outside = (.5 * .5 + 1 * 1) / 1.5, squared (.5 * .25 + 1 * 1) / 2.5
    cam, target = torch.tensor([[[0.0, 0.5], [1.0, 0.0]]]), torch.tensor([[[1.0, 0.5], [0.0, 0.0]]])
    loss, square = camal_loss(cam, target), camal_square_loss(cam, target)
    assert loss.inside.item() == square.inside.item() == pytest.approx(0.75)
    assert loss.outside.item() == pytest.approx(1.25 / 1.5)
    assert square.outside.item() == pytest.approx(0.45)


def test_attention_spread_thinly_outside_is_not_cheap():
    target = torch.zeros(1, 10, 10)
    target[0, 0, 0] = 1
    thin = torch.full((1, 10, 10), 0.1)
    thin[0, 0, 0] = 1
    # 99 cells of 0.1 hold 9.9 of 10.9 of the attention; their squared mean is 0.01.
    assert camal_loss(thin, target).outside.item() == pytest.approx(9.9 / 10.9)
    assert camal_square_loss(thin, target).outside.item() == pytest.approx(0.01)


def test_an_all_zero_map_has_nothing_inside_and_nothing_to_gain_outside():
    cam = torch.zeros_like(CAM).requires_grad_()
    loss = camal_loss(cam, TOP_ROW)
    assert (loss.inside.item(), loss.outside.item()) == (1, 1)


def test_small_and_large_objects_count_alike():
    small, large = torch.zeros(2, 1, 8, 8).unbind()
    small[0, 0, 0] = 1
    large[0, :6] = 1
    nothing = torch.zeros(1, 8, 8)
    assert camal_loss(nothing, small).inside.item() == camal_loss(nothing, large).inside.item() == 1


def test_frames_are_averaged():
    # second frame: full target, inside (0 + .25 + 1 + .5625) / 4, no outside
    loss = camal_loss(torch.cat([CAM, CAM]), torch.cat([TOP_ROW, torch.ones_like(TOP_ROW)]))
    assert loss.inside.item() == pytest.approx((0.125 + 1.8125 / 4) / 2)
    assert loss.outside.item() == pytest.approx(0.25 / 1.75 / 2)


def test_unknown_loss_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'energy'"):
        attention_loss("enrgy")
    with pytest.raises(ValueError, match="the losses are camal, camal_square, energy"):
        attention_loss("xyz")


def test_training_on_the_loss_moves_attention_onto_the_target():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
    head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 1))
    images, target = torch.rand(16, 1, 6, 6) * 0.3, torch.zeros(16, 6, 6)
    for index in range(16):
        row, column = index % 4, index // 4
        target[index, row : row + 2, column : column + 2] = 1
    images[:, 0] += target
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)

    def attention():
        features = encoder(images)
        return class_activation_map(features, head(features).squeeze(1), create_graph=True, rectify="absolute")

    before = energy_pointing_game(attention(), target).mean().item()
    for _ in range(100):
        optimizer.zero_grad()
        camal_loss(normalize_cam(attention()), target).total.backward()
        optimizer.step()
    after = energy_pointing_game(attention(), target).mean().item()
    assert before < 0.3
    assert after > 0.55

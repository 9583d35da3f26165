import doctest
import subprocess
import sys

import pytest
import torch

from camal_rl import camal_term as module
from camal_rl.attention import normalize_cam
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.losses import LOSSES

MASKS = torch.tensor([[[255, 0], [0, 0]], [[0, 0], [255, 255]]], dtype=torch.uint8)
ONES = torch.ones(2, 2, 2)


def maps():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(2, 2, 2, generator=generator, requires_grad=True) for name in ("value", "policy")}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_term_is_the_weighted_sum_of_the_losses_of_normalized_maps(loss):
    config = CamalConfig(weight=0.3, loss=loss, inside_weight=0.5, schedule="warmup", schedule_fraction=0.5)
    cams = maps()
    term = camal_term(cams, MASKS, config, progress=0.25)
    parts = [LOSSES[loss](normalize_cam(cam), MASKS.float() / 255) for cam in cams.values()]
    expected = sum(0.5 * part.inside + part.outside for part in parts)
    assert term.total.item() == pytest.approx(expected.item())
    assert term.loss.item() == pytest.approx(0.15 * expected.item())
    assert term.inside.tolist() == pytest.approx([part.inside.item() for part in parts])
    assert term.outside.tolist() == pytest.approx([part.outside.item() for part in parts])
    term.loss.backward()
    assert all(cam.grad.abs().sum() > 0 for cam in cams.values())
    assert not any(each.requires_grad for each in (term.inside, term.outside, term.zero_fraction))


def test_by_hand():
    cam = torch.tensor([[[4.0, 0.0], [4.0, 0.0]]])
    term = camal_term({"value": cam}, MASKS[:1], CamalConfig(weight=2.0, targets=("value",)))
    # Normalized 1, 0, 1, 0: nothing is missing inside, half of the attention lies outside.
    assert (term.inside.item(), term.outside.item(), term.loss.item()) == (0.0, 0.5, 1.0)


def test_masks_of_every_type_mean_the_same():
    losses = [camal_term(maps(), masks, CamalConfig()).loss for masks in (MASKS, MASKS > 0, MASKS.float() / 255)]
    assert losses[0] == losses[1] == losses[2]


def test_maps_of_zero_are_counted_and_other_targets_ignored():
    cams = {"value": torch.stack([torch.zeros(2, 2), torch.ones(2, 2)]), "policy": torch.ones(2, 9, 9)}
    assert camal_term(cams, MASKS, CamalConfig(targets=("value",))).zero_fraction.tolist() == [0.5]


@pytest.mark.parametrize(
    ("cams", "masks", "error", "message"),
    [
        ({"value": ONES}, MASKS, ValueError, r"one map per frame for each of value, policy, got \['value'\]"),
        ({"value": ONES, "policy": torch.ones(2, 3, 3)}, MASKS, ValueError, "must have the same shape"),
        ({"value": ONES, "policy": ONES}, MASKS[:1], ValueError, "the same shape"),
        ({"value": ONES, "policy": ONES}, MASKS.int(), TypeError, "must be uint8"),
    ],
)
def test_what_does_not_belong_together_is_refused(cams, masks, error, message):
    with pytest.raises(error, match=message):
        camal_term(cams, masks, CamalConfig())


def test_the_example_runs():
    outcome = doctest.testmod(module)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def test_a_loop_of_ones_own_needs_no_stable_baselines():
    program = "import sys, camal_rl.camal_term; print(sorted({'stable_baselines3', 'gymnasium'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

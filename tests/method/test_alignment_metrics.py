"""Alignment metrics: hand values, plain-loop oracles, and frames that are not defined."""

import math

import pytest
import torch

from camal_rl.metrics import ALIGNMENT_METRICS, METRICS_BY_NAME, AlignmentSummary, alignment, energy_pointing_game, iou
from camal_rl.metrics.ranking import auroc, average_precision

TARGET = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])


def values(cam, target=TARGET):
    return {name: tensor.item() for name, tensor in alignment(cam, target).items()}


def test_by_hand():
    # min-max map: 1, .42, .62, 0, 0, 0, 0, 0 (the map has 1 added, so that the stretch matters)
    cam = 1 + 5 * torch.tensor([[[1.0, 0.42, 0.62, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    found = values(cam)
    assert found["epg"] == pytest.approx(9.1 / 18.2)
    assert found["area_fraction"] == pytest.approx(0.25)
    assert found["epg_over_area"] == pytest.approx(2)
    assert found["pointing_game"] == 1
    assert found["iou"] == pytest.approx(1 / 3)
    # IoU 2/3 at the thresholds .05 to .4 (8 of them), 1/3 from .45 to .6 (4), 1/2 from .65 to .95 (7)
    assert found["iou_auc"] == pytest.approx((8 * 2 / 3 + 4 / 3 + 7 / 2) / 19)
    assert found["soft_dice"] == pytest.approx(2 * 1.42 / (2.04 + 2))
    assert found["mae"] == pytest.approx((0.58 + 0.62) / 8)
    assert found["auroc"] == pytest.approx((6 + 5) / 12)
    assert found["auprc"] == pytest.approx((1 + 2 / 3) / 2)


def test_iou_sweep_by_hand():
    cam = torch.tensor([[[1.0, 0.52, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    assert values(cam)["iou_auc"] == pytest.approx((10 * 1 + 9 * 0.5) / 19)
    assert iou(cam, TARGET, threshold=0.51).item() == 1
    assert iou(cam, TARGET, threshold=0.53).item() == 0.5


def test_perfect_map():
    found = values(TARGET * 3)
    for name in ("epg", "pointing_game", "iou", "iou_auc", "soft_dice", "auroc", "auprc"):
        assert found[name] == 1
    assert found["mae"] == 0
    assert found["epg_over_area"] == 4


def test_inverted_map():
    found = values(1 - TARGET)
    for name in ("epg", "pointing_game", "iou", "iou_auc", "soft_dice", "auroc"):
        assert found[name] == 0
    assert found["mae"] == 1
    assert found["auprc"] == pytest.approx(0.25)


def test_uniform_map_scores_the_area_fraction():
    found = values(torch.full_like(TARGET, 0.3))
    for name in ("epg", "pointing_game", "iou", "iou_auc", "auprc"):
        assert found[name] == pytest.approx(0.25)
    assert found["epg_over_area"] == pytest.approx(1)
    assert found["auroc"] == 0.5
    assert found["soft_dice"] == pytest.approx(2 * 2 / 10)
    assert found["mae"] == pytest.approx(0.75)


def test_full_target():
    found = values(torch.rand(1, 2, 4) + 0.1, torch.ones_like(TARGET))
    assert found["epg"] == found["area_fraction"] == found["epg_over_area"] == found["pointing_game"] == 1
    assert math.isnan(found["auroc"])
    assert math.isnan(found["auprc"])


def test_empty_target_is_undefined_not_zero():
    assert all(math.isnan(value) for value in values(torch.rand(1, 2, 4), torch.zeros_like(TARGET)).values())


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_dead_and_nonfinite_maps_are_undefined(bad):
    cam = torch.zeros_like(TARGET)
    cam[0, 1, 2] = bad
    found = values(cam)
    assert found.pop("area_fraction") == 0.25
    assert all(math.isnan(value) for value in found.values())


def test_tied_maxima_count_by_their_share_inside():
    cam = torch.tensor([[[2.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]])
    assert values(cam)["pointing_game"] == pytest.approx(1 / 3)


def test_soft_target_weighs_in_epg():
    cam = torch.tensor([[[1.0, 1.0, 2.0, 0.0]]])
    target = torch.tensor([[[1.0, 0.5, 0.0, 0.0]]])
    assert energy_pointing_game(cam, target).item() == pytest.approx(1.5 / 4)
    assert iou(cam, target).item() == pytest.approx(2 / 3)


def test_scale_does_not_matter_and_frames_are_independent():
    torch.manual_seed(0)
    cam, target = torch.rand(7, 5, 6), (torch.rand(7, 5, 6) > 0.6).float()
    cam[2], target[4] = 0, 0
    together = alignment(cam, target)
    scaled = alignment(cam * 1e-4, target)
    for name, found in together.items():
        alone = torch.cat([alignment(cam[i : i + 1], target[i : i + 1])[name] for i in range(7)])
        torch.testing.assert_close(found, alone, equal_nan=True)
        torch.testing.assert_close(found, scaled[name], equal_nan=True, rtol=1e-4, atol=1e-6)


def test_ranking_metrics_equal_plain_loops_with_ties():
    torch.manual_seed(1)
    scores = torch.randint(0, 6, (20, 30)).double()
    positive = torch.rand(20, 30) < 0.3
    for row, inside, area, precision in zip(
        scores, positive, auroc(scores, positive), average_precision(scores, positive), strict=True
    ):
        hits, misses = row[inside].tolist(), row[~inside].tolist()
        wins = [(h > m) + 0.5 * (h == m) for h in hits for m in misses]
        assert area.item() == pytest.approx(sum(wins) / len(wins))
        at_least = [(sum(h >= t for h in hits), sum(s >= t for s in row.tolist())) for t in hits]
        assert precision.item() == pytest.approx(sum(h / s for h, s in at_least) / len(hits))


def test_summary_counts_what_is_undefined():
    cam, target = torch.ones(5, 2, 4), TARGET.repeat(5, 1, 1)
    cam[0] = TARGET[0]
    cam[1] = 0
    cam[2, 0, 0] = torch.nan
    target[3] = 0
    summary = AlignmentSummary.of(cam, target)
    assert (summary.frames, summary.zero_maps, summary.nonfinite_maps, summary.empty_targets) == (5, 1, 1, 1)
    assert summary.undefined["epg"] == 3
    assert summary.undefined["area_fraction"] == 1
    assert summary.means["epg"] == pytest.approx((1 + 0.25) / 2)
    assert summary.to_dict()["means"]["area_fraction"] == pytest.approx(0.25)


def test_every_metric_is_declared_and_in_range():
    torch.manual_seed(0)
    found = alignment(torch.rand(50, 4, 4), (torch.rand(50, 4, 4) > 0.5).float())
    assert list(found) == [metric.name for metric in ALIGNMENT_METRICS]
    for name, tensor in found.items():
        low, high = METRICS_BY_NAME[name].range
        assert low <= tensor.min() <= tensor.max() <= high
    assert METRICS_BY_NAME["mae"].arrow == "↓"
    assert METRICS_BY_NAME["epg"].arrow == "↑"
    assert METRICS_BY_NAME["area_fraction"].arrow == ""


def test_inputs_are_not_changed():
    cam, target = torch.rand(3, 4, 4), (torch.rand(3, 4, 4) > 0.5).float()
    cam[0], cam[1, 0, 0] = 0, torch.nan
    copies = cam.clone(), target.clone()
    alignment(cam, target)
    torch.testing.assert_close((cam, target), copies, equal_nan=True)


def test_bad_input():
    with pytest.raises(ValueError, match="rectify it first"):
        alignment(-TARGET, TARGET)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        alignment(TARGET, 255 * TARGET)
    with pytest.raises(TypeError, match="target must be floating point"):
        alignment(TARGET, TARGET.byte())
    with pytest.raises(ValueError, match="same shape"):
        alignment(TARGET, TARGET[:, :1])

"""Metrics that users add: computed, named, shown and explained as those that ship."""

import pytest
import torch

from camal_rl.comparison.figure_words import figure_words, with_arrow
from camal_rl.comparison.glossary import glossary_page, glossary_tables, metrics_glossary
from camal_rl.comparison.run_tables import alignment_table
from camal_rl.metrics import CUSTOM_METRICS, METRICS_BY_NAME, AlignmentSummary, alignment, register_metric
from camal_rl.runs.results import Result, ResultKey, Results


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(CUSTOM_METRICS, "_entries", {})


def register_peak(name="peak_share"):
    @register_metric(name, range=(0, 1), higher_is_better=True, source="ours, 2026", random="1 / cells")
    def peak_share(cam, target):
        """Largest value of the map divided by its sum.

        More text.
        """
        return cam.amax(dim=(-2, -1)) / cam.sum(dim=(-2, -1))

    return peak_share


def test_an_own_metric_joins_the_alignment_of_each_frame():
    register_peak()
    cam = torch.tensor([[[3.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]])
    target = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    found = alignment(cam, target)
    assert list(found)[-1] == "peak_share"
    torch.testing.assert_close(found["peak_share"], torch.tensor([0.75, torch.nan, torch.nan]), equal_nan=True)
    summary = AlignmentSummary.of(cam, target)
    assert summary.means["peak_share"] == 0.75
    assert summary.undefined["peak_share"] == 2


def test_an_own_metric_never_sees_a_map_that_is_not_finite():
    @register_metric("finite", range=(0, 1), higher_is_better=None, source="ours")
    def finite(cam, target):
        assert bool(torch.isfinite(cam).all())
        return torch.ones(len(cam))

    cam = torch.tensor([[[torch.nan, 1.0]], [[1.0, 0.0]]])
    found = alignment(cam, torch.ones(2, 1, 2))["finite"]
    torch.testing.assert_close(found, torch.tensor([torch.nan, 1.0]), equal_nan=True)


def test_tables_and_the_glossary_know_it():
    before = glossary_page()
    register_peak()
    assert METRICS_BY_NAME["peak_share"].higher_is_better is True
    assert "peak_share" in METRICS_BY_NAME
    assert "epg" in METRICS_BY_NAME
    assert "peak_sharp" not in METRICS_BY_NAME
    assert with_arrow("peak_share") == "peak share\N{NO-BREAK SPACE}↑"
    assert figure_words(ResultKey("peak_share", "train", "value", "own"), arrow=True) == (
        "peak share of the value map on train\N{NO-BREAK SPACE}↑"
    )
    (table,) = glossary_tables("peak_share")
    assert [cell.text for cell in table.rows[0]] == [
        "peak share",
        "peak_share",
        "higher",
        "0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}1",
        "1 / cells",
        "Largest value of the map divided by its sum.",
        "ours, 2026",
    ]
    assert any(row[0].text == "peak share" for row in metrics_glossary().rows)
    assert glossary_page() == before


def test_the_table_of_a_run_has_a_column_for_it():
    place = {"level_set": "train", "target": "value", "map": "own"}
    found = {"epg": 0.5, "peak_share": 0.25, "zero_maps": 0}
    table = alignment_table(
        Results(Result(figure=name, **place, value=value, count=2) for name, value in found.items())
    )
    assert "peak share" in table.header
    assert table.rows[0][table.header.index("peak share")].text == "0.250"


def test_a_name_is_taken_once():
    register_peak()
    register_peak()
    with pytest.raises(ValueError, match="there is a metric 'epg' in this package"):
        register_peak("epg")
    with pytest.raises(ValueError, match="'peak_share' already belongs to another metric"):
        register_metric("peak_share", range=(0, 1), higher_is_better=True, source="x")(lambda cam, target: cam[:, 0, 0])
    for name in ("peak share", "a/b", "", 3):
        with pytest.raises(ValueError, match="the name of a metric must be a word"):
            register_peak(name)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda cam, target: cam.mean(), r"one value for each of 2 frames, a tensor of shape \(2,\), got shape \(\)"),
        (lambda cam, target: 1.0, "got 1.0"),
        (lambda cam, target: cam @ target, "raised RuntimeError on two frames"),
        (lambda cam: cam, "raised TypeError"),
        (lambda cam, target: cam.sum(dim=(1, 2)), r"must be in \[0, 1\], but returned \[2.5"),
        (lambda cam, target: cam[:, 0, 0] * torch.nan, r"but returned \[nan"),
    ],
)
def test_what_is_no_metric_is_refused_where_it_is_registered(function, message):
    with pytest.raises(ValueError, match=message):
        register_metric("mine", range=(0, 1), higher_is_better=True, source="ours")(function)
    assert "mine" not in CUSTOM_METRICS
    with pytest.raises(ValueError, match="the range of metric 'mine' must be"):
        register_metric("mine", range=(1, 1), higher_is_better=True, source="ours")

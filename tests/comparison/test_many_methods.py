"""Tables and plots of more methods than fit beside each other: a row or a line for each method."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from camal_rl.comparison.estimates import estimates
from camal_rl.comparison.method_tables import method_table
from camal_rl.comparison.plots import curve_panels, dot_panels, method_colors, seed_plot
from camal_rl.comparison.report import sections
from camal_rl.comparison.report.document import FrameGrid
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.report.tables import overview_table, returns_tables
from camal_rl.comparison.report.write import render, write_report
from camal_rl.runs.results import ResultKey
from tests.comparison.report_runs import made_group, texts

METHODS = ("ppo", "camal", "energy", "l1", "mse", "rrr")
TRAIN = ResultKey("return", "train", control="stochastic")
HELD_OUT = ResultKey("return", "held_out", control="stochastic")


def group_of(methods):
    values = [[10.0 * place + seed for seed in range(4)] for place in range(len(methods))]
    return made_group({TRAIN: values, HELD_OUT: values}, methods=methods)


@pytest.fixture
def six():
    return group_of(METHODS)


def test_many_methods_are_rows_with_their_p_below_each_mean(six):
    (table,) = returns_tables(six)
    assert table.header == ("method", "train, sampled", "held_out, sampled")
    assert [row[0] for row in texts(table)] == [f"{method} (n = 4)" for method in METHODS]
    assert texts(table)[1][1] == "11.500 ± 1.291"
    assert table.rows[0][1].detail == ""
    assert table.rows[1][1].detail == "p\N{NO-BREAK SPACE}0.029 (Holm\N{NO-BREAK SPACE}0.057)"
    assert "Below each mean: p of the method against ppo." in table.caption
    assert "bootstrap" not in table.caption


def test_many_figures_of_many_methods_stay_rows(six):
    rows = [((f"figure {number}",), HELD_OUT) for number in range(13)]
    table = method_table(six, "Everything", ("figure",), rows)
    assert table.header == ("figure", *(f"{method} (n = 4)" for method in METHODS))
    assert len(table.rows) == 13
    assert table.rows[0][2].detail.startswith("p\N{NO-BREAK SPACE}0.029")


def test_few_methods_are_columns_with_intervals():
    (table,) = returns_tables(group_of(METHODS[:5]))
    assert len(table.header) == 2 + 5 + 4
    assert "Below each mean: its 95 % bootstrap interval." in table.caption
    assert overview_table(group_of(METHODS[:5])) is None


def test_plots_of_many_methods_have_a_line_for_each(six):
    plot = seed_plot(six)
    first, second = plot.axes[:2]
    assert [label.get_text() for label in first.get_yticklabels()] == list(METHODS)
    assert [label.get_text() for label in second.get_yticklabels()] == [""] * 6
    assert first.get_xlim() == second.get_xlim()
    top, bottom = first.get_ylim()[::-1]
    assert top < 0 < 5 < bottom


def test_intervals_lie_along_the_values(six):
    _, (axes,) = dot_panels([("return", estimates(six, TRAIN))], intervals=True)
    lines = [each.get_segments()[0] for each in axes.collections if isinstance(each, LineCollection)]
    across = [(start, end) for start, end in lines if start[1] == end[1] and start[0] != end[0]]
    assert len(across) == 6


def test_the_legend_of_many_curves_stands_beside_the_panels():
    curve = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    shown = {tag: {method: [curve] for method in METHODS} for tag in ("return", "epg")}
    plot, panels = curve_panels(shown)
    assert all(axes.get_legend() is None for axes in panels.values())
    (legend,) = plot.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{method}, 1 seed" for method in METHODS]
    few, panels = curve_panels({"return": {"ppo": [curve]}})
    assert panels["return"].get_legend() is not None
    assert few.legends == []


@pytest.mark.parametrize("count", [3, 10, 15, 20])
def test_every_method_has_a_color_of_its_own(count):
    assert len(set(method_colors(count))) == count


def test_a_report_on_many_methods_begins_with_a_table_of_all(six, monkeypatch, tmp_path):
    grid = FrameGrid({f"column {place}": (b"one", b"two") for place in range(14)}, {"agent": "#fff"}, "Frames.", ())
    monkeypatch.setattr(sections, "frame_grid", lambda group: grid)
    page = document([six])
    assert page.title == "toy_grid/default: 6 methods"
    text = render(page, "report.html")
    summary = text[text.index('id="summary"') : text.index("<section")]
    assert summary.index("All methods") < summary.index("Each method in words") < summary.index("camal does better")
    assert '<th scope="row">column 13</th>' in text
    assert 'alt="column 13, frame 2"' in text
    _, path = write_report(page, tmp_path / "out")
    assert "All methods" in path.read_text()


def test_few_columns_of_frames_stay_columns():
    grid = FrameGrid({f"column {place}": (b"one",) for place in range(12)}, {}, "", ())
    assert not grid.is_wide

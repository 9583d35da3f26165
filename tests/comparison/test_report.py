import math

import pytest

from camal_rl.comparison.comparison_file import comparison_json
from camal_rl.comparison.estimates import Estimate, estimates, keys, names
from camal_rl.comparison.findings import findings
from camal_rl.comparison.groups import find_runs
from camal_rl.comparison.report import tables
from camal_rl.comparison.report.plots import faithfulness_plots, returns_plot
from camal_rl.runs.results import ResultKey
from camal_rl.statistics import smallest_p
from tests.comparison.report_runs import (
    comparison_group,
    full_group,
    metrics,
    read_groups,
    texts,
    write_comparison,
    write_run,
)


@pytest.fixture
def group(tmp_path):
    return comparison_group(tmp_path)


@pytest.fixture
def full(tmp_path):
    return full_group(tmp_path)


def test_runs_are_found_below_folders_once(tmp_path):
    root = write_comparison(tmp_path / "a" / "compare", [(1, 1, 0.5)], [(1, 1, 0.5)])
    found = find_runs([root / "ppo-seed0", tmp_path, root / ".." / "compare" / "camal-seed0"])
    assert [path.name for path in found] == ["ppo-seed0", "camal-seed0"]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder and contains none"):
        find_runs([tmp_path])


def test_means_intervals_and_tests_are_those_of_compare(group):
    figures = comparison_json(group)["figures"]["return/held_out"]
    found = estimates(group, ResultKey("return", "held_out", control="stochastic"))
    for method in ("ppo", "camal"):
        assert found[method].seeds == figures[method]["seeds"]
        assert [found[method].mean, found[method].std] == [figures[method]["mean"], figures[method]["std"]]
        assert [found[method].interval().low, found[method].interval().high] == figures[method]["interval"]
    assert found["camal"].p_against(found["ppo"]) == figures["camal"]["p_against_first"] == pytest.approx(0.1)


def test_smallest_p_counts_the_splits():
    # 2 of the 6, 20 and 252 ways to split the pooled seeds are as extreme as can be.
    assert [smallest_p(2, 2), smallest_p(3, 3), smallest_p(5, 5)] == [2 / 6, 2 / 20, 2 / 252]
    assert smallest_p(1, 1) == 1
    assert smallest_p(2, 3) == 2 / 10


def test_what_is_undefined_is_no_estimate(group):
    assert estimates(group, ResultKey("mae", "held_out", "value", "own"))["ppo"].count == 0
    assert estimates(group, ResultKey("no_such"))["camal"].count == 0
    assert keys(group, figure="mae") == keys(group, figure="no_such") == []
    assert names(group, "level_set", figure="return") == ["train", "held_out"]
    empty, single = Estimate({}), Estimate({"0": 3.0})
    assert math.isnan(empty.mean)
    assert (single.mean, single.interval(), single.p_against(Estimate({"0": 1.0, "1": 2.0}))) == (3, None, None)


def test_the_error_of_a_mean_is_the_larger_of_seeds_and_measurement():
    seeds = {"0": 1.0, "1": 3.0}
    assert Estimate(seeds).error == pytest.approx(1)
    assert Estimate(seeds, 0.5).error == pytest.approx(1)
    assert Estimate(seeds, 2.0).error == 2
    assert (Estimate({"0": 1.0}).error, Estimate({"0": 1.0}, 0.25).error) == (0, 0.25)


def test_return_table_has_mean_spread_interval_and_p(group):
    returns, gap = tables.returns_tables(group)
    assert returns.header == ("level set", "actions", "ppo (n = 3)", "camal (n = 3)", "p, camal against ppo")
    row = next(row for row in returns.rows if row[0].text == "held_out" and row[1].text == "sampled")
    assert [cell.text for cell in row] == ["held_out", "sampled", "2.000 ± 1.000", "6.000 ± 1.000", "0.100"]
    low, high = (float(value) for value in row[3].detail.split(" to "))
    assert 5 <= low < 6 < high <= 7
    assert texts(gap)[0] == ["held_out", "sampled", "7.000 ± 0.000", "0.000 ± 0.000", "0.100"]


def test_alignment_has_arrows_and_leaves_out_what_no_run_has(group):
    (table,) = tables.alignment_tables(group, "value")
    rows = {row[0]: row[1:] for row in texts(table)}
    assert list(rows) == ["EPG\N{NO-BREAK SPACE}↑", "area fraction", "zero maps"]
    assert rows["EPG\N{NO-BREAK SPACE}↑"] == ["0.200 ± 0.100", "0.800 ± 0.100", "0.100"]
    assert rows["zero maps"][:2] == ["2", "2"]
    assert "gradcam, relu; 8 frames" in table.caption
    assert tables.alignment_tables(group, "policy") == []


def test_the_summary_is_what_compare_prints(group):
    (text,) = findings(group)
    assert text.startswith(
        "On levels that were not trained on (held_out) camal does better than ppo: return camal 6.00"
    )
    assert "On the training levels camal is behind (camal 6.00, ppo 9.00)" in text
    assert "80 % of the value map of camal lie on the relevant objects, which cover 12 % of the picture" in text
    assert text.endswith("With 3 against 3 seeds no test can reach p < 0.05: the smallest possible p is 0.10.")


def test_a_single_method_and_missing_evaluations_are_told(tmp_path):
    write_run(tmp_path / "a", "camal", 0, metrics(1, 2, 0.5))
    write_run(tmp_path / "b", "camal", 1, None)
    (group,) = read_groups(tmp_path)
    (text,) = findings(group)
    assert text.startswith(
        "camal has 1 seed and no method to compare with: return on train 1.000, return on held_out 2.000"
    )
    assert group.notes == (f"camal seed 1 is not evaluated; run camal-rl evaluate {tmp_path / 'b'}",)
    (tmp_path / "a" / "metrics.json").unlink()
    assert "None of these runs is evaluated" in findings(read_groups(tmp_path)[0])[0]


def test_ppo_comes_first_and_variants_and_copies_are_told_apart(tmp_path):
    write_run(tmp_path / "a", "camal", 0, metrics(1, 2, 0.5), "camal.weight=0.5")
    write_run(tmp_path / "b", "camal", 0, metrics(1, 2, 0.5), "camal.weight=0.25", "log.overlay_every=7")
    write_run(tmp_path / "c", "ppo", 0, metrics(1, 2, 0.5))
    write_run(tmp_path / "d", "ppo", 0, metrics(1, 2, 0.5), "camal.loss=energy", "log.overlay_every=7")
    write_run(tmp_path / "e", "ppo", 0, metrics(1, 2, 0.5), "env.id=toy_grid/no_cue")
    first, second = read_groups(tmp_path)
    assert first.methods == ("ppo", "camal (weight=0.5)", "camal (weight=0.25)")
    assert first.notes == (f"{tmp_path / 'd'} is left out: another folder contains ppo seed 0 with the same settings",)
    assert (second.env, second.methods, len(second.runs)) == ("toy_grid/no_cue", ("ppo",), 1)


def test_the_full_suite_is_shown_whatever_it_holds(full):
    main_table, blur = tables.faithfulness_tables(full, "value")
    rows = {(row[0].replace("\N{NO-BREAK SPACE}", " "), row[1]): row[2] for row in texts(main_table)}
    assert rows["deletion effect ↑", "own map"] == "1.000 ± 0.000"
    assert rows["deletion effect ↑", "random (control)"] == "0.250 ± 0.000"
    assert rows["deletion effect ↑", "perturbation (neutral)"] == "0.750 ± 0.000"
    assert rows["deletion effect, net ↑", "own map"] == "0.750 ± 0.000"
    assert rows["brand new", "perturbation (neutral)"] == "3.500 ± 0.000"
    assert list(rows)[-1] == ("undefined frames", "perturbation (neutral)")
    assert "undefined frames" not in [figure for figure, _ in list(rows)[:-1]]
    assert blur.title.endswith("fill blur")
    assert blur.folded
    assert texts(blur)[0][2] == "0.625 ± 0.000"
    consistency, randomization = tables.sanity_tables(full, "value")
    assert texts(consistency)[0][:3] == ["consistency spearman\N{NO-BREAK SPACE}↑", "noise", "0.875 ± 0.000"]
    assert texts(randomization)[0][:2] == ["value head", "0.375 ± 0.000"]


def test_counterfactuals_keep_interventions_of_one_name_apart(full):
    interventions, ranks = tables.counterfactual_tables(full)
    assert interventions.header == (
        "intervention",
        "method",
        "frames",
        "changed area",
        "change in std of V",
        "attention of the value map",
        "preferred action changes",
    )
    assert texts(interventions) == [
        ["removed, goal", "ppo", "8", "0.250", "0.500", "0.375", "-"],
        ["removed, goal", "camal", "8", "0.250", "0.500", "0.375", "-"],
        ["removed, wall", "ppo", "8", "0.250", "0.500", "0.375", "0.750"],
        ["removed, wall", "camal", "8", "0.250", "0.500", "0.375", "0.750"],
    ]
    assert [row[:3] for row in texts(ranks)] == [
        ["value map", "own map", "0.625 ± 0.000"],
        ["value map", "random (control)", "0.062 ± 0.000"],
    ]


def test_faithfulness_curves_are_drawn_where_there_are_any(full, group):
    (picture,) = faithfulness_plots(full)
    assert picture.data.startswith(b"<?xml")
    assert picture.file_name == "toy-grid-default-faithfulness-held_out-value.svg"
    assert faithfulness_plots(group) == []


def test_the_same_runs_give_the_same_plot(group):
    assert returns_plot(group).data == returns_plot(group).data

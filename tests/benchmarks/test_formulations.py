"""The ranks of formulations, by hand from small reports."""

import json
import sys

import pytest


@pytest.fixture
def program(load):
    """Return the program as a module."""
    return load("formulations")


def report(program, kind=None, **methods):
    """Return the figures of a report from a return, a faithfulness and a sensitivity of each method."""
    kind, figures = kind or program.AGENTS, {}
    for method, (value, faithful, sensitive) in methods.items():
        for names, figure in (((kind.achieved,), value), (kind.high, faithful), (kind.low, sensitive)):
            for name in names:
                figures.setdefault(name, {})[method] = {"seeds": {"100": figure, "101": figure}}
    return figures


def test_faithfulness_and_backgrounds_weigh_the_same(program):
    assert list(program.AGENTS.weights.values()) == [1.0] * 8 + [4.0] * 2
    # The first two swap their places: ranks 1 and 2 in faithfulness, 2 and 1 in sensitivity. PPO is last in both.
    rows = program.ranked(report(program, ppo=(1.0, 0.1, 0.9), a=(1.0, 0.8, 0.5), b=(1.0, 0.4, 0.2)))
    assert {row["candidate"]: row["mean_rank"] for row in rows} == {"a": 1.5, "b": 1.5, "ppo": 3.0}
    assert rows[-1]["candidate"] == "ppo"


def test_a_candidate_that_returns_less_gets_no_rank_and_takes_none(program):
    rows = program.ranked(report(program, ppo=(2.0, 0.1, 0.9), a=(1.93, 9.0, 0.0), b=(1.95, 0.4, 0.2)))
    found = {row["candidate"]: row["mean_rank"] for row in rows}
    assert found == {"b": 1.0, "ppo": 2.0, "a": None}  # 1.93 is below 97 % of 2.0
    assert [row["candidate"] for row in rows] == ["b", "ppo", "a"]
    assert rows[-1]["enough"] == "no"


def test_a_baseline_that_has_not_learned_is_refused(program):
    with pytest.raises(ValueError, match=r"no share of ppo's return/train, -0\.2; train longer"):
        program.ranked(report(program, ppo=(-0.2, 0.1, 0.9), a=(1.0, 0.1, 0.9)))


def test_equal_figures_share_their_ranks(program):
    rows = program.ranked(report(program, ppo=(1.0, 0.1, 0.9), a=(1.0, 0.1, 0.9)))
    assert [row["mean_rank"] for row in rows] == [1.5, 1.5]


def test_a_missing_figure_is_named(program):
    figures = report(program, ppo=(1.0, 0.1, 0.9), a=(1.0, 0.1, 0.9))
    del figures["background_kl/held_out"]["a"]
    with pytest.raises(ValueError, match=r"a: background_kl/held_out is missing; evaluate with evaluation\.suite=full"):
        program.ranked(figures)


def test_every_method_needs_the_seeds_of_the_baseline(program):
    figures = report(program, ppo=(1.0, 0.1, 0.9), a=(1.0, 0.1, 0.9))
    del figures["return/train"]["a"]["seeds"]["101"]
    with pytest.raises(ValueError, match="a needs return/train for the seeds 100, 101"):
        program.ranked(figures)


def test_a_report_without_the_baseline_is_refused(program):
    with pytest.raises(ValueError, match=r"needs return/train of ppo \(camal\.weight=0\)"):
        program.ranked(report(program, a=(1.0, 0.1, 0.9)))


def test_classifiers_have_criteria_of_their_own(program):
    kind = program.CLASSIFIERS
    assert kind.weights == {
        "deletion_effect_net/class/test": 1.0,
        "deletion_effect_net_perturbation/class/test": 1.0,
        "insertion_change_auc_net/class/test": 1.0,
        "insertion_change_auc_net_perturbation/class/test": 1.0,
        "background_flips/test": 4.0,
    }
    methods = {"vanilla": (0.9, 0.0, 0.7), "a": (0.99, 0.4, 0.02), "b": (0.87, 0.5, 0.0), "c": (0.88, 0.3, 0.01)}
    rows = program.ranked(report(program, kind, **methods))
    # b's accuracy is below 97 % of .9. c's flips weigh as much as a's four figures of faithfulness.
    assert {row["candidate"]: row["mean_rank"] for row in rows} == {"a": 1.5, "c": 1.5, "vanilla": 3.0, "b": None}
    assert rows[0]["figures"]["class, deletion, perturbation map"] == 0.4


def test_the_program_reads_each_setting(program, tmp_path, monkeypatch, capsys):
    figures = report(program, ppo=(1.0, 0.1, 0.9), a=(1.0, 0.4, 0.2))
    (tmp_path / "formulations_toy_grid.json").write_text(json.dumps({"figures": figures}))
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["formulations.py", "--files", str(tmp_path), "--out", str(out)])
    program.main()
    assert [row["candidate"] for row in json.loads(out.read_text())["settings"]["toy_grid"]] == ["a", "ppo"]
    assert "toy_grid" in capsys.readouterr().out


def test_without_reports_one_line_says_what_is_missing(program, tmp_path, refusal):
    assert "formulations_*.json" in refusal(program, "--files", tmp_path)

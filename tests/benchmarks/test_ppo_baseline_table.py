"""The table of PPO beside the published returns."""

import json
import sys

import pytest

from camal_rl.runs.loading import load_config


@pytest.fixture
def program(load):
    """Return the program as a module."""
    return load("ppo_baseline_table")


def run(**changes):
    own = {
        "settings": ["env.id=procgen/bigfish", "policy.encoder=compact", "policy.encoder=impala"],
        "parts": [],
        "seed": 3,
        "steps": 1_015_808,
        "seconds": 4000.0,
        "last_100_episodes": 1.70,
        "train": {"mean": 1.9},
        "held_out": {"mean": 1.10},
        "rows": [[16_384, 1.0], [32_768, 2.0], [1_015_808, 3.0]],
        "date": "2026-01-02",
        "git_revision": "abc",
    }
    return own | changes


def test_a_row_says_on_which_side_of_the_published_spread_a_run_lies(program):
    # Published: 1.88 +- .13 on training levels, 1.52 +- .18 on all levels; two deviations below are 1.62 and 1.16.
    row = program.row(run(), "one.json")
    assert (row["game"], row["encoder"], row["precision"], row["changes"]) == ("bigfish", "impala", "auto", "none")
    assert (row["train_is"], row["held_out_is"]) == ("within", "below")
    assert row["steps_per_second"] == pytest.approx(253.952)
    assert program.row(run(last_100_episodes=2.2), "one.json")["train_is"] == "above"


def test_returns_during_training_are_means_of_the_ten_rows_before(program):
    rows = [[step, float(step)] for step in range(1, 31)]
    assert program.return_at(rows, 20) == pytest.approx(15.5)  # 11 to 20
    assert program.return_at(rows, 4) == pytest.approx(2.5)


def test_the_published_parts_are_those_of_the_configuration(program):
    ours, published = load_config("procgen", ["policy.encoder=impala"]), load_config("procgen_impala")
    assert load_config("procgen", ["policy.encoder=impala", *program.PUBLISHED_PARTS]) == published != ours
    by_config = run(config="procgen_impala", settings=["env.id=procgen/bigfish"], parts=[])
    by_parts = run(parts=["glorot", "pessimistic_value", "reward_gamma"])
    by_parts["settings"].append("algorithm.clip_range_vf=0.2")
    for each in (by_config, by_parts):
        row = program.row(each, "one.json")
        assert (row["encoder"], row["changes"]) == ("impala", "published parts")


def test_curves_begin_with_the_published_runs(program):
    settings = ["env.id=procgen/starpilot", "algorithm.clip_range_vf=0.2", "algorithm.gamma=0.9"]
    parts = ["glorot", "pessimistic_value", "reward_gamma"]
    starpilot = run(settings=settings, parts=parts, last_100_episodes=7.0)
    rows = [program.row(starpilot, "a.json"), program.row(run(), "b.json")]
    curves = program.curves(rows)
    assert [each["run"] for each in curves] == [
        "published, run 0",
        "published, run 1",
        "published, run 2",
        "compact, seed 3, published parts, algorithm.gamma=0.9",
    ]
    assert curves[2]["returns"]["1000000"] == 7.30
    assert curves[3]["returns"] == {"200000": 1.5, "400000": 1.5, "600000": 1.5, "800000": 1.5, "1000000": 1.5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ["env.id=procgen/ninja"]}, "no published figures of 'ninja'"),
        ({"steps": 400_000}, "1,000,000 steps, got 400,000"),
    ],
)
def test_a_run_that_cannot_be_compared_is_refused(program, changes, message):
    with pytest.raises(ValueError, match=message):
        program.row(run(**changes), "one.json")


def test_the_table_is_written_with_the_newest_origin(program, tmp_path, monkeypatch, capsys):
    for name, changes in (("a", {}), ("b", {"seed": 1, "date": "2026-01-03", "git_revision": "def"})):
        (tmp_path / f"ppo_baseline_{name}.json").write_text(json.dumps(run(**changes)))
    out = tmp_path / "table.json"
    monkeypatch.setattr(sys, "argv", ["program", "--runs", str(tmp_path), "--out", str(out)])
    program.main()
    table = json.loads(out.read_text())
    assert [row["seed"] for row in table["rows"]] == [1, 3]
    assert (table["date"], table["git_revision"]) == ("2026-01-03", "def")
    assert "bigfish" in capsys.readouterr().out


def test_a_folder_without_runs_is_refused(program, tmp_path, refusal):
    assert "ppo_baseline.py writes them" in refusal(program, "--runs", tmp_path)

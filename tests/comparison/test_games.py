"""Results of several games in one table, with their aggregates: against hand values, and with whatever is missing."""

import json
import math
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camal_rl.comparison.game_tables import games_findings, games_table
from camal_rl.comparison.games import aggregates
from camal_rl.comparison.report.games import games_section
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.report.write import render
from camal_rl.comparison.results.archive import add_result, find_result
from camal_rl.comparison.results.result_file import read_result_file
from camal_rl.runs.metrics_file import RunMetrics
from camal_rl.runs.results import Result, ResultKey, Results
from tests.command_line import run_main
from tests.comparison.report_runs import SETTINGS, made_group, texts, write_run
from tests.comparison.test_report_page import Page

HELD_OUT = ResultKey("normalized_return", "held_out", control="stochastic")
TRAIN = HELD_OUT._replace(level_set="train")
METHODS = ("ppo", "camal", "drac")


def game(env, figures, methods=METHODS):
    """Return a group; ``figures`` are lists of values by method, on held-out levels unless they are by key."""
    by_key = figures if isinstance(figures, dict) else {HELD_OUT: figures}
    return replace(made_group(by_key, methods=methods), env=env)


MAZE = game("procgen/maze", [[0.0, 0.2, 0.4], [0.4, 0.5, 0.6], [0.1, 0.3, 0.5]])
HEIST = game("procgen/heist", [[0.2, 0.6], [0.8, 1.4], [0.2, 0.6]])


def notes(*groups):
    return " ".join(aggregates(groups)[1])


def test_one_table_has_every_game_and_below_what_they_say_together():
    found, told = aggregates([MAZE, HEIST])
    assert told == []
    table = games_table(found)
    assert table.header == ("levels", "game", "seeds", "ppo", "camal", "drac")
    assert texts(table) == [
        ["held_out", "procgen/maze", "3", "0.200 ± 0.200", "0.500 ± 0.100", "0.300 ± 0.200"],
        ["held_out", "procgen/heist", "2", "0.400 ± 0.283", "1.100 ± 0.424", "0.400 ± 0.283"],
        # Weights 2 for maze and 3 for heist make 12, a quarter is 3: the lowest of maze goes and the highest of heist.
        ["held_out", "2 games: IQM ↑", "", f"{1.8 / 7:.3f}", f"{4.6 / 7:.3f}", f"{2.2 / 7:.3f}"],
        ["held_out", "2 games: optimality gap ↓", "", "0.700", f"{1 - (0.5 + 0.9) / 2:.3f}", "0.650"],
        # camal: 8.5 of 9 pairs and 4 of 4; drac: 6 of 9 and 2 of 4.
        ["held_out", "2 games: P(improvement) ↑", "", "-", f"{(8.5 / 9 + 1) / 2:.3f}", f"{(6 / 9 + 1 / 2) / 2:.3f}"],
    ]
    assert table.rows[2][3].detail.count(" to ") == 1
    assert table.rows[0][3].detail == ""


def test_an_interval_holds_its_estimate_and_is_the_same_every_time():
    (first,), _ = aggregates([MAZE, HEIST])
    (again,), _ = aggregates([MAZE, HEIST])
    assert first.summaries == again.summaries
    for summary in first.summaries.values():
        for interval in (summary.interquartile_mean, summary.optimality_gap, summary.improvement):
            assert interval is None or interval.low <= interval.estimate <= interval.high


def test_every_level_set_has_its_own_aggregates_and_held_out_levels_come_first_in_words():
    figures = {TRAIN: [[0.5, 0.6]] * 2, HELD_OUT: [[0.1, 0.2], [0.3, 0.4]]}
    found, _ = aggregates([game("a", figures, METHODS[:2]), game("b", figures, METHODS[:2])])
    assert [each.level_set for each in found] == ["train", "held_out"]
    held_out, train, few = games_findings(found)
    assert "over 2 games on held_out: ppo 0.15" in held_out
    assert "beats one of ppo: camal 1.00 (1.00 to 1.00), above chance." in held_out
    assert "camal 0.50 (" in train
    assert train.endswith("which may be chance, since the interval contains 0.5.")
    assert few.startswith("With 2 seeds on a game, the intervals are about 29 % too narrow to support a claim")


def test_enough_seeds_are_not_called_too_few():
    group = game("a", [[0.1, 0.2, 0.3, 0.4, 0.5]] * 2, METHODS[:2])
    (only,) = games_findings(aggregates([group, replace(group, env="b")])[0])
    assert "too narrow" not in only


def test_a_method_that_lacks_a_game_is_left_out_of_the_aggregates_only():
    lacking = game("procgen/heist", [[0.2, 0.6], [0.8, 1.4], []])
    found, told = aggregates([MAZE, lacking])
    assert told == ["drac is left out of the aggregates on held_out: no normalized return on procgen/heist"]
    rows = texts(games_table(found))
    assert [row[-1] for row in rows] == ["0.300 ± 0.200", "-", "-", "-", "-"]
    assert "drac" not in " ".join(games_findings(found))


def test_without_the_first_method_others_are_compared_with_the_next():
    lacking = game("procgen/heist", [[], [0.8, 1.4], [0.1, 0.2]])
    (found,), told = aggregates([MAZE, lacking])
    assert "ppo is left out of the aggregates on held_out" in told[0]
    assert found.baseline == "camal"
    assert "beats one of camal: drac" in games_findings([found])[0]


def test_no_method_on_all_games_leaves_the_games_without_aggregates():
    first, second = game("a", [[0.1], []], METHODS[:2]), game("b", [[], [0.2]], METHODS[:2])
    found, told = aggregates([first, second])
    assert "there is no aggregate on held_out: no method has results on all games" in told
    assert [row[1] for row in texts(games_table(found))] == ["a", "b"]
    section, _ = games_section([first, second])
    assert section.summary == ()
    assert section.parts[0].pictures == ()


def test_a_method_without_any_normalized_return_is_named():
    assert "drac is left out of the aggregates on held_out: no normalized return on a and b" in notes(
        game("a", [[0.1], [0.2], []]), game("b", [[0.1], [0.2], []])
    )


def test_what_has_no_constants_no_results_or_no_returns_is_left_out_and_told():
    plain = game("toy_grid/default", {ResultKey("return", "train", control="stochastic"): [[1.0], [2.0]]})
    images = game("shapes", {ResultKey("accuracy", "test"): [[0.5], [0.5]]})
    damaged = replace(MAZE, env="broken", runs=tuple(replace(run, metrics=None) for run in MAZE.runs))
    found, told = aggregates([MAZE, plain, HEIST, images, damaged])
    assert list(found[0].games) == ["procgen/maze", "procgen/heist"]
    assert told == [
        "toy_grid/default is left out: there are no constants to normalize its returns",
        "shapes is left out: it has no returns",
        "broken is left out: none of its runs has readable results",
    ]
    facts = document([MAZE, plain]).facts
    assert facts[-1].endswith(
        "it needs normalized returns on at least two: toy_grid/default is left out: there are no constants to "
        "normalize its returns"
    )


def test_a_level_set_that_some_game_lacks_is_told():
    both = {TRAIN: [[0.5], [0.6]], HELD_OUT: [[0.1], [0.2]]}
    only = {HELD_OUT: [[0.1], [0.2]]}
    two = METHODS[:2]
    assert "there is no aggregate on train: only one game" in notes(game("a", both, two), game("b", only, two))
    told = notes(game("a", both, two), game("b", only, two), game("c", both, two))
    assert "without b on train: there are no normalized returns" in told


def test_a_single_seed_has_no_interval_and_that_is_told():
    figures = [[0.1], [0.3]]
    found, _ = aggregates([game("a", figures, METHODS[:2]), game("b", figures, METHODS[:2])])
    summary = found[0].summaries["camal"]
    assert (summary.interquartile_mean.estimate, summary.improvement.estimate) == (pytest.approx(0.3), 1)
    assert math.isnan(summary.interquartile_mean.low)
    rows = games_table(found).rows
    assert {cell.detail for row in rows for cell in row} == {""}
    told = " ".join(games_findings(found))
    assert "camal 1.00, without an interval, which a single seed cannot have" in told
    assert "No intervals of ppo and camal: with one seed on a game the spread over seeds is unknown." in told


def test_equal_seeds_are_no_improvement():
    figures = [[0.5, 0.5, 0.5]] * 2
    (found,), _ = aggregates([game("a", figures, METHODS[:2]), game("b", figures, METHODS[:2])])
    assert vars(found.summaries["camal"].improvement) == {"estimate": 0.5, "low": 0.5, "high": 0.5}
    section, _ = games_section([game("a", figures, METHODS[:2]), game("b", figures, METHODS[:2])])
    assert len(section.parts[0].pictures) == 2


def test_settings_that_differ_between_games_are_told():
    runs = tuple(replace(run, config=replace(run.config, total_timesteps=999)) for run in HEIST.runs)
    assert notes(MAZE, replace(HEIST, runs=runs)) == (
        "total_timesteps of ppo, camal and drac is not the same on every game: 131072 on procgen/maze, 999 on "
        "procgen/heist"
    )


def test_one_environment_has_no_section_over_games():
    assert games_section([MAZE]) == (None, [])
    assert "aggregate" not in " ".join(document([MAZE]).facts)


def test_the_section_comes_first_and_its_pictures_say_what_they_show():
    page = document([MAZE, HEIST])
    section = page.sections[0]
    assert (section.title, page.leading) == ("Over 2 games", (section,))
    pictures = section.parts[0].pictures
    assert [each.alt for each in pictures] == [
        "Aggregates over games with their intervals",
        "Performance profiles over games",
    ]
    assert len({each.file_name for each in page.pictures()}) == len(page.pictures())
    again = document([MAZE, HEIST]).sections[0].parts[0].pictures
    assert [each.data for each in again] == [each.data for each in pictures]
    text = render(page, "report.html")
    assert Page(text).values("alt")[:2] == [each.alt for each in pictures]
    assert "No normalized" not in text
    # The games' own paragraphs stand in their sections, and the summary is about all games.
    summary = text[text.index('id="summary"') : text.index("<section")]
    assert "Interquartile mean" in summary
    assert "no difference is shown" not in summary


def values():
    return st.lists(st.floats(-2, 2, allow_nan=False).map(lambda value: round(value, 2)), max_size=3)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(values(), values(), values()), min_size=2, max_size=3))
def test_whatever_is_missing_there_is_a_table_or_a_sentence(figures):
    groups = [game(f"game {place}", list(each)) for place, each in enumerate(figures)]
    found, told = aggregates(groups)
    assert found or told
    if found:
        table = games_table(found)
        assert all(len(row) == len(table.header) for row in table.rows)
        assert all(line and "nan" not in line for line in [*games_findings(found), *told])


def write_game(root, name, scores):
    """Write the runs of one game; ``scores`` are normalized returns by method."""
    for method, values_ in scores.items():
        for seed, value in enumerate(values_):
            found = [
                Result(figure="return", level_set="held_out", control="stochastic", value=10 * value),
                Result(**HELD_OUT._asdict(), value=value),
            ]
            measured = RunMetrics({}, "quick", SETTINGS, Results(found), {})
            write_run(root / f"{name}-{method}-seed{seed}", method, seed, measured, f"env.id=toy_grid/{name}")


def test_the_verb_reports_games_with_damaged_results_of_one_of_them(tmp_path, capsys):
    scores = {"ppo": [0.1, 0.2], "camal": [0.3, 0.4]}
    for name in ("default", "no_cue"):
        write_game(tmp_path / "runs", name, scores)
    assert run_main("report", str(tmp_path / "runs"), "--no-progress") == 0
    assert "<h2>Over 2 games</h2>" in (tmp_path / "runs" / "report" / "report.html").read_text()
    assert not (tmp_path / "runs" / "report" / "report.json").exists()
    shutil.rmtree(tmp_path / "runs" / "report")
    for path in (tmp_path / "runs").glob("no_cue-*/metrics.json"):
        path.write_text("{" if "ppo" in str(path) else json.dumps([math.nan]))
    capsys.readouterr()
    assert run_main("report", str(tmp_path / "runs"), "--no-progress") == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0].split(":")[0], err) == ("8 runs", "")
    text = (tmp_path / "runs" / "report" / "report.md").read_text()
    assert "toy_grid/no_cue is left out: none of its runs has readable results" in text
    assert "Over" not in text.split("## Summary")[0]


def test_the_figures_of_runs_of_one_game_and_their_variants_can_be_kept(tmp_path):
    write_game(tmp_path / "runs", "default", {"ppo": [0.1, 0.2]})
    write_game(tmp_path / "runs", "no_cue", {"ppo": [0.3, 0.5]})
    out = tmp_path / "report"
    for runs, values in (("default-*", [0.1, 0.2]), ("no_cue-*", [0.3, 0.5])):
        folders = [str(path) for path in sorted((tmp_path / "runs").glob(runs))]
        assert run_main("report", *folders, "--out", str(out), "--no-progress") == 0
        kept = read_result_file(add_result(find_result(out), "mine", tmp_path / "results"))
        assert list(kept.estimate("ppo", "normalized/held_out").seeds.values()) == values
    assert run_main("report", str(tmp_path / "runs"), "--out", str(out), "--no-progress") == 0
    with pytest.raises(FileNotFoundError, match=r"contains no comparison\.json, report\.json or metrics\.json"):
        find_result(out)


def test_a_damaged_run_leaves_the_other_seeds_of_its_game(tmp_path):
    for name in ("default", "no_cue"):
        write_game(tmp_path / "runs", name, {"ppo": [0.1, 0.2], "camal": [0.3, 0.4]})
    (tmp_path / "runs" / "no_cue-camal-seed1" / "metrics.json").write_text('{"version": 9}')
    assert run_main("report", str(tmp_path / "runs"), "--no-progress") == 0
    text = (tmp_path / "runs" / "report" / "report.md").read_text()
    assert "| held_out | toy_grid/no_cue | 1 to 2 |" in text
    assert "No intervals of camal" in text
    assert "no_cue-camal-seed1/metrics.json" in text

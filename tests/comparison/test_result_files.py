"""Result files: what compare and evaluate write, read again; anything else is refused in one line that names it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camal_rl.comparison.comparison_file import comparison_json
from camal_rl.comparison.groups import planned_group
from camal_rl.comparison.results.archive import MOST_BYTES, add_result, find_result
from camal_rl.comparison.results.origins import seeds_words
from camal_rl.comparison.results.result_file import read_result_file
from camal_rl.comparison.results.sources import comparison_text, thinned
from camal_rl.runs.json_files import content_sum
from camal_rl.runs.metrics_file import MapDescription, RunMetrics, write_metrics
from camal_rl.runs.results import Result, Results
from tests.comparison.kept_results import ORIGIN, comparison, write_comparison, write_measurement
from tests.comparison.report_runs import planned_runs


@pytest.fixture
def group(tmp_path):
    runs = planned_runs(tmp_path)
    for run in runs:
        run.folder.provenance_file.write_text(json.dumps({key: ORIGIN[key] for key in ORIGIN if key != "command"}))
        run.folder.command_file.write_text("/somewhere/bin/camal-rl compare toy_grid --seeds 3\n")
        run.folder.train_file.write_text(json.dumps({"interrupted": False, "timesteps": 256, "seconds": 2.0}))
    return planned_group(runs)


def test_what_compare_writes_is_enough_for_every_seed_and_where_it_comes_from(group, tmp_path):
    path = tmp_path / "comparison.json"
    path.write_text(comparison_text(comparison_json(group)))
    found = read_result_file(path)
    assert found.methods == ["ppo", "camal"]
    assert found.estimate("camal", "return/held_out").seeds == {"0": 5, "1": 6, "2": 7}
    assert found.words["epg/value/held_out"] == "EPG of the value map on held_out\N{NO-BREAK SPACE}↑"
    assert found.source_lines() == [
        "`camal-rl compare toy_grid --seeds 3`; seeds 0 to 2; 256 steps; 12 episodes, 8 frames; 4 cores, Acme 1, "
        "float32 on cpu; revision 0123456; 2026-01-02"
    ]
    data = json.loads(path.read_text())
    assert len(data["provenance"]) == 1
    settings = data["runs"][1].pop("settings")
    assert data["runs"][1] == {"method": "ppo", "seed": 1, "steps": 256, "seconds": 2.0, "provenance": 0}
    assert {run["settings"] for run in data["runs"] if run["method"] == "ppo" and run["seed"] != 1} == {settings}
    assert settings not in {run["settings"] for run in data["runs"] if run["method"] == "camal"}


def test_runs_of_two_revisions_are_told_apart(tmp_path):
    runs = comparison()["runs"]
    later = {**ORIGIN, "git_revision": "fedcba9876543210-dirty", "date": "2026-02-03"}
    runs = [{**run, "provenance": int(run["method"] == "camal")} for run in runs]
    path = write_comparison(tmp_path / "two.json", runs=runs, provenance=[ORIGIN, later])
    (line,) = read_result_file(path).source_lines(command=False)
    assert line == (
        "seeds 0 and 1; 512 steps; 8 episodes; 4 cores, Acme 1, float32 on cpu; revision 0123456 of 2026-01-02 (ppo) "
        "and revision fedcba9 with local changes of 2026-02-03 (camal)"
    )
    assert read_result_file(path).source_lines(["camal"])[0].endswith("with local changes; 2026-02-03")


def test_what_nobody_wrote_down_is_told_as_not_kept(tmp_path):
    path = write_comparison(tmp_path / "old.json", provenance=[dict.fromkeys(ORIGIN)])
    (line,) = read_result_file(path).source_lines()
    assert line == (
        "command not kept; seeds 0 and 1; 512 steps; 8 episodes; machine not kept; revision not kept; date not kept"
    )


def test_an_evaluated_run_is_a_result_file(tmp_path):
    run = {"env": "toy_grid/default", "method": "camal", "seed": 3, "provenance": ORIGIN}
    training = {"training": {"timesteps": 1024}}
    results = Results([Result(figure="epg", level_set="train", target="value", map="own", value=0.5)])
    settings = {"episodes": 4, "frames": 8}
    maps = {"value": MapDescription("gradcam, relu")}
    write_metrics(tmp_path / "metrics.json", RunMetrics({**run, **training}, "full", settings, results, maps))
    found = read_result_file(tmp_path / "metrics.json")
    assert found.estimate(None, "epg/value/train").seeds == {"3": 0.5}
    (line,) = found.source_lines()
    assert "seed 3; 1,024 steps; full suite, 4 episodes, 8 frames; 4 cores" in line


def test_curves_over_removed_pixels_are_left_out_of_a_kept_evaluation(tmp_path):
    run = {"env": "toy_grid/default", "method": "ppo", "seed": 0, "provenance": ORIGIN}
    own = {"level_set": "train", "target": "value", "map": "own"}
    results = Results(
        [Result(figure="epg", **own, value=0.5), Result(figure="deletion_curve", **own, control="0.5", value=1.0)]
    )
    write_metrics(tmp_path / "metrics.json", RunMetrics(run, "full", {}, results, {}))
    kept = add_result(find_result(tmp_path), "one", tmp_path / "mine")
    assert list(read_result_file(kept).figures) == ["epg/value/train"]


BROKEN = {
    "empty": ("", "it is empty"),
    "no JSON": ("{", "it is not JSON"),
    "a list": ("[]", "it does not contain a JSON object"),
    "bytes": (b"\xff\xfe\x00", "is not text in UTF-8"),
    "deep": ('{"a":' * 9999, "cannot be read"),
    "foreign": ('{"name": "somebody", "age": 3}', "it contains neither figures nor the origin of a measurement"),
}
WRONG = {
    "an earlier version": ({"version": None}, "it has version None and not 2"),
    "no provenance": ({"provenance": None}, "is not a result file"),
    "a provenance of texts": ({"provenance": ["x"]}, "provenance 0 must be an object"),
    "a date that is a number": ({"provenance": [{**ORIGIN, "date": 3}]}, "provenance 0: date must be a text or null"),
    "a place before the first": (
        {"runs": [{"method": "ppo", "seed": 0, "provenance": -1}]},
        "a run needs a method and the index of one of 1 provenances",
    ),
    "a seed without a run": (
        {"runs": [{"method": "ppo", "seed": 0, "provenance": 0}]},
        "return/train, ppo: there is a value of seed 1 but no run",
    ),
    "a seed that is a text": ({"runs": [{"method": "ppo", "seed": "0", "provenance": 0}]}, "a run's seed must be"),
    "no runs": ({"runs": [], "figures": {}}, "it has no runs"),
    "figures that are a list": ({"figures": []}, "is not a result file"),
    "a value that is a text": (
        {"figures": {"return/train": {"ppo": {"seeds": {"0": "high"}}}}},
        "return/train, ppo: the value of seed 0 must be a number, got 'high'",
    ),
    "a mean of other seeds": (
        {"figures": {"return/train": {"ppo": {"seeds": {"0": 1.0, "1": 2.0}, "mean": 1.75}}}},
        "return/train, ppo: mean is 1.75, but the mean over the seeds is 1.5",
    ),
    "a number beyond floats": (
        {"figures": {"return/train": {"ppo": {"seeds": {"0": 10**400}}}}},
        "is not a result file",
    ),
    "a curve without a title": (
        {"curves": {"a": {"title": None, "steps": "s", "same_axis": ["a"], "methods": {}}}},
        "title, steps and same_axis of the curves a must be texts",
    ),
    "a curve with steps alone": (
        {"curves": {"a": {"title": "a", "steps": "s", "same_axis": ["a"], "methods": {"ppo": {"0": [[1], []]}}}}},
        "a curve must have equal numbers of steps and values",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_json_of_a_result_is_refused_in_one_line(name, tmp_path):
    content, told = BROKEN[name]
    path = tmp_path / "file.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    _refused(path, told)


@pytest.mark.parametrize("name", WRONG)
def test_a_comparison_with_something_wrong_in_it_is_refused_in_one_line(name, tmp_path):
    changed, told = WRONG[name]
    _refused(write_comparison(tmp_path / "file.json", **changed), told)


def test_a_number_changed_by_hand_is_seen(tmp_path):
    path = write_comparison(tmp_path / "file.json")
    path.write_text(path.read_text().replace("2.0", "2.5"))
    _refused(path, "was changed after it was written")


@given(place=st.sampled_from(sorted(comparison())))
def test_a_missing_part_is_named_or_goes_without_saying(place, tmp_path_factory):
    data = {key: value for key, value in comparison().items() if key != place}
    path = tmp_path_factory.mktemp("part") / "file.json"
    path.write_text(json.dumps({**data, "content_sha256": content_sum(data)}))
    if place in ("env", "methods", "seeds", "evaluation"):
        assert read_result_file(path).methods == ["ppo", "camal"]
    else:
        with pytest.raises(ValueError, match=r"file\.json") as error:
            read_result_file(path)
        assert "\n" not in str(error.value)


def _refused(path, told):
    with pytest.raises(ValueError, match=r"file\.json") as error:
        read_result_file(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_figure_that_is_not_there_is_told_with_what_may_be_meant(tmp_path):
    found = read_result_file(write_comparison(tmp_path / "file.json"))
    with pytest.raises(ValueError, match=r"file.json: unknown figure 'return/trian'; did you mean 'return/train'\?"):
        found.estimate("ppo", "return/trian")
    with pytest.raises(ValueError, match=r"unknown method 'camel'; did you mean 'camal'\?"):
        found.estimate("camel", "return/train")


def test_a_curve_is_thinned_to_points_of_its_own_and_keeps_its_ends():
    steps, values = thinned((np.arange(1000.0), np.arange(1000.0) / 7), 5)
    assert steps == [0, 250, 500, 749, 999]
    assert values == [0, 35.714, 71.429, 107.0, 142.71]
    assert thinned((np.array([3.0]), np.array([0.5])), 5) == [[3], [0.5]]


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([0], "seed 0"), ([1, 0], "seeds 0 and 1"), ([4, 3, 5], "seeds 3 to 5"), ([0, 2, 7], "seeds 0, 2 and 7")],
)
def test_seeds_are_told_as_a_range_where_they_are_one(seeds, words):
    assert seeds_words(seeds) == words


def test_a_result_that_is_too_large_for_a_repository_is_not_kept(tmp_path):
    write_measurement(tmp_path / "large.json", {"rows": ["x" * MOST_BYTES]})
    with pytest.raises(
        ValueError, match=r"large.json would take 1,000,\d+ bytes, but a kept result may take at most 1,000,000"
    ):
        add_result(tmp_path / "large.json", "large", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_kept_file_is_the_same_however_often_it_is_kept(tmp_path):
    path = write_comparison(tmp_path / "comparison.json")
    kept = add_result(find_result(tmp_path), "one", tmp_path / "mine")
    assert kept.read_bytes() == path.read_bytes()
    again = add_result(kept, "two", tmp_path / "mine")
    assert again.read_bytes() == path.read_bytes()

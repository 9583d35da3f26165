"""Records of results: what one may hold, how they are asked for, and the file that holds them."""

import json
import math

import pytest

from camal_rl.runs.metrics_file import MapDescription, RunMetrics, read_metrics, write_metrics
from camal_rl.runs.results import Result, ResultKey, Results

RETURN = Result(figure="return", level_set="train", control="stochastic", value=0.5, count=8, error=0.125)
EPG = Result(figure="epg", level_set="held_out", target="value", map="own", value=0.25, count=7)
RANDOM = Result(figure="deletion_effect", level_set="held_out", target="value", map="random", control="mean", value=1)
REFUSED = r"metrics\.json does not contain the results of an evaluation"
FIELDS = ["figure", "target", "level_set", "map", "control", "value", "count", "error"]


def metrics(*results):
    maps = {"value": MapDescription("gradcam, relu", "value", (16, 16)), "class": MapDescription("own words")}
    return RunMetrics({"env": "toy_grid", "training": None}, "quick", {"sets": ["train"]}, Results(results), maps)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, metrics(RETURN, EPG, RANDOM))
    return path


def test_a_file_comes_back_as_it_was_written_one_line_for_each_result(path):
    assert read_metrics(path) == metrics(RETURN, EPG, RANDOM)
    assert sum('"figure"' in line for line in path.read_text().splitlines()) == 3
    assert [each.name for each in path.parent.iterdir()] == ["metrics.json"]


def test_results_are_a_tidy_table(path):
    data = json.loads(path.read_text())
    assert data["version"] == 2
    # Every record has every column, as pandas.DataFrame(data["results"]) takes them.
    assert [list(each) for each in data["results"]] == [FIELDS] * 3
    assert [each["value"] for each in data["results"] if (each["figure"], each["map"]) == ("epg", "own")] == [0.25]
    assert [each["count"] for each in data["results"]] == [8, 7, None]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_a_finite_number_is_undefined_and_null_in_the_file(tmp_path, value):
    result = Result(figure="epg", value=value, error=value)
    assert (result.value, result.error) == (None, None)
    write_metrics(tmp_path / "metrics.json", metrics(result))
    text = (tmp_path / "metrics.json").read_text()
    assert '"value": null' in text
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize("name", ["a/b", "ünï", "two words", "0.05", 'quo"ted', "x" * 300])
@pytest.mark.parametrize("value", [0, -1, 10**9, 1e-300, -0.1, 1 / 3])
def test_any_names_and_numbers_survive_the_file(tmp_path, name, value):
    results = [Result(figure=name, level_set=name, control=name, value=value, count=0), Result(figure=name, value=None)]
    write_metrics(tmp_path / "metrics.json", metrics(*results))
    assert read_metrics(tmp_path / "metrics.json").results == tuple(results)


def test_results_are_selected_by_their_fields():
    results = Results([RETURN, EPG, RANDOM])
    assert results.select(level_set="held_out") == (EPG, RANDOM)
    assert results.select(level_set="held_out", control=None) == (EPG,)
    assert results.find(ResultKey("epg", "held_out", "value", "own")) is EPG
    assert results.find(ResultKey("epg", "train", "value", "own")) is None
    assert results.value("return", level_set="train", control="stochastic") == 0.5
    assert results.value("return", level_set="train") is None
    assert results.names("map", target="value") == ["own", "random"]
    assert results.level_sets("epg") == ["held_out"]
    assert results.targets() == ["value"]
    more = results + Results([Result(figure="x", value=1)])
    assert more[-1].figure == "x"
    assert more.value("x") == 1


def test_no_two_results_are_of_the_same():
    with pytest.raises(ValueError, match="two results of return, train, stochastic; each may occur only once"):
        Results([RETURN, EPG, RETURN])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"figure": ""}, "figure must be a name, got ''"),
        ({"figure": None}, "figure must be a name, got None"),
        ({"level_set": 3}, "level_set must be a name or null, got 3"),
        ({"value": "0.5"}, "value must be a number or null, got '0.5'"),
        ({"value": True}, "value must be a number or null, got True"),
        ({"count": 1.5}, "count must be a whole number of at least 0 or null, got 1.5"),
        ({"count": -1}, "count must be a whole number of at least 0 or null, got -1"),
        ({"count": True}, "count must be a whole number"),
        ({"error": -0.5}, "error must be at least 0 or null, got -0.5"),
    ],
)
def test_a_field_of_another_type_is_one_line_that_names_the_file(path, fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Result(**{"figure": "epg", "value": 1.0, **fields})
    data = json.loads(path.read_text())
    data["results"][1].update(fields)
    path.write_text(json.dumps(data))
    with pytest.raises(
        ValueError, match=rf"metrics\.json does not contain the results of an evaluation: result 2: {message}"
    ) as told:
        read_metrics(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["results"][0].pop("value"), "result 1: a result has the fields .*; it lacks value"),
        (lambda data: data["results"][0].update(colour=1), "result 1: a result has the fields .*; it has colour too"),
        (lambda data: data["results"].append(data["results"][0]), "two results of return, train, stochastic"),
        (lambda data: data["results"].append(3), r"result 4: a result must be an object .*, got 3"),
        (lambda data: data.update(results={}), "results must be a list, got dict"),
        (
            lambda data: data.update(version=3),
            "it has version 3, but this camal-rl reads versions up to 2; update camal-rl",
        ),
        (lambda data: data.update(version="2"), "it has version '2'"),
        (lambda data: data.pop("settings"), "the file has the fields .*; it lacks settings"),
        (lambda data: data.update(returns={}), "the file has the fields .*; it has returns too"),
        (lambda data: data.update(run=None), "run must be an object, got None"),
        (lambda data: data.update(suite=1), "suite must be a name, got 1"),
        (lambda data: data["maps"].update(value=[]), r"maps: value must be an object, got \[\]"),
        (lambda data: data["maps"]["value"].pop("map"), "maps: value has the fields .*; it lacks map"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line_that_names_it(path, change, message):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(
        ValueError, match=rf"metrics\.json does not contain the results of an evaluation: {message}"
    ) as told:
        read_metrics(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "", '{"version": 2', "{}", '{"n": 1}'])
def test_what_is_no_file_of_results_is_named(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.json (cannot be read|does not contain)") as told:
        read_metrics(path)
    assert "\n" not in str(told.value)

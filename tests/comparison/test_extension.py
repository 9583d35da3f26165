"""Joining comparisons: the same file as one comparison of all runs gives, or one line that says why not."""

import json

import pytest

from camal_rl.comparison.comparison_file import comparison_json
from camal_rl.comparison.groups import planned_group
from camal_rl.comparison.results.archive import add_result
from camal_rl.comparison.results.extension import extended
from camal_rl.comparison.results.result_file import read_result_file
from tests.comparison.kept_results import comparison, write_comparison, write_measurement
from tests.comparison.report_runs import planned_runs


@pytest.fixture
def runs(tmp_path):
    return planned_runs(tmp_path)


def content(runs):
    return json.loads(json.dumps(comparison_json(planned_group(runs))))


@pytest.mark.parametrize("in_second", [lambda run: run.seed == 1, lambda run: run.seed > 0])
def test_seeds_that_are_added_give_what_all_give_together(runs, in_second):
    first = [run for run in runs if not in_second(run)]
    second = [run for run in runs if in_second(run)]
    together = content(runs)
    assert together["figures"]["return/held_out"]["camal"]["p_holm"] is not None
    assert extended(content(first), content(second)) == together


def test_methods_that_are_added_are_compared_with_the_first_of_the_kept_file(runs):
    parts = [content([run for run in runs if run.method == method]) for method in ("ppo", "camal")]
    joined = extended(*parts)
    assert joined["methods"] == ["ppo", "camal"]
    assert joined["figures"]["return/held_out"]["camal"]["p_against_first"] == pytest.approx(0.1)
    assert joined["figures"] == content(runs)["figures"]


def test_measuring_errors_are_those_of_the_mean_of_all_seeds():
    def of_seeds(seeds, error):
        runs = [{"method": "ppo", "seed": seed, "provenance": 0} for seed in seeds]
        values = {"seeds": {str(seed): float(seed) for seed in seeds}, "measuring_error": error}
        return comparison(methods=["ppo"], seeds=seeds, runs=runs, figures={"x": {"ppo": values}}, curves={})

    joined = extended(of_seeds([0], 3.0), of_seeds([1, 2], 2.0))
    # The errors of the sums are 3 and 4, together 5; the mean is over three seeds.
    assert joined["figures"]["x"]["ppo"]["measuring_error"] == 1.66667
    assert joined["figures"]["x"]["ppo"]["mean"] == 1.0
    assert extended(of_seeds([0], 3.0), of_seeds([1], None))["figures"]["x"]["ppo"]["measuring_error"] is None


def test_curves_are_thinned_where_together_they_are_too_many():
    def of_seeds(seeds):
        curve = [list(range(100)), [float(step) for step in range(100)]]
        reward = {"title": "return", "steps": "steps", "same_axis": ["reward"]}
        runs = [{"method": "ppo", "seed": seed, "provenance": 0} for seed in seeds]
        return comparison(
            methods=["ppo"],
            seeds=seeds,
            runs=runs,
            figures={},
            curves={"reward": {**reward, "methods": {"ppo": {str(seed): curve for seed in seeds}}}},
        )

    joined = extended(of_seeds(range(40)), of_seeds(range(40, 80)))["curves"]["reward"]["methods"]["ppo"]
    assert len(joined) == 80
    assert {len(steps) for steps, _ in joined.values()} == {50}
    assert joined["79"][0][-1] == 99


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "both have ppo seed 0"),
        ({"length": "1,024 steps"}, "length is 512 steps and 1,024 steps"),
        ({"env": "toy_grid/no_cue"}, "env is toy_grid/default and toy_grid/no_cue"),
        ({"evaluation": {"suite": "full"}}, "evaluation is"),
    ],
)
def test_comparisons_that_do_not_belong_together_are_not_joined(changed, told):
    with pytest.raises(ValueError, match=f"cannot be joined: {told}"):
        extended(comparison(), comparison(**changed))


def test_a_method_with_other_settings_is_not_joined():
    def with_settings(seed, settings):
        run = {"method": "ppo", "seed": seed, "provenance": 0, "settings": settings}
        return comparison(methods=["ppo"], seeds=[seed], runs=[run], figures={}, curves={})

    assert extended(with_settings(0, "a"), with_settings(1, "a"))["seeds"] == [0, 1]
    with pytest.raises(ValueError, match="their settings of ppo differ"):
        extended(with_settings(0, "a"), with_settings(1, "b"))


def test_a_kept_file_is_extended_or_left_as_it_is(tmp_path):
    more = [{"method": method, "seed": 2, "provenance": 0} for method in ("ppo", "camal")]
    figures = {"return/train": {"ppo": {"seeds": {"2": 4.5}}, "camal": {"seeds": {"2": 1.0}}}}
    one = write_comparison(tmp_path / "one.json")
    two = write_comparison(tmp_path / "two.json", seeds=[2], runs=more, figures=figures, curves={})
    with pytest.raises(FileNotFoundError, match=r"files/kept.json is missing"):
        add_result(two, "kept", tmp_path / "mine", extend=True)
    kept = add_result(one, "kept", tmp_path / "mine")
    add_result(two, "kept", tmp_path / "mine", extend=True)
    found = read_result_file(kept)
    assert found.estimate("ppo", "return/train").seeds == {"0": 1.0, "1": 2.0, "2": 4.5}
    before = kept.read_bytes()
    write_measurement(tmp_path / "speed.json", {"rows": [1]})
    for wrong, told in ((two, "both have ppo seed 2"), (tmp_path / "speed.json", "only these can be joined")):
        with pytest.raises(ValueError, match=told):
            add_result(wrong, "kept", tmp_path / "mine", extend=True)
    assert kept.read_bytes() == before

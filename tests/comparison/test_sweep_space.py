"""What a sweep varies: lists, ranges, and what is neither."""

import re
from collections import Counter
from pathlib import Path

import pytest

from camal_rl.comparison.sweep_search import GridSearch, RandomSearch, SearchOptions
from camal_rl.comparison.sweep_space import Choice, Range, parse_space

HINTS = {"lr": float, "epochs": int, "name": str, "sets": tuple[str, ...]}


def options(space, trials=None):
    return SearchOptions(space, trials, 1, True, Path("nowhere"))


def test_values_are_separated_by_commas_outside_brackets_and_quotes():
    space = parse_space(
        ["sets=[a,b],[c]", "name='x,y',z", "env.options={a: 1, b: 2}", "~camal.schedule", "epochs=3"], HINTS
    )
    assert space.varied == (Choice("sets", ("[a,b]", "[c]")), Choice("name", ("'x,y'", "z")))
    assert space.fixed == ("env.options={a: 1, b: 2}", "~camal.schedule", "epochs=3")
    assert space.combinations == 4
    assert space.overrides({"sets": "[c]", "name": "z"})[-2:] == ["sets=[c]", "name=z"]


def test_ranges_are_of_fractions_or_whole_numbers_as_the_setting_is():
    space = parse_space(["lr=0:1", "epochs=1:3", "other=1:4", "own=.5:2", "log=1e-4:1e-2:log", "name=1:2"], HINTS)
    assert [(each.key, each.whole, each.log) for each in space.varied] == [
        ("lr", False, False), ("epochs", True, False), ("other", True, False), ("own", False, False),
        ("log", False, True),
    ]  # fmt: skip
    assert space.fixed == ("name=1:2",)
    assert space.combinations is None


def test_a_range_is_drawn_evenly_or_by_its_logarithm():
    assert [Range("a", 0, 4, False, False).at(share) for share in (0, 0.25, 0.999)] == ["0", "1", "3.996"]
    assert [Range("a", 1, 3, False, True).at(share) for share in (0, 0.34, 0.67, 0.9999)] == ["1", "2", "3", "3"]
    assert [Range("a", 1e-4, 1e-2, True, False).at(share) for share in (0, 0.5)] == ["0.0001", "0.001"]
    assert [Range("a", 1, 8, True, True).at(share) for share in (0, 0.99999)] == ["1", "8"]


@pytest.mark.parametrize(
    ("items", "line"),
    [
        (["a=1"], "nothing varies"),
        ([], "nothing varies"),
        (["a=1,,2"], "a: a value is missing in '1,,2'"),
        (["a="], "a: a value is missing in ''"),
        (["a=1,1"], "a: the value 1 is repeated"),
        (["a=1,2", "a=3"], "a is given twice"),
        (["seed=1,2", "a=1,2"], "a sweep uses its own tuning seeds"),
        (["seed=1", "a=1,2"], "a sweep uses its own tuning seeds"),
        (["a=2:1"], "a: a range must go from a smaller to a larger number, LOW:HIGH, got '2:1'"),
        (["a=1:1"], "a: a range must go from a smaller to a larger number"),
        (["a=0:1:log"], "a: a logarithmic range must begin above 0"),
        (["a=1:1e999"], "a: a range must go from a smaller to a larger number"),
        (["a"], "a setting must be key=value"),
        ([f"k{number}=1,2,3,4" for number in range(40)], "there are more than 1,000,000,000,000 combinations"),
    ],
)
def test_what_is_no_space_is_one_line(items, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        parse_space(items, HINTS)


def test_a_grid_tries_every_combination_once():
    trials = GridSearch(options(parse_space(["a=1,2", "b=x,y,z"], {}))).trials()
    assert [tuple(each.settings.values()) for each in trials] == [
        ("1", "x"), ("1", "y"), ("1", "z"), ("2", "x"), ("2", "y"), ("2", "z"),
    ]  # fmt: skip
    assert [each.number for each in trials] == list(range(6))


def test_random_trials_of_lists_do_not_repeat_and_are_the_same_every_time():
    space = parse_space(["a=1,2,3,4", "b=x,y,z"], {})
    trials = RandomSearch(options(space, 12)).trials()
    assert len({tuple(each.settings.values()) for each in trials}) == 12
    assert RandomSearch(options(space, 12)).trials() == trials


def test_random_trials_of_ranges_are_drawn_evenly():
    trials = RandomSearch(options(parse_space(["a=1:3", "b=x,y", "c=0.5:1.5"], {}), 3000)).trials()
    for key, kinds in (("a", 3), ("b", 2)):
        counts = Counter(each.settings[key] for each in trials)
        assert len(counts) == kinds
        assert all(abs(count - 3000 / kinds) < 150 for count in counts.values())
    drawn = [float(each.settings["c"]) for each in trials]
    assert 0.5 <= min(drawn) < 0.51 < 1.49 < max(drawn) <= 1.5


@pytest.mark.parametrize(
    ("search", "items", "trials", "line"),
    [
        (GridSearch, ["a=1:2"], None, "a is a range, but a grid needs values"),
        (GridSearch, ["a=1,2"], 2, "a grid tries every combination"),
        (RandomSearch, ["a=1,2"], None, "give the number of combinations to try: --trials N"),
        (RandomSearch, ["a=1,2"], 3, "there are 2 combinations, fewer than --trials 3"),
    ],
)
def test_numbers_of_trials_that_mean_nothing_are_one_line(search, items, trials, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        search(options(parse_space(items, {}), trials))


def test_what_was_told_of_is_not_proposed_again():
    search = GridSearch(options(parse_space(["a=1,2,3"], {})))
    first, second, third = search.next()
    search.tell(second, 0.5)
    assert search.next() == [first, third]
    for trial in (first, third):
        search.tell(trial, None)
    assert search.next() == []
    assert len(search.trials()) == 3

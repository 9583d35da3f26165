"""How large differences are, beside their p-values, against hand values."""

import math

import pytest

from camal_rl.comparison.comparison_file import comparison_json, comparison_markdown
from camal_rl.comparison.effects import effects, effects_table, seeds_table
from camal_rl.comparison.estimates import Estimate
from camal_rl.comparison.method_tables import method_table
from camal_rl.comparison.number_words import p_value, p_words
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.significance import corrected, correction_note
from camal_rl.runs.results import ResultKey
from tests.comparison.report_runs import made_group, texts

TRAIN = ResultKey("return", "train", control="stochastic")
NEW = ResultKey("return", "held_out", control="stochastic")
ZEROS = ResultKey("zero_maps", "held_out", "value", "own")
FIGURES = {TRAIN: [[1, 2, 3], [2, 4, 6]], NEW: [[1, 2, 3], [7, 8, 9]]}


@pytest.fixture
def group():
    return made_group({key: [list(map(float, each)) for each in lists] for key, lists in FIGURES.items()})


def test_effects_are_those_of_the_seeds(group):
    train, new = effects(group, [TRAIN, NEW])
    assert (train.difference, new.difference) == (2, 6)
    # Pooled variance 2.5 and 1; J of 4 degrees of freedom is sqrt(2 / pi).
    assert train.size.estimate == pytest.approx(2 / math.sqrt(2.5) * math.sqrt(2 / math.pi))
    assert new.size.estimate == pytest.approx(6 * math.sqrt(2 / math.pi))
    # Of 9 pairs 2 < 3 is lost, 2 = 2 is even.
    assert (train.chance, new.chance) == (pytest.approx(7.5 / 9), 1)
    assert (new.p, new.corrected_p) == (pytest.approx(0.1), pytest.approx(0.2))


def test_the_table_of_differences_has_a_row_for_each_figure_and_method(group):
    rows = texts(effects_table(group))
    arrow = "\N{NO-BREAK SPACE}↑"
    p = p_value(effects(group, [TRAIN, NEW])[0].p)
    assert rows == [
        [f"return on train{arrow}", "camal", "+2.000", "+1.01", "0.83", p, p],
        [f"return on held_out{arrow}", "camal", "+6.000", "+4.79", "1.00", "0.100", "0.200"],
    ]
    detail = effects_table(group).rows[1][3].detail
    low, high = (float(end) for end in detail.split(" to "))
    assert 0 < low < 4.79 < high


def test_every_seed_is_listed(group):
    table = seeds_table(group)
    assert table.header == ("figure", "method", "95 % interval", "seed 0", "seed 1", "seed 2")
    assert texts(table)[1][1:] == ["camal", texts(table)[1][2], "2.000", "4.000", "6.000"]


def test_the_file_has_effect_sizes_and_corrected_p(group):
    figures = comparison_json(group)["figures"]
    ppo, camal = figures["return/held_out"]["ppo"], figures["return/held_out"]["camal"]
    assert camal["p_holm"] == pytest.approx(0.2)
    assert camal["hedges_g"] == pytest.approx(6 * math.sqrt(2 / math.pi))
    assert camal["hedges_g_interval"][0] < camal["hedges_g"] < camal["hedges_g_interval"][1]
    assert camal["probability_above_first"] == 1
    fields = ("p_against_first", "p_holm", "hedges_g", "hedges_g_interval", "probability_above_first")
    assert [ppo[name] for name in fields] == [None] * 5
    text = comparison_markdown(group)
    assert "## Differences from ppo" in text
    assert "| +6.000 | +4.79 (" in text
    assert "## Every seed" in text


def test_the_report_has_both_tables(group):
    part = next(each for each in document([group]).sections[0].parts if each.title == "Seeds and effect sizes")
    assert [table.title for table in part.tables] == ["Differences from ppo", "Every seed"]
    assert [table.folded for table in part.tables] == [False, True]


@pytest.mark.parametrize(
    ("first", "second"), [([1.0], [2.0]), ([1.0, 1.0], [2.0, 2.0]), ([1.0, 2.0], [2.0]), ([3.0, 3.0], [3.0, 3.0])]
)
def test_without_spread_or_seeds_there_is_no_effect_size_and_no_error(first, second):
    group = made_group({NEW: [first, second]})
    (effect,) = effects(group, [NEW])
    assert effect.size is None
    assert texts(effects_table(group))[0][3] == "-"
    assert comparison_json(group)["figures"]["return/held_out"]["camal"]["hedges_g"] is None


def test_a_figure_that_one_method_lacks_has_no_effect():
    group = made_group({NEW: [[1.0, 2.0], []], TRAIN: [[1.0, 2.0], [3.0, 4.0]]})
    assert [each.key for each in effects(group, [NEW, TRAIN])] == [TRAIN]
    single, several = Estimate({"0": 1.0}), Estimate({"0": 1.0, "1": 2.0})
    assert (single.chance_above(several), several.chance_above(single)) == (None, None)
    assert (Estimate({}).effect_against(several), Estimate({}).chance_above(Estimate({}))) == (None, None)


def test_below_each_p_is_what_holm_makes_of_it_over_the_rows_of_the_method():
    apart, same = [[0.0, 1, 2, 3, 4], [5.0, 6, 7, 8, 9]], [[1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, 5]]
    group = made_group({TRAIN: apart, NEW: same, ZEROS: [[1.0] * 5, [2.0] * 5]})
    rows = [(("train",), TRAIN), (("new",), NEW), (("zero maps",), ZEROS)]
    cells = [row[-1] for row in method_table(group, "t", ("what",), rows).rows]
    holm = "Holm\N{NO-BREAK SPACE}"
    # 2 / C(10, 5) is .008, times two rows .016; what is only counted is no row to test.
    assert [(cell.text, cell.detail) for cell in cells] == [
        ("0.008", f"{holm}0.016"),
        ("1.000", f"{holm}1.000"),
        ("-", ""),
    ]
    (single,) = method_table(group, "t", ("what",), rows[:1]).rows
    assert (single[-1].text, single[-1].detail) == ("0.008", "")
    (uncorrected, *_) = method_table(group, "t", ("what",), rows, corrections=False).rows
    assert uncorrected[-1].detail == ""


def test_too_many_rows_for_so_few_seeds_are_told():
    keys = [ResultKey("return", f"set {place}", control="stochastic") for place in range(7)]
    group = made_group({key: [[0.0, 1, 2, 3, 4], [5.0, 6, 7, 8, 9]] for key in keys})
    rows = [((key.level_set,), key) for key in keys]
    told = (
        "With 5 against 5 seeds and 7 rows no p can stay below 0.05 after Holm's correction: the smallest possible is "
        "0.06."
    )
    assert method_table(group, "t", ("set",), rows, "Caption.").caption == f"Caption. {told}"
    assert method_table(group, "t", ("set",), rows[:6], "Caption.").caption == "Caption."
    assert effects_table(group).caption.endswith(told)
    assert method_table(group, "t", ("set",), rows, corrections=False).caption == ""


def test_the_note_on_corrections_leaves_to_others_what_cannot_be_significant_at_all():
    assert correction_note([((3, 3), 9), ((1, 8), 9), ((8, 8), 9)]) == ""
    assert correction_note([((4, 4), 1)]) == ""
    assert "4 against 4 seeds and 2 rows" in correction_note([((4, 4), 2)])


def test_what_was_not_tested_stays_out_of_the_correction():
    assert corrected([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert corrected([None]) == [None]
    assert corrected([]) == []


def test_a_p_is_never_written_as_zero():
    assert [p_value(p) for p in (0.0004, 0.0005, 0.25, None)] == ["< 0.001", "0.001", "0.250", "-"]
    assert [p_words(p) for p in (0.0001, 0.25)] == ["p < 0.001", "p = 0.250"]

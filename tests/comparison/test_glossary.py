import json
from pathlib import Path

import pytest
import torch

import camal_rl
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.glossary import ENTRIES, glossary_page, glossary_tables
from camal_rl.envs import env_ids
from camal_rl.metrics import ALIGNMENT_METRICS, METRICS, alignment
from camal_rl.runs.results import ResultKey
from tests.command_line import refusal, run_main

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_every_metric_has_an_entry_and_no_entry_is_left_over():
    assert list(ENTRIES) == [metric.name for metric in METRICS]


def test_the_page_is_what_the_entries_say():
    assert PAGE.read_text(encoding="utf-8") == glossary_page(), (
        "python -m camal_rl.comparison.glossary > docs/glossary.md"
    )


def test_ranges_and_directions_are_those_of_the_definitions():
    rows = {row[1].text: row for table in glossary_tables() for row in table.rows if len(row) > 2}
    for metric in METRICS:
        assert rows[metric.name][2].text == {True: "higher", False: "lower", None: "-"}[metric.higher_is_better]
        assert rows[metric.name][-1].text == metric.source


def test_a_random_map_gets_what_the_glossary_says():
    area = 0.25
    target = torch.zeros(64, 32, 32)
    target[:, :16, :16] = 1
    cam = torch.rand(target.shape, generator=torch.Generator().manual_seed(0))
    found = {name: float(values.nanmean()) for name, values in alignment(cam, target).items()}
    expected = {
        "the area fraction": area,
        "the area fraction, for large maps": area,
        "it does not depend on the map": area,
        "a / (1 + a) of the area fraction a": area / (1 + area),
        "a / (a + .5) of the area fraction a": area / (area + 0.5),
        "1": 1.0,
        ".5": 0.5,
    }
    for metric in ALIGNMENT_METRICS:
        said = ENTRIES[metric.name].random
        if said == "less than the area fraction":
            assert 0 < found[metric.name] < area
        else:
            # The maximum of 64 maps lies on the target in 16 of them, give or take 7.
            slack = 0.11 if metric.name == "pointing_game" else 0.02
            assert found[metric.name] == pytest.approx(expected[said], abs=slack), metric.name


def test_headline_terms_are_defined():
    terms = [row[0].text for table in glossary_tables() for row in table.rows]
    for term in ("EPG", "pointing game", "IoU", "gap", "normalized return", "net", "a (b)", "change in std of V", "p"):
        assert term in terms


def test_keys_become_words():
    net = ResultKey("deletion_effect_net", "held_out", "value", "own", "mean")
    assert figure_words(net) == "deletion effect of the value map on held_out, net"
    assert figure_words(ResultKey("deletion_effect", "train", "policy", "random", "mean")) == (
        "deletion effect of a random map beside the policy map on train"
    )
    assert figure_words(ResultKey("epg", "test", "class", "own"), arrow=True) == (
        "EPG of the class map on test\N{NO-BREAK SPACE}↑"
    )
    gap = ResultKey("gap", "held_out_cue", control="stochastic")
    assert figure_words(gap, arrow=True) == "gap between train and held_out_cue"
    assert figure_words(ResultKey("iou", "test", "built_in", "own")) == "IoU of the built-in attention on test"
    for metric in METRICS:
        told = figure_words(ResultKey(metric.name, "held_out", "value", "own"))
        assert "/" not in told.replace("EPG / area", "")
        assert "_" not in told.replace("held_out", "")


def test_the_verb_prints_terms_and_refuses_what_is_none(capsys):
    assert run_main("glossary", "EPG") == 0
    out = capsys.readouterr().out
    assert "sum(m t) / sum(m)" in out
    assert "accuracy" not in out
    assert run_main("glossary", "nonsense") == 2
    assert "no term contains 'nonsense'" in refusal(capsys)


def test_version_and_envs_as_json(capsys):
    assert run_main("--version") == 0
    assert capsys.readouterr().out == f"camal-rl {camal_rl.__version__}\n"
    assert run_main("envs", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in found] == list(env_ids())
    assert set(found[0]["relevant"]) < set(found[0]["classes"])
    assert run_main("envs", "toy_grif") == 2
    assert "did you mean 'toy_grid'? " in refusal(capsys)

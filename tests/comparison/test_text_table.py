import re

import pytest

from camal_rl.cli.bench import speed_table, split_table
from camal_rl.cli.envs import details
from camal_rl.comparison import tables
from camal_rl.comparison.glossary import glossary_tables
from camal_rl.comparison.report.document import Cell, Table
from camal_rl.comparison.results import comparison_table
from camal_rl.comparison.text_table import in_columns, text_table, wrapped
from camal_rl.envs import env_ids
from tests.command_line import run_main

WIDTHS = (40, 41, 53, 60, 80, 100, 160)
ACTIONS = {"mean": -12345.678, "std": 0.25, "episodes": 60, "excluded": 4, "normalized": -0.125}
HEAD = {
    "alignment": dict.fromkeys(tables.ALIGNMENT_COLUMNS, 0.98765),
    "frames": 64,
    "zero_maps": 12,
    "empty_targets": 34,
    "faithfulness": {
        kind: {"deletion_effect": -0.36789, "insertion_change_auc": 1.5} for kind in ("own", "random", "mask")
    },
}
SETS = ("train", "held_out_appearance_and_layout")
METRICS = {
    "settings": {"episodes": 64, "images": 256, "frames": 256},
    "returns": {name: {"stochastic": ACTIONS, "deterministic": ACTIONS} for name in SETS},
    "gap": {SETS[1]: {"stochastic": 1.0, "deterministic": -1.0}},
    "attention": {name: {"value": HEAD, "policy": HEAD} for name in SETS},
    "counterfactuals": {
        name: {
            "frames": 64,
            "rank_correlation": {"value": {"own": 0.5, "random": -0.125, "uniform": 0.25}},
            "rank_correlation_all": {"value": {"own": 0.5, "random": -0.125, "uniform": 0.25}},
        }
        for name in SETS
    },
}
CLASSIFIER = {
    "settings": {"images": 256},
    "accuracy": {"test": {"average": 0.5, "worst_group": 0.125, "n": 640, "groups": {}}},
    "attention": {"test": {"class": HEAD}},
    "background_swap": {
        "test": {"flips": 0.5, "flips_any": 0.75, "flips_same_texture": 0.0, "accuracy_swapped": 0.25, "n": 640}
    },
}
SPEED = {"median": 12345.0, "min": 1234.0, "max": 123456.0, "rounds": [12345.0, 1234.0, 123456.0]}
BENCH = {
    "config": {
        "env": {"id": "minigrid/Dynamic-Obstacles-Random-6x6"},
        "policy": {"encoder": "impala"},
        "camal": {"weight": 0.1},
    },
    "weight_0": {"steps_per_second": SPEED, "agent_over_it": SPEED},
    "steps_per_second": SPEED,
    "steps_per_round": 2048,
}
SPLIT = {
    "note": "measured in separate rounds",
    "seconds": 12.5,
    "steps": 2048,
    "sections": {"simulate": {"share": 0.5, "ms_per_1000_steps": 1234.5}},
}
FIGURES = ("return/held_out", "gap/held_out", "epg/value/held_out", "deletion_effect_net/value/held_out")
SUMMARY = {"seeds": {"0": 1, "1": 2}, "mean": -0.36789, "std": 0.125, "interval": None, "p_against_first": 0.3333}
METHODS = ("ppo", "camal", "energy", "camal (weight=0.25)")
COMPARISON = {
    "env": "minigrid/Dynamic-Obstacles-Random-6x6",
    "length": "131,072 steps",
    "methods": METHODS,
    "seeds": [0, 1],
    "figures": {name: dict.fromkeys(METHODS, SUMMARY) for name in FIGURES},
}


def every_table():
    return {
        "returns": tables.returns_table(METRICS),
        "alignment": tables.alignment_table(METRICS),
        "faithfulness": tables.faithfulness_table(METRICS),
        "counterfactuals": tables.counterfactual_table(METRICS),
        "accuracy": tables.accuracy_table(CLASSIFIER),
        "alignment of classes": tables.alignment_table(CLASSIFIER),
        "backgrounds": tables.background_table(CLASSIFIER),
        "speed": speed_table(BENCH),
        "split": split_table(SPLIT),
        "comparison": comparison_table(COMPARISON),
        "environments": details(env_ids()),
        **{table.title: table for table in glossary_tables()},
    }


def pieces(text):
    return [piece for piece in re.split(r"(?<!±)[ \n]+(?!±)", text) if piece]


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_every_id_and_number_of_every_table_is_whole_at_every_width(width):
    for name, table in every_table().items():
        text = text_table(table, width)
        found = set(pieces(re.sub("[─]+", " ", text)))
        for row in table.rows:
            for cell in row:
                missing = [piece for piece in pieces(cell.text) if piece not in found]
                assert missing == [], f"{name} at {width}"
        assert "…" not in text
        longest = max(
            len(piece)
            for row in (table.header, *((c.text for c in r) for r in table.rows))
            for t in row
            for piece in pieces(t)
        )
        if width is not None and longest < width - 24:
            assert max(map(len, text.splitlines())) <= width, name


@pytest.mark.parametrize("width", WIDTHS)
def test_every_row_keeps_its_figures(width):
    """Each label stands as often as it has rows, or once for each part of a split table; so do the figures."""
    rows = tuple((Cell(f"id/{index}"), *(Cell(f"{index}.{place}") for place in range(9))) for index in range(5))
    table = Table("t", "", ("id", *(f"figure {place}" for place in range(9))), 1, rows)
    text = text_table(table, width)
    for index in range(5):
        assert text.count(f"id/{index}") >= 1
        for place in range(9):
            assert len(re.findall(rf"(?<![\d.]){index}\.{place}(?!\d)", text)) == 1


def test_a_table_without_a_width_has_one_line_for_each_row():
    table = details(env_ids())
    # Title, header, rule, rows, and what all share.
    assert len(text_table(table).splitlines()) in (3 + len(table.rows), 4 + len(table.rows))


def test_what_is_wider_than_the_terminal_overflows_whole():
    path = "runs/" + "x" * 60
    assert text_table(Table("t", "", ("folder", "seed"), 1, ((Cell(path), Cell("7")),)), 40).splitlines()[1:] == [
        "folder:",
        f"  {path}",
        "  seed: 7",
    ]


def test_text_is_wrapped_at_spaces_but_not_around_a_spread():
    assert wrapped("return 0.787 ± 0.023 and more", 14) == ["return", "0.787 ± 0.023", "and more"]
    assert wrapped("a  b\nc", None) == ["a b c"]
    assert in_columns(["a/b", "c/dd", "e"], 10) == ["a/b   c/dd", "e"]
    assert in_columns(["longer/than/that"], 4) == ["longer/than/that"]


def test_titles_tell_what_was_measured_not_what_was_asked_for():
    assert tables.returns_table(METRICS).title == "Return, 60 episodes each (mean ± std of episodes)"
    assert tables.alignment_table(METRICS).title.endswith(", 64 frames each")
    assert tables.faithfulness_table(CLASSIFIER).title == "Deletion effect, 64 images each"
    few = {**HEAD, "frames": 48}
    assert tables.alignment_table({**METRICS, "attention": {"a": {"value": HEAD}, "b": {"value": few}}}).title.endswith(
        ", 48 to 64 frames each"
    )


@pytest.mark.parametrize("width", ["40", "80", "100", ""])
def test_envs_prints_every_id_whole(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    assert run_main("envs") == 0
    out = capsys.readouterr().out
    assert set(env_ids()) <= set(out.split())
    if not width:
        # In a pipe, an id is the first word of a line of its own.
        assert [line.split()[0] for line in out.splitlines() if line.split()[:1] and "/" in line.split()[0]] == list(
            env_ids()
        )
    assert run_main("envs", "minigrid/m") == 0
    assert "minigrid/MultiRoom-N2-S4" in capsys.readouterr().out.split()

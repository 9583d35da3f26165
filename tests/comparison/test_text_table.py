import re
from dataclasses import replace

import pytest

from camal_rl.cli.bench import speed_table, split_table
from camal_rl.cli.envs import details
from camal_rl.comparison import run_tables
from camal_rl.comparison.comparison_file import comparison_table
from camal_rl.comparison.glossary import glossary_tables
from camal_rl.comparison.table import Cell, Table
from camal_rl.comparison.text_table import in_columns, text_table, wrapped
from camal_rl.envs import env_ids
from camal_rl.runs.results import Result, ResultKey, Results
from tests.command_line import run_main
from tests.comparison.report_runs import made_group, texts

WIDTHS = (40, 41, 53, 60, 80, 100, 160)
SETS = ("train", "held_out_appearance_and_layout")


def heads(sets, targets):
    found = []
    for place in ({"level_set": name, "target": target} for name in sets for target in targets):
        own = {**place, "map": "own"}
        found += [Result(figure=name, **own, value=0.98765, count=60) for name in run_tables.ALIGNMENT_COLUMNS]
        found.append(Result(figure="zero_maps", **own, value=12, count=64))
        found.append(Result(figure="empty_targets", **own, value=34, count=64))
        for map_ in ("own", "random", "mask"):
            faithful = {**place, "map": map_, "control": "mean"}
            found.append(Result(figure="deletion_effect", **faithful, value=-0.36789))
            found.append(Result(figure="insertion_change_auc", **faithful, value=1.5))
    return found


def played():
    found = []
    for place in ({"level_set": name, "control": actions} for name in SETS for actions in run_tables.ACTIONS):
        found.append(Result(figure="return", **place, value=-12345.678, count=60, error=0.25 / 60**0.5))
        found.append(Result(figure="normalized_return", **place, value=-0.125))
        found.append(Result(figure="excluded_episodes", **place, value=4, count=64))
        found.append(Result(figure="score", **place, value=4.56, count=60))
        found.append(Result(figure="success_collect_wood", **place, value=0.75, count=60))
    gaps = zip(run_tables.ACTIONS, (1.0, -1.0), strict=True)
    return [*found, *(Result(figure="gap", level_set=SETS[1], control=actions, value=value) for actions, value in gaps)]


def ranked():
    found = []
    for name in SETS:
        found.append(Result(figure="undefined_maps", level_set=name, map="random", value=0, count=64))
        for control in run_tables.RANKED:
            for map_, value in (("own", 0.5), ("random", -0.125), ("uniform", 0.25)):
                place = {"level_set": name, "target": "value", "map": map_, "control": control}
                found.append(Result(figure="rank_correlation", **place, value=value))
    return found


AGENT = Results([*played(), *heads(SETS, ("value", "policy")), *ranked()])
SWAP = {None: (0.5, 1280), "any": (0.75, 640), "same_texture": (0.0, 640)}
CLASSIFIER = Results(
    [
        Result(figure="accuracy", level_set="test", value=0.5, count=640),
        Result(figure="worst_group_accuracy", level_set="test", value=0.125),
        Result(figure="accuracy_swapped", level_set="test", value=0.25),
        *(
            Result(figure="background_flips", level_set="test", control=control, value=value, count=count)
            for control, (value, count) in SWAP.items()
        ),
        *heads(["test"], ["class"]),
    ]
)
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
METHODS = ("ppo", "camal", "energy", "camal (weight=0.25)")
FIGURES = (
    ResultKey("return", "held_out", control="stochastic"),
    ResultKey("gap", "held_out", control="stochastic"),
    ResultKey("epg", "held_out", "value", "own"),
    ResultKey("deletion_effect", "held_out", "value", "own", "mean"),
)
COMPARISON = made_group({key: [[-0.36789, -0.125]] * len(METHODS) for key in FIGURES}, methods=METHODS)


def every_table():
    return {
        **{f"agent {table.title}": table for table in run_tables.run_tables(AGENT)},
        **{f"classifier {table.title}": table for table in run_tables.run_tables(CLASSIFIER)},
        "speed": speed_table(BENCH),
        "split": split_table(SPLIT),
        "comparison": comparison_table(COMPARISON),
        "environments": details(env_ids()),
        **{table.title: table for table in glossary_tables()},
    }


def test_a_simulators_own_score_has_a_table_with_the_success_rates():
    place = {"level_set": "train", "count": 60}
    found = [
        Result(figure=figure, **place, control=actions, value=value)
        for actions, values in (("stochastic", (4.5, 0.75)), ("deterministic", (3.25, 0.5)))
        for figure, value in (("score", values[0]), ("success_collect_wood", values[1]))
    ]
    returns = Result(figure="return", **place, control="stochastic", value=1.0, error=0.0)
    tables = run_tables.run_tables(Results([returns, *found]))
    assert [[cell.text for cell in row] for row in tables[1].rows] == [
        ["score, sampled actions \N{UPWARDS ARROW}", "4.50"],
        ["score, preferred actions \N{UPWARDS ARROW}", "3.25"],
        ["collect wood", "0.75"],
    ]
    assert [table.title for table in run_tables.run_tables(Results([returns]))] == [tables[0].title]


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
    assert run_tables.returns_table(AGENT).title == "Return, 60 episodes each (mean ± std of episodes)"
    assert run_tables.alignment_table(AGENT).title.endswith(", 64 frames each")
    assert run_tables.faithfulness_table(CLASSIFIER).title == "Deletion effect, 64 images each"
    few = [replace(each, count=48) if each.level_set == "train" else each for each in AGENT]
    assert run_tables.alignment_table(Results(few)).title.endswith(", 48 to 64 frames each")


def test_the_tables_of_a_run_show_what_it_was_measured_by():
    titles = [table.title.partition(",")[0].partition(":")[0] for table in run_tables.run_tables(AGENT)]
    assert titles == [
        "Return",
        "The simulator's own score",
        "Alignment of attention with the relevant objects",
        "Deletion effect",
        "Attention against the simulator's interventions",
    ]
    returns, _, alignment, _, ranks = (texts(table) for table in run_tables.run_tables(AGENT))
    assert returns[1] == [SETS[1], "-12345.68 ± 0.25", "1.00", "-12345.68 ± 0.25", "-1.00", "-0.125", "4"]
    assert alignment[0] == ["train", "value map", *["0.988"] * 5, "12", "34"]
    assert ranks[0] == ["train", "value map", "removals", "0.500", "-0.125", "0.250", "64"]
    accuracy, _, _, swap = (texts(table) for table in run_tables.run_tables(CLASSIFIER))
    assert accuracy == [["test", "all images", "0.500", "640"], ["test", "worst group", "0.125", ""]]
    assert swap == [["test", "0.500", "0.750", "0.000", "0.250", "640"]]
    nothing = Results(each for each in AGENT if each.target is None and each.map is None)
    assert len(run_tables.run_tables(nothing)) == 2


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

import base64
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from camal_rl.cli.main import main
from camal_rl.experiments.comparison import method_config
from camal_rl.experiments.comparison_report import compare_runs
from camal_rl.experiments.evaluation import load_model
from camal_rl.experiments.loading import dump_yaml, load_config
from camal_rl.experiments.report import contents, tables
from camal_rl.experiments.report.contents import document
from camal_rl.experiments.report.document import Cell, Document, Table
from camal_rl.experiments.report.estimates import Estimate, estimates, keys, smallest_p
from camal_rl.experiments.report.pictures import frame_grid
from camal_rl.experiments.report.plots import faithfulness_plots, returns_plot
from camal_rl.experiments.report.runs import find_runs, group_runs, read_run
from camal_rl.experiments.report.summary import summary
from camal_rl.experiments.report.write import render, write_report
from camal_rl.overlays import heat_overlay

MAPS = ("own", "random", "mask")


def head(epg, effect, full=False):
    figures = {name: {"deletion_effect": value} for name, value in zip(MAPS, (effect, 0.25, 0.5), strict=True)}
    result = {
        "map": "gradcam, relu",
        "score": "value",
        "frames": 8,
        "alignment": {"epg": epg, "area_fraction": 0.125, "mae": None},
        "zero_maps": 2,
        "empty_targets": 0,
        "faithfulness": figures,
    }
    if full:
        figures["own"]["undefined"] = 0
        figures["perturbation"] = {"undefined": 1, "deletion_effect": 0.75, "sufficiency": -0.5, "brand_new": 3.5}
        result["fills"] = {"blur": {"own": {"deletion_effect": 0.625}}}
        line = {"fractions": [0.0, 0.5, 1.0], "deletion": [0.0, 0.5, 1.0], "insertion": [1.0, 0.5, 0.0]}
        result["curves"] = {"own": line, "random": line}
        result["consistency"] = {"consistency_under_noise": 0.875}
        result["randomisation"] = {"value_head": 0.375}
    return result


def metrics(train, held_out, epg, effect=1.0, full=False):
    def actions(mean):
        return {"stochastic": {"mean": mean}, "deterministic": {"mean": mean + 100}}

    result = {
        "settings": {"episodes": 12, "frames": 8, "seed": 3},
        "returns": {"train": actions(train), "held_out": actions(held_out)},
        "gap": {"held_out": {"stochastic": train - held_out, "deterministic": 0.0}},
        "attention": {"held_out": {"value": head(epg, effect, full)}},
    }
    if full:
        removal = {"name": "removed", "kind": "remove", "frames": 8, "value_change": 0.5, "flips": None}
        ranks = {"value": {"own": 0.625, "random": 0.0625}}
        result["suite"] = "full"
        result["counterfactuals"] = {
            "held_out": {
                "interventions": [{**removal, "class_name": "goal"}, {**removal, "class_name": "wall", "flips": 0.75}],
                "rank_correlation": ranks,
            }
        }
    return result


def write_run(path, method, seed, measured, *overrides):
    """Write the folder of a run without a model; ``measured`` is what metrics.json holds."""
    path.mkdir(parents=True)
    config = method_config(load_config("toy_grid", overrides), method, seed)
    (path / "config.yaml").write_text(dump_yaml(config))
    (path / "train.json").write_text(json.dumps({"interrupted": False, "timesteps": 256, "seconds": 2.0}))
    if measured is not None:
        (path / "metrics.json").write_text(json.dumps(measured))
    return path


def write_comparison(root, ppo, camal):
    for method, results in (("ppo", ppo), ("camal", camal)):
        for seed, figures in enumerate(results):
            write_run(root / f"{method}-seed{seed}", method, seed, metrics(*figures))
    return root


def read_groups(*paths):
    return group_runs([read_run(path) for path in find_runs(paths)])


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture
def group(tmp_path):
    """Return three seeds of two methods: camal returns less on train, more on held-out levels."""
    ppo = [(8, 1, 0.1), (9, 2, 0.2), (10, 3, 0.3)]
    camal = [(5, 5, 0.7), (6, 6, 0.8), (7, 7, 0.9)]
    (found,) = read_groups(write_comparison(tmp_path / "runs", ppo, camal))
    return found


def test_runs_are_found_below_folders_once(tmp_path):
    root = write_comparison(tmp_path / "a" / "compare", [(1, 1, 0.5)], [(1, 1, 0.5)])
    found = find_runs([root / "ppo-seed0", tmp_path, root / ".." / "compare" / "camal-seed0"])
    assert [path.name for path in found] == ["ppo-seed0", "camal-seed0"]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder and holds none"):
        find_runs([tmp_path])


def test_means_intervals_and_tests_are_those_of_compare(group):
    figures = compare_runs(group.runs)["figures"]["return/held_out"]
    found = estimates(group, "returns", "held_out", "stochastic", "mean")
    for method in ("ppo", "camal"):
        assert found[method].seeds == figures[method]["seeds"]
        assert [found[method].mean, found[method].std] == [figures[method]["mean"], figures[method]["std"]]
        assert [found[method].interval().low, found[method].interval().high] == figures[method]["interval"]
    assert found["camal"].p_against(found["ppo"]) == figures["camal"]["p_against_first"] == pytest.approx(0.1)


def test_smallest_p_counts_the_splits():
    # 2 of the 6, 20 and 252 ways to split the pooled seeds are as extreme as can be.
    assert [smallest_p(2, 2), smallest_p(3, 3), smallest_p(5, 5)] == [2 / 6, 2 / 20, 2 / 252]
    assert smallest_p(1, 1) == 1
    assert smallest_p(2, 3) == 2 / 10


def test_what_is_no_number_is_no_estimate(group):
    assert estimates(group, "attention", "held_out", "value", "alignment", "mae")["ppo"].count == 0
    assert estimates(group, "no", "such", "path")["camal"].count == 0
    assert keys(group, "no", "such") == []
    empty, single = Estimate({}), Estimate({"0": 3.0})
    assert math.isnan(empty.mean)
    assert (single.mean, single.interval(), single.p_against(Estimate({"0": 1.0, "1": 2.0}))) == (3, None, None)


def test_return_table_has_mean_spread_interval_and_p(group):
    returns, gap = tables.returns_tables(group)
    assert returns.header == ("level set", "actions", "ppo (n = 3)", "camal (n = 3)", "p")
    row = next(row for row in returns.rows if row[0].text == "held_out" and row[1].text == "sampled")
    assert [cell.text for cell in row] == ["held_out", "sampled", "2.000 ± 1.000", "6.000 ± 1.000", "0.100"]
    low, high = (float(value) for value in row[3].detail.split(" to "))
    assert 5 <= low < 6 < high <= 7
    assert texts(gap)[0] == ["held_out", "sampled", "7.000 ± 0.000", "0.000 ± 0.000", "0.100"]


def test_alignment_has_arrows_and_leaves_out_what_no_run_has(group):
    (table,) = tables.alignment_tables(group, "value")
    rows = {row[0]: row[1:] for row in texts(table)}
    assert list(rows) == ["EPG\N{NO-BREAK SPACE}↑", "area fraction", "zero maps"]
    assert rows["EPG\N{NO-BREAK SPACE}↑"] == ["0.200 ± 0.100", "0.800 ± 0.100", "0.100"]
    assert rows["zero maps"][:2] == ["2", "2"]
    assert "gradcam, relu; 8 frames" in table.caption
    assert tables.alignment_tables(group, "policy") == []


def test_summary_says_where_camal_loses_and_that_three_seeds_show_nothing(group):
    (text,) = summary(group)
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("camal (3 seeds) against ppo (3 seeds).")
    better, worse = text.split("camal loses on ")
    assert "is better on return on held_out, 6.000 against 2.000 (p = 0.100); EPG of the value map" in better
    assert worse.startswith("return on train, 6.000 against 9.000 (p = 0.100).")
    assert "equals it on deletion effect of the value map, 1.000 against 1.000" in text
    assert "None of this is significant: with so few seeds no p below 0.100 is possible." in text
    assert "no more faithful" not in text


def seeds_of(mean, *rest):
    return [(mean[0] + seed / 8, mean[1] + seed / 8, *rest) for seed in range(7)]


def test_summary_names_significant_gains_and_losses_after_correction(tmp_path):
    root = write_comparison(tmp_path, seeds_of((8, 1), 0.5, 0.2), seeds_of((4, 5), 0.5, 0.2))
    (text,) = summary(read_groups(root)[0])
    # Returns are apart in all seeds: p = 2 / C(14, 7), times 4 comparisons is far below .05; the rest is equal.
    expected = "2 of 4 differences have p < 0.05 by themselves; after Holm's correction these are significant: "
    assert expected + "gains on return on held_out; losses on return on train." in text
    # An effect of .2 against .25 for the random map.
    assert "The value map of camal is no more faithful than a random one" in text


def test_summary_does_not_call_significant_what_the_correction_takes_back(tmp_path):
    ppo = [(seed, 1, 0.5) for seed in range(4)]
    camal = [(seed + 10, 1, 0.5) for seed in range(4)]
    (text,) = summary(read_groups(write_comparison(tmp_path, ppo, camal))[0])
    # p = 2 / 70 = .029, times 4 comparisons .114.
    assert "1 of 4 differences have p < 0.05 by themselves; after Holm's correction none is significant" in text
    assert "smallest p 0.114" in text


def test_a_single_method_and_missing_evaluations_are_told(tmp_path):
    write_run(tmp_path / "a", "camal", 0, metrics(1, 2, 0.5))
    write_run(tmp_path / "b", "camal", 1, None)
    (group,) = read_groups(tmp_path)
    (text,) = summary(group)
    assert text.startswith("camal, 1 seed, nothing to compare it with: return on train 1.000, return on held_out 2.000")
    assert group.notes == (f"camal seed 1 is not evaluated; camal-rl evaluate {tmp_path / 'b'} mends that",)
    (tmp_path / "a" / "metrics.json").unlink()
    assert "None of these runs is evaluated" in summary(read_groups(tmp_path)[0])[0]


def test_ppo_comes_first_and_variants_and_copies_are_told_apart(tmp_path):
    write_run(tmp_path / "a", "camal", 0, metrics(1, 2, 0.5), "camal.weight=0.5")
    write_run(tmp_path / "b", "camal", 0, metrics(1, 2, 0.5), "camal.weight=0.25", "log.overlay_every=7")
    write_run(tmp_path / "c", "ppo", 0, metrics(1, 2, 0.5))
    write_run(tmp_path / "d", "ppo", 0, metrics(1, 2, 0.5), "camal.loss=energy", "log.overlay_every=7")
    write_run(tmp_path / "e", "ppo", 0, metrics(1, 2, 0.5), "env.id=toy_grid/no_cue")
    first, second = read_groups(tmp_path)
    assert first.methods == ("ppo", "camal (weight=0.5)", "camal (weight=0.25)")
    assert first.notes == (f"{tmp_path / 'd'} is left out: another folder holds ppo seed 0 with the same settings",)
    assert (second.env, second.methods, len(second.runs)) == ("toy_grid/no_cue", ("ppo",), 1)


@pytest.fixture
def full(tmp_path):
    for method, epg in (("ppo", 0.25), ("camal", 0.75)):
        for seed in range(2):
            write_run(tmp_path / f"{method}-seed{seed}", method, seed, metrics(1 + seed, 2, epg, full=True))
    return read_groups(tmp_path)[0]


def test_the_full_suite_is_shown_whatever_it_holds(full):
    main_table, blur = tables.faithfulness_tables(full, "value")
    rows = {(row[0].replace("\N{NO-BREAK SPACE}", " "), row[1]): row[2] for row in texts(main_table)}
    assert rows["deletion effect ↑", "own map"] == "1.000 ± 0.000"
    assert rows["deletion effect ↑", "random (control)"] == "0.250 ± 0.000"
    assert rows["deletion effect ↑", "perturbation (neutral)"] == "0.750 ± 0.000"
    assert rows["brand new", "perturbation (neutral)"] == "3.500 ± 0.000"
    assert list(rows)[-1] == ("undefined frames", "perturbation (neutral)")
    assert "undefined frames" not in [figure for figure, _ in list(rows)[:-1]]
    assert blur.title.endswith("fill blur")
    assert blur.folded
    assert texts(blur)[0][2] == "0.625 ± 0.000"
    consistency, randomisation = tables.sanity_tables(full, "value")
    assert texts(consistency)[0][:2] == ["consistency under noise", "0.875 ± 0.000"]
    assert texts(randomisation)[0][:2] == ["value head", "0.375 ± 0.000"]


def test_counterfactuals_keep_interventions_of_one_name_apart(full):
    interventions, ranks = tables.counterfactual_tables(full)
    assert interventions.header == ("intervention", "method", "frames", "value change", "flips")
    assert texts(interventions) == [
        ["removed, goal", "ppo", "8", "0.500", "-"],
        ["removed, goal", "camal", "8", "0.500", "-"],
        ["removed, wall", "ppo", "8", "0.500", "0.750"],
        ["removed, wall", "camal", "8", "0.500", "0.750"],
    ]
    assert [row[:3] for row in texts(ranks)] == [
        ["value", "own map", "0.625 ± 0.000"],
        ["value", "random (control)", "0.062 ± 0.000"],
    ]


def test_faithfulness_curves_are_drawn_where_there_are_any(full, group):
    (picture,) = faithfulness_plots(full)
    assert picture.data.startswith(b"<?xml")
    assert picture.file_name == "toy-grid-default-faithfulness-held_out-value.svg"
    assert faithfulness_plots(group) == []


def test_the_same_runs_give_the_same_plot(group):
    assert returns_plot(group).data == returns_plot(group).data


class Page(HTMLParser):
    """Collects tags, links, anchors and text, and checks that tags are closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [attributes[name] for _, attributes in self.attributes if name in attributes]


def test_the_page_needs_nothing_beside_it_and_its_links_lead_somewhere(full, monkeypatch):
    monkeypatch.setattr(contents, "frame_grid", lambda group: (_ for _ in ()).throw(ValueError("no simulator\nhere")))
    text = render(document([full], "A & B <script>"), "report.html")
    page = Page(text)
    assert "A & B <script>" in "".join(page.text)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:[^\"]*", "", text))
    anchors = page.values("id")
    assert len(set(anchors)) == len(anchors)
    assert {link.removeprefix("#") for link in page.values("href")} <= set(anchors)
    assert "No pictures: no simulator here." in "".join(page.text)
    svg = base64.b64decode(page.values("src")[0].partition(",")[2])
    assert b"<svg" in svg


def test_markdown_tables_are_tables_and_pictures_exist(full, tmp_path):
    _, path = write_report(document([full]), tmp_path / "out")
    text = path.read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    assert all((path.parent / name).stat().st_size > 500 for name in pictures)
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if re.fullmatch(r"\|( -+:? \|)+", line):
            bars = {each.count("|") for each in lines[index - 1 : index + 2]}
            assert len(bars) == 1
            assert lines[index - 2] == ""
    assert "| held_out | sampled | 2.000 ± 0.000 (2.000 to 2.000) | 2.000 ± 0.000 (2.000 to 2.000) | 1.000 |" in text


def test_a_cell_cannot_break_a_markdown_table():
    strange = Table("t", "", ("a|b",), 1, ((Cell("x|y *z*", marked=True),),))
    text = render(Document("title", (), (), strange), "report.md")
    assert "| a\\|b |" in text
    assert "| **x\\|y \\*z\\*** |" in text


def test_missing_pieces_are_told_in_one_line(group):
    page = document([group])
    notes = {part.title: " ".join(part.notes) for part in page.sections[0].parts}
    assert notes["Counterfactuals"].startswith("No counterfactuals were measured")
    assert "No faithfulness curves" in notes["Faithfulness"]
    assert notes["Learning"] == "No learning curves: the runs hold no TensorBoard logs."
    assert notes["Pictures"] == "No pictures: none of the run folders holds a model.zip."
    assert notes["Origin"].startswith("The runs hold no provenance.json")
    unmeasured = replace(group, runs=tuple(replace(run, metrics=None) for run in group.runs))
    parts = {part.title: part for part in document([unmeasured]).sections[0].parts}
    assert parts["Returns"].notes == ("No returns were measured.",)
    assert parts["Alignment"].notes == ("No attention was measured: masks are off or evaluation.frames is 0.",)


def test_settings_that_differ_are_marked(group):
    parts = {part.title: part for part in document([group]).sections[0].parts}
    (table,) = parts["Configuration"].tables
    row = next(row for row in table.rows if row[0].text == "camal.weight")
    assert [(cell.text, cell.marked) for cell in row[1:]] == [
        ("0.0", False),
        (str(group.of("camal")[0].config.camal.weight), True),
    ]
    assert "seed" not in [row[0].text for row in table.rows]
    assert "total_timesteps" in parts["Configuration"].texts[0].text


def decoded(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_pictures_show_both_methods_on_the_frames_of_the_first(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "camal")
    shutil.copytree(trained.path, tmp_path / "ppo")
    config = trained.config()
    (tmp_path / "ppo" / "config.yaml").write_text(dump_yaml(replace(config, camal=replace(config.camal, weight=0.0))))
    (group,) = read_groups(tmp_path)
    grid = frame_grid(group)
    method = config.method_name
    maps = ["ppo, value", f"{method}, value", "ppo, policy", f"{method}, policy"]
    assert list(grid.columns) == ["image", "segmentation", *maps]
    assert len(grid.rows) == 6
    assert {len(set(pictures)) for pictures in grid.columns.values()} == {6}
    assert {"agent *", "goal *"} <= set(grid.legend)
    images = np.stack([decoded(png) for png in grid.columns["image"]])
    camal = config.camal
    found = load_model(trained).policy.attention(images, method=camal.method, rectification=camal.rectification)
    for target in ("value", "policy"):
        expected = heat_overlay(images[4], found[target][4].float().numpy())
        assert np.abs(decoded(grid.columns[f"{method}, {target}"][4]).astype(int) - expected).max() <= 1
    assert grid.columns == frame_grid(group).columns
    for name in ("ppo", "camal"):
        (tmp_path / name / "model.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.zip"):
        frame_grid(group)


def run_main(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def test_the_verb_writes_into_the_folder_that_is_given(trained, tmp_path, capsys):
    shutil.copytree(trained.path, tmp_path / "runs" / "one", ignore=shutil.ignore_patterns("metrics.json"))
    assert run_main("report", str(tmp_path / "runs"), "--title", "Mine", "--no-progress") == 0
    out = capsys.readouterr().out
    page = tmp_path / "runs" / "report" / "report.html"
    assert out.splitlines()[0] == f"1 run: {page}"
    assert "<title>Mine</title>" in page.read_text()
    assert "pixelated" in page.read_text()
    assert "is not evaluated" in page.read_text()
    # Again, over the first report, whose folder is not taken for a run.
    assert run_main("report", str(tmp_path / "runs"), "--no-progress") == 0


@pytest.mark.parametrize("given", ["nothing", "broken", "file"])
def test_what_is_no_run_is_one_line_and_exit_code_2(tmp_path, capsys, given):
    path = tmp_path / given
    if given == "broken":
        write_run(path, "ppo", 0, None)
        (path / "metrics.json").write_text("{")
    elif given == "file":
        path.write_text("no run")
    assert run_main("report", str(path), "--out", str(tmp_path / "out")) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert str(path) in err
    assert not (tmp_path / "out").exists()


def test_a_report_is_not_written_over_a_file(tmp_path, capsys):
    run = write_run(tmp_path / "ppo", "ppo", 0, None)
    (tmp_path / "mine").write_text("precious")
    assert run_main("report", str(run), "--out", str(tmp_path / "mine")) == 2
    assert capsys.readouterr().err == f"camal-rl: {tmp_path / 'mine'} is a file; --out must be a folder\n"
    assert (tmp_path / "mine").read_text() == "precious"


def test_help_has_an_example(capsys):
    assert run_main("report", "--help") == 0
    assert "camal-rl report" in capsys.readouterr().out.split("For example:")[1]

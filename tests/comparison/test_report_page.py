import base64
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from camal_rl.comparison.report import sections
from camal_rl.comparison.report.document import Document
from camal_rl.comparison.report.pictures import frame_grid
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.report.write import render, write_report
from camal_rl.comparison.table import Cell, Table
from camal_rl.overlays import heatmap_overlay
from camal_rl.rl import attention_grid
from camal_rl.rl.model_file import load_model
from camal_rl.runs.loading import dump_yaml
from tests.command_line import run_main
from tests.comparison.report_runs import (
    comparison_group,
    full_group,
    read_groups,
    write_run,
)


@pytest.fixture
def group(tmp_path):
    return comparison_group(tmp_path)


@pytest.fixture
def full(tmp_path):
    return full_group(tmp_path)


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
    monkeypatch.setattr(sections, "frame_grid", lambda group: (_ for _ in ()).throw(ValueError("no simulator\nhere")))
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
    mean, p = "2.000 ± 0.000 (2.000 to 2.000)", "1.000 (Holm 1.000)"
    assert f"| held_out | sampled | {mean} | {mean} | {p} |" in text


def test_a_cell_cannot_break_a_markdown_table():
    strange = Table("t", "", ("a|b",), 1, ((Cell("x|y *z*", marked=True),),))
    text = render(Document("title", (), (), strange), "report.md")
    assert "| a\\|b |" in text
    assert "| **x\\|y \\*z\\*** |" in text


def test_a_name_is_no_link_and_no_picture_in_markdown():
    name = "![x](https://example.com/seen) [y](javascript:z)"
    strange = Table(name, name, (name,), 1, ((Cell(name),),))
    text = render(Document(name, (name,), (), strange), "report.md")
    assert text.count(name.replace("](", "]\\(")) == 6
    assert re.findall(r"\]\((?!#)", text) == []


def test_missing_pieces_are_told_in_one_line(group):
    page = document([group])
    notes = {part.title: " ".join(part.notes) for part in page.sections[0].parts}
    assert notes["Counterfactuals"].startswith("No counterfactuals were measured")
    assert "No faithfulness curves" in notes["Faithfulness"]
    assert notes["Learning"] == "No learning curves: the runs have no TensorBoard logs."
    assert notes["Pictures"] == "No pictures: none of the run folders holds a model."
    assert notes["Origin"].startswith("The runs have no provenance.json")
    unmeasured = replace(group, runs=tuple(replace(run, metrics=None) for run in group.runs))
    parts = {part.title: part for part in document([unmeasured]).sections[0].parts}
    assert parts["Returns"].notes == ("No returns were measured.",)
    assert parts["Alignment"].notes == ("No attention was measured: there are no masks, or it was switched off.",)


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
        expected = heatmap_overlay(images[4], found[target][4].float().numpy())
        assert np.abs(decoded(grid.columns[f"{method}, {target}"][4]).astype(int) - expected).max() <= 1
    assert grid.columns == frame_grid(group).columns
    for name in ("ppo", "camal"):
        for model in ("model.zip", "model.json"):
            (tmp_path / name / model).unlink()
    with pytest.raises(FileNotFoundError, match="holds a model"):
        frame_grid(group)


def test_each_frame_is_later_than_the_one_before(trained, tmp_path, monkeypatch):
    asked = []

    def visit_frames(model, venv, frames, every, seed, visit):
        venv.reset()
        asked.append((venv.num_envs, frames))
        for moment in range(frames // venv.num_envs):
            visit(np.full((venv.num_envs, *venv.observation_space.shape), moment, dtype=np.uint8))

    monkeypatch.setattr(attention_grid, "visit_frames", visit_frames)
    shutil.copytree(trained.path, tmp_path / "camal")
    (group,) = read_groups(tmp_path)
    grid = frame_grid(group)
    assert [np.unique(decoded(png)).tolist() for png in grid.columns["image"]] == [[moment] for moment in range(6)]
    assert asked == [(6, 36)]


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

"""Pages of results: what is built from files, what stays as it was written, and what is refused in one line each."""

import json

import pytest

from camal_rl.comparison.estimates import Estimate
from camal_rl.comparison.results.build import build
from camal_rl.comparison.results.cells import STYLES, Value, figure_text, record_text, short_number
from camal_rl.comparison.results.pages import outside_code, read_page
from tests.comparison.kept_results import (
    COMMAND,
    MANIFEST,
    PAGE,
    SOURCE,
    TABLE,
    write_comparison,
    write_measurement,
    write_results,
)

MEASURED = {"encoders": {"small": {"ratio": [0.5, 0.25]}, "large": {"ratio": [2.0, 1.5], "rounds": 3}, "note": 1}}
RECORDS = """
pages: [README.md]
tables:
  small:
    file: small
    title: x
    columns: [{title: PPO, method: ppo}]
    rows: [{title: return, figure: return/train}]
  speed:
    file: speed
    rows: encoders.*
    columns:
      - {title: encoder, text: "`{key.0}`"}
      - {title: ratio, text: "{ratio.0:.2f} (from {ratio.1:.1f})"}
      - {title: rounds, text: "{rounds}"}
"""


@pytest.fixture
def folder(tmp_path):
    return write_results(tmp_path / "results")


def built(folder):
    """Return the pages of a folder that has no problem."""
    found = build(folder)
    assert found.problems == []
    return found


def test_a_table_and_where_it_comes_from_stand_between_the_markers(folder):
    built(folder).write()
    begin, end = "<!-- results: small -->\n", "\n<!-- end -->\n"
    assert (folder / "README.md").read_text() == (f"# Small\n\nBy hand.\n\n{begin}{TABLE}\n{SOURCE}{end}\nThe end.\n")


def test_building_twice_gives_the_same_bytes(folder):
    manifest = MANIFEST + (
        "figures:\n  dots: {kind: seeds, file: small, image: dots.svg}\n"
        "  lines: {kind: curves, file: small, image: lines.svg}\n"
    )
    (folder / "results.yaml").write_text(manifest)
    blocks = "\n<!-- results: dots -->\n<!-- end -->\n\n<!-- results: lines -->\n<!-- end -->\n"
    (folder / "README.md").write_text(PAGE + blocks)
    assert len(built(folder).write()) == 3
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("dots.svg", "lines.svg"):
        assert first[folder / name].startswith(b"<?xml")
        (folder / name).unlink()
    (folder / "README.md").write_text(PAGE + blocks)
    assert built(folder).differences()
    built(folder).write()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first
    assert built(folder).differences() == []
    assert built(folder).write() == []


def test_a_figure_of_other_values_is_drawn_anew_whatever_drew_it(folder):
    (folder / "results.yaml").write_text(MANIFEST + "figures:\n  dots: {kind: seeds, file: small, image: dots.svg}\n")
    (folder / "README.md").write_text(PAGE + "\n<!-- results: dots -->\n<!-- end -->\n")
    built(folder).write()
    svg = (folder / "dots.svg").read_text()
    (folder / "dots.svg").write_text(svg.replace("stroke-linejoin", "stroke-linecap"))
    assert built(folder).differences() == []
    runs = {"ppo": {"seeds": {"0": 1.0, "1": 3.0}}, "camal": {"seeds": {"0": 0.0, "1": 0.5}}}
    write_comparison(folder / "files" / "small.json", figures={"return/train": runs})
    told = built(folder).differences()
    assert len(told) == 2
    assert "README.md, line 8 is '| return | 1.50 ± .71 |" in told[0]
    assert told[1].endswith("dots.svg is not drawn from these values; camal-rl results redraws it")


def test_the_records_of_a_measurement_are_rows_and_what_one_lacks_is_empty(folder):
    write_measurement(folder / "files" / "speed.json", {**MEASURED, "command": "python speed.py"})
    (folder / "results.yaml").write_text(RECORDS)
    (folder / "README.md").write_text(PAGE + "\n<!-- results: speed -->\n<!-- end -->\n")
    text = built(folder).pages[folder / "README.md"]
    assert (
        "| encoder | ratio | rounds |\n| --- | --- | --- |\n| `small` | 0.50 (from 0.2) |  |\n"
        "| `large` | 2.00 (from 1.5) | 3 |\n\n"
        "Source: `python speed.py`; 4 cores, Acme 1; revision 0123456; 2026-01-02; [speed.json](files/speed.json)\n"
    ) in text


def test_seeds_of_several_files_belong_together_unless_one_is_there_twice(folder):
    runs = [{"method": "ppo", "seed": 2, "provenance": 0}]
    figures = {"return/train": {"ppo": {"seeds": {"2": 6.0}}}}
    write_comparison(folder / "files" / "more.json", runs=runs, figures=figures)
    rows = "\n      - {title: together, file: [small, more], figure: return/train, empty: [CAMAL]}\n"
    (folder / "results.yaml").write_text(MANIFEST.rstrip() + rows)
    assert "| together | 3.00 ± 2.65 |  |" in built(folder).pages[folder / "README.md"]
    write_comparison(folder / "files" / "more.json")
    (problem,) = build(folder).problems
    assert "row 'together', column 'PPO': small, more hold the same seed twice" in problem


def test_a_column_goes_before_its_row_and_that_before_the_table(folder):
    manifest = MANIFEST.replace("method: camal}", "method: camal, show: p}")
    (folder / "results.yaml").write_text(manifest.replace("show: seeds", "show: seeds, digits: 1"))
    text = built(folder).pages[folder / "README.md"]
    assert "| return | 1.50 ± .71 | .333 |\n| each seed | 1.0, 2.0 | .333 |\n" in text


def test_a_field_says_which_figure_it_shows_and_how():
    estimate = Estimate({"0": 0.5, "1": 1.0})
    value = Value(estimate, estimate.p_against(Estimate({"0": 5.0, "1": 6.0})))
    assert figure_text("{} ({0:seeds.1}), p {0:p}", [value], "mean", 3) == ".750 (.5, 1.0), p .333"
    assert figure_text("{:mean_std}", [value], "mean", 2) == ".75 ± .35"
    assert figure_text("{:lowest} to {0:highest}", [value], "mean", 1) == ".5 to 1.0"
    assert figure_text("{:interval}", [value], "mean", 1) == ".5 to 1.0"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.5, 2, ".50"), (-0.25, 2, "-.25"), (-1.5, 1, "-1.5"), (10.0, 0, "10"), (0.0, 3, ".000"), (None, 2, "-")],
)
def test_numbers_are_written_without_the_zero_before_the_point(value, digits, text):
    assert short_number(value, digits) == text


def test_every_style_takes_a_single_seed():
    alone = Value(Estimate({"0": 0.5}))
    assert {name: style(alone, 1) for name, style in STYLES.items()} == {
        **dict.fromkeys(STYLES, ".5"), "interval": "-", "p": "-"
    }  # fmt: skip


def test_a_record_without_a_value_has_no_text():
    assert record_text("{a.b:.1f}", {"a": {"b": 0.25}}) == "0.2"
    assert record_text("{a.c}", {"a": {"b": 0.25}}) is None
    assert record_text("{a.1}, {key.0}", {"a": [1, 2]}, ("k",)) == "2, k"


CELLS = {
    "an unknown file": ("file: small", "file: smal", "there is no smal.json", "did you mean 'small'?"),
    "an unknown figure": ("return/train}", "return/trian}", "row 'return', column 'PPO'", "unknown figure"),
    "an unknown method": ("method: camal", "method: camel", "column 'CAMAL'", "did you mean 'camal'?"),
    "an unknown style": ("show: seeds", "show: seed", "unknown style 'seed'; did you mean 'seeds'?", "each seed"),
    "no figure": (", figure: return/train}", "}", "row 'return', column 'PPO': no figure is given", ""),
    "no file": ("    file: small\n", "", "no file is given", ""),
    "a field of no figure": ("show: seeds", 'text: "{3}"', "{3} in '{3}' is none of its 1 figures", ""),
    "a conversion": ("show: seeds", 'text: "{0!r}"', "a field is {place:style.digits}", ""),
    "an open brace": ("show: seeds", 'text: "{0"', "row 'each seed'", ""),
    "a column that is not there": (
        "show: seeds",
        "empty: [TRPO]",
        "empty names the column 'TRPO', which does not exist",
        "",
    ),
    "another method's name": ("show: seeds", "show: p, against: trpo", "unknown method 'trpo'", ""),
}
KEYS = {
    "an unknown key": ("pages:", "page:", "unknown setting 'page' in the manifest; did you mean 'pages'?"),
    "an unknown key of a row": ("digits: 2", "digit: 2", "in table small; did you mean 'digits'?"),
    "a key of a row of another kind": ("method: ppo", "methods: ppo", "of table small; did you mean 'method'?"),
    "a number that is a text": ("digits: 2", "digits: two", "tables.small.digits"),
    "tables that are a list": ("tables:\n  small:", "tables:\n  - small:", "tables must be a mapping of names"),
    "a row that is a text": ("- {title: return,", "- x\n      - {title: return,", "a row of table small must be"),
    "no pages": ("pages: [README.md]", "", "pages is missing"),
    "a key that stands twice": ("digits: 2", "digits: 2\n    digits: 3", "the key 'digits' is repeated"),
    "no YAML": ("pages: [README.md]", "pages: [README.md", "results.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_a_row_without_what_it_shows_is_a_problem_of_one_line(name, tmp_path):
    old, new, *told = CELLS[name]
    folder = write_results(tmp_path / "results", MANIFEST.replace(old, new, 1))
    problems = build(folder).problems
    assert "README.md, block small" in problems[0]
    assert all(each in problems[0] and "\n" not in problems[0] for each in told)


@pytest.mark.parametrize("name", KEYS)
def test_a_manifest_with_something_wrong_in_it_is_refused_in_one_line(name, tmp_path):
    old, new, told = KEYS[name]
    folder = write_results(tmp_path / "results", MANIFEST.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"results\.yaml") as error:
        build(folder)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_row_whose_file_is_gone_is_a_problem(folder):
    (folder / "files" / "small.json").unlink()
    (problem,) = build(folder).problems
    assert problem.endswith(f"there is no small.json in {folder / 'files'}")


def test_a_file_that_nothing_uses_is_a_problem_until_a_page_links_to_it(folder):
    write_comparison(folder / "files" / "other.json")
    (problem,) = build(folder).problems
    assert problem == f"no page uses {folder / 'files' / 'other.json'}; show or link it, or remove it"
    (folder / "README.md").write_text(PAGE + "\n`[code](files/other.json)`\n\n```text\n[x](files/other.json)\n```\n")
    (folder / "README.md").write_text(PAGE + "\n[more](files/other.json)\n")
    assert build(folder).problems == []


def test_a_damaged_file_is_a_problem_of_every_block_that_shows_it(folder):
    path = folder / "files" / "small.json"
    path.write_text(path.read_text().replace("1.0", "1.5"))
    (problem,) = build(folder).problems
    assert "small.json was changed after it was written" in problem


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (PAGE.replace("<!-- end -->\n", ""), "line 5: the block small has no <!-- end -->"),
        (PAGE + "<!-- end -->\n", "line 9: <!-- end --> ends no block"),
        (PAGE.replace("small -->", "smal -->"), "block smal: the manifest has no table and no figure of this name"),
        (PAGE.replace("<!-- results: small -->\n<!-- end -->\n", ""), "small of the manifest is not on any page"),
        (PAGE + "\n| a | b |\n| --- | --- |\n| x | .5 |\n", "line 11: a table with numbers that is not built from"),
        (PAGE + "\n![x](x.png)\n", "shows x.png, which the manifest does not list"),
    ],
)  # fmt: skip
def test_a_page_that_does_not_fit_is_a_problem_of_one_line(page, told, folder):
    (folder / "README.md").write_text(page)
    problems = build(folder).problems
    assert any(told in each for each in problems)
    assert all("\n" not in each for each in problems)


def test_tables_of_words_and_markers_in_code_are_left_alone(folder):
    words = "\n| key | what |\n| --- | --- |\n| `a` | a thing |\n"
    code = "\n```text\n<!-- results: NAME -->\n<!-- end -->\n| a | 1 |\n```\n"
    (folder / "README.md").write_text(PAGE + words + code)
    assert built(folder).pages[folder / "README.md"].endswith(words + code)
    assert outside_code("a\n```\nb\n```\nc") == "a\n\n\n\nc"


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_a_page_without_blocks_stays_as_it_is(ending, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# Title\n\ntext{ending}")
    assert read_page(path).built(str) == path.read_text()


def test_a_page_with_other_line_ends_is_the_same_page(folder):
    built(folder).write()
    page = folder / "README.md"
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    assert built(folder).differences() == []


QUOTE = "quotes:\n  - {{page: README.md, file: small, method: ppo, figure: return/train, text: {}}}\n"


def test_a_number_in_running_text_must_be_that_of_its_file(folder):
    (folder / "results.yaml").write_text(MANIFEST + QUOTE.format('"PPO returns {}"'))
    (problem,) = build(folder).problems
    assert problem == (
        "README.md, quote 'PPO returns {}': the file gives 'PPO returns 1.50', which the page does not contain"
    )
    (folder / "README.md").write_text(PAGE + "\nPPO\nreturns 1.50.\n")
    assert build(folder).problems == []


def test_a_picture_that_was_drawn_otherwise_is_named_and_shown(folder):
    pictures = "pictures:\n  - {image: x.png, command: camal-rl compare toy_grid}\n"
    (folder / "results.yaml").write_text(MANIFEST + pictures)
    (problem,) = build(folder).problems
    assert problem == f"{folder / 'x.png'} is missing, but the manifest lists it as a picture"
    (folder / "x.png").write_bytes(b"")
    (problem,) = build(folder).problems
    assert "x.png is not shown on any page" in problem
    (folder / "README.md").write_text(PAGE + "\n![x](x.png)\n")
    assert build(folder).problems == []


def test_p_below_a_twentieth_makes_a_mean_bold(folder):
    seeds = {
        method: {str(seed): float(seed + shift) for seed in range(5)} for method, shift in (("ppo", 0), ("camal", 9))
    }
    runs = [{"method": method, "seed": seed, "provenance": 0} for method in seeds for seed in range(5)]
    figures = {"return/train": {method: {"seeds": each} for method, each in seeds.items()}}
    write_comparison(folder / "files" / "small.json", runs=runs, figures=figures)
    (folder / "results.yaml").write_text(
        MANIFEST.replace("digits: 2", "digits: 0\n    show: mean_std_p\n    bold: true")
    )
    text = built(folder).pages[folder / "README.md"]
    assert "| return | 2 ± 2 | **11 ± 2 (p .008)** |" in text


def test_holm_corrects_p_over_the_rows_of_a_column(folder):
    shifts = {"ppo": 0, "camal": 9, "energy": 1}
    seeds = {method: {str(seed): float(seed + shift) for seed in range(5)} for method, shift in shifts.items()}
    runs = [{"method": method, "seed": seed, "provenance": 0} for method in seeds for seed in range(5)]
    figures = {"return/train": {method: {"seeds": each} for method, each in seeds.items()}}
    write_comparison(folder / "files" / "small.json", methods=list(seeds), runs=runs, figures=figures)
    table = """
pages: [README.md]
tables:
  small:
    title: method
    file: small
    figure: return/train
    holm: true
    bold: true
    digits: 0
    columns: [{title: return, show: mean}, {title: p, show: p}]
    rows: [{title: ppo, method: ppo}, {title: camal, method: camal}, {title: energy, method: energy}]
"""
    (folder / "results.yaml").write_text(table)
    text = built(folder).pages[folder / "README.md"]
    # The exact p of 0..4 against 9..13 is 2 / 252; Holm doubles the smaller one of two and keeps the larger one.
    assert "| ppo | 2 | - |" in text
    assert "| camal | **11** | **.016** |" in text
    energy = Estimate(seeds["energy"])
    uncorrected = Value(energy, energy.p_against(Estimate(seeds["ppo"])))
    assert f"| energy | 3 | {STYLES['p'](uncorrected, 0)} |" in text


def test_what_a_table_without_command_says(folder):
    (folder / "results.yaml").write_text(MANIFEST.replace("digits: 2", "digits: 2\n    command: false"))
    text = built(folder).pages[folder / "README.md"]
    assert COMMAND not in text
    assert "Source: seeds 0 and 1; 512 steps" in text
    assert json.loads((folder / "files" / "small.json").read_text())["provenance"][0]["command"] == COMMAND

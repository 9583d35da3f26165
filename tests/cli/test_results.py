"""``camal-rl results``: exit codes, what is told, and a folder that begins with nothing."""

import pytest

from camal_rl.comparison.results.build import build
from tests.command_line import refusal, run_main
from tests.comparison.kept_results import MANIFEST, SOURCE, write_comparison, write_measurement, write_results


def test_a_folder_of_ones_own_begins_with_a_kept_result(in_tmp, capsys):
    (in_tmp / "cmp").mkdir()
    write_comparison(in_tmp / "cmp" / "comparison.json")
    assert run_main("results", "add", "cmp", "--name", "small", "--folder", "mine") == 0
    assert "kept: mine/files/small.json" in capsys.readouterr().out
    assert run_main("results", "--folder", "mine", "--check") == 2
    assert "mine/README.md, line 6 is '<!-- end -->', but its files give '| figure | ppo | camal |'" in refusal(capsys)
    assert run_main("results", "--folder", "mine") == 0
    assert capsys.readouterr().out == "written: mine/README.md\n"
    assert "| return on train | 1.500 ± .707 | .250 ± .354 |" in (in_tmp / "mine" / "README.md").read_text()
    assert SOURCE in (in_tmp / "mine" / "README.md").read_text()
    for arguments in ((), ("--check",)):
        assert run_main("results", "--folder", "mine", *arguments) == 0
        assert capsys.readouterr().out == "mine: every page and figure is up to date with its files\n"


def test_a_second_result_says_how_to_show_it(in_tmp, capsys):
    folder = write_results(in_tmp / "mine")
    write_measurement(in_tmp / "speed.json", {"rows": [{"name": "a", "seconds": 1}]})
    assert run_main("results", "add", "speed.json", "--name", "speed", "--folder", str(folder)) == 0
    out = capsys.readouterr().out
    assert "    file: speed\n" in out
    assert "<!-- results: speed -->\n<!-- end -->\n" in out
    assert (folder / "results.yaml").read_text() == MANIFEST


def test_every_problem_is_a_line_and_nothing_is_written(in_tmp, capsys):
    folder = write_results(in_tmp / "mine", MANIFEST.replace("file: small", "file: gone"))
    before = (folder / "README.md").read_text()
    assert run_main("results", "--folder", "mine") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "camal-rl: mine/README.md, block small: row 'return', column 'PPO': there is no gone.json in mine/files",
        "camal-rl: no page uses mine/files/small.json; show or link it, or remove it",
    ]
    assert (folder / "README.md").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--folder", "nowhere"), "nowhere contains no results: it has no results.yaml"),
        (("add", "nowhere", "--name", "x"), "nowhere contains no comparison.json, report.json or metrics.json"),
        (("add", "notes.json", "--name", "x"), "notes.json is not a result file"),
        (("add", "small.json", "--name", "a/b"), "--name must be a plain folder name, got 'a/b'"),
    ],
)
def test_what_is_refused_is_told_in_one_line(arguments, told, in_tmp, capsys):
    (in_tmp / "notes.json").write_text('{"hello": 1}')
    write_comparison(in_tmp / "small.json")
    assert run_main("results", *arguments) == 2
    assert told in refusal(capsys)
    assert not (in_tmp / "docs").exists()


def test_a_folder_that_only_began_has_no_problem(in_tmp):
    write_comparison(in_tmp / "small.json")
    assert run_main("results", "add", "small.json", "--name", "small", "--folder", "mine") == 0
    assert build(in_tmp / "mine").problems == []

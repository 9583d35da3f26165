"""Every table, figure and quoted number of the pages of results is what the committed files give."""

from camal_rl.comparison.results.build import build
from camal_rl.comparison.results.manifest import read_manifest
from tests.docs.commands import check_command
from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "results"


def test_every_page_and_figure_of_results_is_as_its_files_give_it():
    found = build(FOLDER)
    assert found.problems == []
    assert found.differences() == []


def test_every_page_of_the_folder_is_in_the_manifest():
    pages = {(FOLDER / name).resolve() for name in read_manifest(FOLDER).pages}
    assert set(FOLDER.glob("*.md")) <= pages


def test_the_command_of_every_picture_is_one_that_the_command_line_accepts():
    for picture in read_manifest(FOLDER).pictures:
        words = picture.command.split()
        assert words[0] == "camal-rl"
        check_command(words)

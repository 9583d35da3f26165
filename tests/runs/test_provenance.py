import datetime
import importlib.metadata

import pytest

from camal_rl import __version__
from camal_rl.runs import provenance
from camal_rl.runs.origin import FACTS, origin, run_origin
from camal_rl.runs.provenance import package_versions, plain_command, program_provenance, required_packages
from camal_rl.runs.run_folder import RunFolder

REQUIRED = {
    "camal-rl": [
        "torch>=2.3",
        "opencv-python>=4.9",
        'ale-py>=0.11; extra == "atari"',
        "Some.Simulator==1; python_version >= '3.10' and extra == 'other'",
        'camal-rl[atari,other]; extra == "all"',
        'gymnasium[box2d]; extra == "dev"',
    ],
    "gymnasium": ["numpy>=1.21", 'box2d==2.3.10; extra == "box2d"', 'mujoco>=2; extra == "mujoco"'],
}


class Installed:
    def __init__(self, name, version):
        self.metadata, self.version = {"Name": name}, version


def requires(name):
    try:
        return REQUIRED[name]
    except KeyError as error:
        raise importlib.metadata.PackageNotFoundError(name) from error


@pytest.fixture
def metadata(monkeypatch):
    monkeypatch.setattr(provenance.importlib.metadata, "requires", requires)


@pytest.mark.usefixtures("metadata")
def test_every_extra_counts_and_so_does_an_extra_of_another_package():
    assert required_packages("camal-rl") == {
        "torch", "opencv-python", "ale-py", "Some.Simulator", "gymnasium", "box2d"
    }  # fmt: skip
    assert required_packages("nowhere") == set()


@pytest.mark.usefixtures("metadata")
def test_what_is_installed_is_recorded_under_any_name_and_what_is_not_used_is_not(monkeypatch):
    installed = [("camal-rl", "1"), ("opencv-python-headless", "4"), ("some_simulator", "5"), ("flask", "6")]
    monkeypatch.setattr(
        provenance.importlib.metadata, "distributions", lambda: [Installed(*each) for each in installed]
    )
    assert package_versions() == {"camal-rl": "1", "opencv-python-headless": "4", "some-simulator": "5"}


def test_the_real_package_names_itself_first_and_its_simulators():
    found = package_versions()
    assert next(iter(found.items())) == ("camal-rl", __version__)
    for name in ("torch", "gymnasium", "minigrid", "vizdoom", "captum"):
        try:
            assert found[name] == importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            assert name not in found


def test_what_a_program_measures_names_its_command_and_the_day(monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks/speed.py", "--out", "a file.json"])
    found = program_provenance()
    assert found["command"] == "python benchmarks/speed.py --out 'a file.json'"
    assert datetime.date.fromisoformat(found["date"])


def test_what_a_program_measures_names_no_folder_of_the_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/home/me/speed.py", "--runs", "/home/me/runs", "--out=/home/me/speed.json"])
    assert program_provenance()["command"] == "python speed.py --runs runs --out=speed.json"


def test_a_run_keeps_the_facts_of_its_folder_and_null_for_what_cannot_be_read(tmp_path):
    folder = RunFolder(tmp_path)
    assert run_origin(folder) == dict.fromkeys(FACTS)
    folder.command_file.write_text("/home/me/.venv/bin/camal-rl train 'my game'\n")
    folder.provenance_file.write_text('{"git_revision": "abc", "date": "2026-01-02", "resumed": []}')
    told = {"command": "camal-rl train 'my game'", "git_revision": "abc", "date": "2026-01-02"}
    assert run_origin(folder) == {**dict.fromkeys(FACTS), **told}
    folder.provenance_file.write_text("{")
    assert run_origin(folder) == origin("camal-rl train 'my game'", None)


def test_a_command_line_names_no_folder_of_this_machine():
    command = "/home/me/bin/camal-rl compare my.yaml seed=1 --out /data/runs/mine --x=/home/me/y env.path=~/z a/b /"
    assert plain_command(command) == "camal-rl compare my.yaml seed=1 --out mine --x=y env.path=z a/b ''"


@pytest.mark.parametrize("command", ["", "  ", "camal-rl 'train"])
def test_what_is_no_command_line_is_none(command):
    assert plain_command(command) is None

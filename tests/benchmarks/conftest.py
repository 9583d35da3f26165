"""How tests import the programs of benchmarks/."""

import importlib
import sys

import pytest

from tests.docs.pages import ROOT

FOLDER = ROOT / "benchmarks"
NAMES = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture(scope="module")
def load():
    """Return how to import a module of benchmarks/, whose modules import each other by their own names."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    for name in {*NAMES, "ppo_camal"} & set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Return how to run a program that refuses its arguments: the last line that it prints, after exit code 2."""

    def refused(program, *arguments):
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            program.main()
        assert end.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return refused

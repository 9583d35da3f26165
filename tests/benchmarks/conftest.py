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

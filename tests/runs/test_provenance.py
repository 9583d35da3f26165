import importlib.metadata

import pytest

from camal_rl import __version__
from camal_rl.runs import provenance
from camal_rl.runs.provenance import package_versions, required_packages

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

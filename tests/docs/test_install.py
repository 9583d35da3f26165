"""The ways to install that README and messages give: they work while the package is on no index."""

import re
import shlex
from configparser import ConfigParser

import pytest
from packaging.requirements import Requirement

from camal_rl import __version__
from camal_rl.envs import MissingExtraError, env_ids, env_info
from camal_rl.extras import install_command, requirements
from tests.docs.pages import PAGES, ROOT, read

SIMULATORS = ("procgen", "minigrid", "vizdoom", "atari", "crafter", "dm-control")
EXTRAS = (*SIMULATORS, "supervised", "onnx", "video", "explain", "ray", "tune", "wandb")
SOURCES = [path for room in ("camal_rl", "envs", "agents") for path in sorted((ROOT / room).rglob("*.py"))]


def declared():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return dict(setup["options.extras_require"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_names_what_the_extra_asks_for(extra):
    lines = [line for line in declared()[extra].splitlines() if line]
    pip, install, *packages = shlex.split(install_command(extra))
    assert (pip, install) == ("pip", "install")
    assert packages == list(requirements(extra))
    here = [each for each in map(Requirement, lines) if each.marker is None or each.marker.evaluate()]
    assert sorted(packages) == sorted(str(Requirement(re.sub(r";.*", "", str(each)))) for each in here)


def test_an_extra_of_extras_is_spelled_out():
    assert set(requirements("all")) == {each for extra in EXTRAS for each in requirements(extra)}


def test_a_package_that_was_not_installed_still_has_a_command(monkeypatch):
    from camal_rl import extras

    monkeypatch.setattr(extras, "DISTRIBUTION", "camal-rl-is-not-here")
    assert install_command("minigrid") == "pip install '.[minigrid]'"


@pytest.mark.parametrize("extra", sorted({env_info(env_id).extra for env_id in env_ids()} - {""}))
def test_a_missing_simulator_is_one_line_with_a_command_that_works(extra):
    message = str(MissingExtraError("It", extra))
    assert message == f"It is not installed; install it with: {install_command(extra)}"
    assert "camal-rl" not in message


@pytest.mark.parametrize("page", PAGES)
def test_no_page_asks_an_index_for_the_package(page):
    assert not re.findall(r"pip install[^`\n]*['\" ]camal[-_]rl\b", read(page))


def test_no_message_asks_an_index_for_the_package():
    asking = re.compile(r"pip install[^\n]*['\" ]camal[-_]rl\\?\[")
    texts = {path: re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL) for path in SOURCES}
    assert [str(path) for path, text in texts.items() if asking.search(text)] == []


INSTALL = "docs/install.md"


def pip_lines(page):
    return [shlex.split(line, comments=True) for line in read(page).splitlines() if line.startswith("pip ")]


def test_the_page_on_installing_takes_a_checkout_and_the_wheel_of_this_version():
    targets = [line[-1] for line in pip_lines(INSTALL)]
    assert targets == [".[all]", f"dist/camal_rl-{__version__}-py3-none-any.whl[all]"]
    assert [line[-1] for line in pip_lines("README.md")] == [".[all]"]


@pytest.mark.parametrize("page", [INSTALL, "README.md"])
def test_what_is_installed_has_the_pinned_versions(page):
    assert all(line[2:4] == ["-c", "constraints.txt"] for line in pip_lines(page))
    assert (ROOT / "constraints.txt").is_file()


def test_every_extra_is_in_the_table_of_extras():
    assert set(re.findall(r"^\| `([\w-]+)` \|", read(INSTALL), re.MULTILINE)) == {*declared()}


def test_old_versions_of_pip_find_every_extra():
    # The metadata has names with hyphens, and pip before 23.3 compares them as they are written.
    named = re.findall(r"\[([\w,-]+)\]", (ROOT / "setup.cfg").read_text() + (ROOT / "Makefile").read_text())
    assert not [each for each in (*declared(), *named) if "_" in each]


def test_the_citation_has_this_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_extras_that_a_page_names_exist(page):
    named = re.findall(r"(?:\.|\.whl)\[([\w,-]+)\]'", read(page))
    assert {extra for group in named for extra in group.split(",")} <= {*declared()}


def canonical(name):
    return name.lower().replace("_", "-")


PINNED = {
    canonical(name): version
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
NAMING = [
    *SOURCES,
    *(ROOT / "tests").glob("*.py"),
    *(ROOT / page for page in PAGES),
    ROOT / "setup.cfg",
    ROOT / "Makefile",
]


def test_a_version_that_is_named_elsewhere_is_the_pinned_one():
    named = [
        (canonical(name), version, path.name)
        for path in NAMING
        for name, version in re.findall(r"(?<![\w.-])([A-Za-z][\w-]*)==(\d[\w.]*\w)", path.read_text())
    ]
    assert {name for name, _, _ in named} & {*PINNED} >= {"dm-control", "ocatari", "procgen-mirror"}
    assert [each for each in named if PINNED.get(each[0], each[1]) != each[1]] == []

"""What a release is made of agrees: version, supported Pythons, extras, and what hooks and workflows run."""

import re
from configparser import ConfigParser

import pytest
import yaml

from camal_rl import __version__
from tests import clean_install
from tests.docs.pages import ROOT, read

HOOKS = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
WORKFLOW = yaml.safe_load(read(".github/workflows/ci.yml"))
TARGETS = re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE)
RELEASES = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)


def setup():
    found = ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def steps():
    return [(name, step["run"]) for name, job in WORKFLOW["jobs"].items() for step in job["steps"] if "run" in step]


def test_the_newest_release_of_the_changelog_is_this_version():
    assert RELEASES[0][0] == __version__
    assert read("CHANGELOG.md").index("## [Unreleased]") < read("CHANGELOG.md").index(f"## [{__version__}]")


def test_the_citation_has_the_date_of_the_release():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert (citation["version"], str(citation["date-released"])) == RELEASES[0]
    assert citation["license"] == setup()["metadata"]["license"]


def test_workflows_test_the_pythons_that_are_supported():
    named = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    assert named == ["3.10", "3.11", "3.12", "3.13"]
    for job in ("tests", "wheel"):
        assert WORKFLOW["jobs"][job]["strategy"]["matrix"]["python"] == named
    assert re.search(r"\(3, 10\) <= sys.version_info\[:2\] <= \(3, 13\)", read("Makefile"))


def test_workflows_run_everything_that_continuous_integration_runs():
    wanted = set(re.findall(r"^make (.+)$", read(".ci/run"), re.MULTILINE))
    ran = " ".join(line for _, line in steps())
    for line in wanted - {"setup"}:
        assert all(re.search(rf"\bmake\b[\w ]*\b{target}\b", ran) for target in line.split()), line


@pytest.mark.parametrize(("job", "line"), [step for step in steps() if step[1].startswith("make ")])
def test_a_step_of_a_workflow_is_a_target_of_make(job, line):
    assert set(line.split()[1:]) <= set(TARGETS), job


def test_hooks_download_nothing_and_run_what_is_there():
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    for hook in HOOKS[0]["hooks"]:
        program, *words = hook["entry"].split()
        assert hook["language"] == "system"
        assert words[0] in TARGETS if program == "make" else program.startswith(".venv/bin/")


def test_every_extra_of_users_is_tried_in_a_clean_environment():
    assert set(clean_install.USED) == {clean_install.BASE, *clean_install.extras()}
    assert set(clean_install.OF_A_CHECKOUT) <= {*setup()["options.extras_require"]}


@pytest.mark.parametrize("file", ["CODE_OF_CONDUCT.md", "SECURITY.md", "CITATION.cff", "MANIFEST.in", "LICENSE"])
def test_what_a_stranger_looks_for_is_there(file):
    assert (ROOT / file).stat().st_size > 200


def test_everything_the_documentation_extra_needs_is_pinned():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in read("constraints.txt").splitlines()}
    for extra in ("docs", "dev"):
        for line in filter(None, setup()["options.extras_require"][extra].splitlines()):
            name = re.split(r"[<>=;\[ ]", line)[0].lower().replace("_", "-")
            assert name in pinned | {"camal-rl"}, f"{extra}: {name}"

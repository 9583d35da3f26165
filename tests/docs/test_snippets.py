"""Every Python block of README and docs runs as a file of its own; a page's files lie in one folder, in its order."""

import shutil

import pytest

from tests.docs.commands import reads_a_run_folder, run_folder_of
from tests.docs.pages import PAGES, ROOT, block_commands, blocks, write_files
from tests.docs.runner import MISSING, Runner

# What is quick enough to be run, small, and not only read (test_commands.py). The other verbs have tests of their own.
QUICK = ("envs", "masks", "export", "explain")
QUICK_ON = {
    "docs/reference/command_line.md": (),  # examples of every verb, for runs that a page does not make
    "docs/on_the_command_line.md": ("envs", "masks", "evaluate", "explain"),
    "CONTRIBUTING.md": ("envs", "masks", "train", "evaluate", "glossary", "results"),
}
EXAMPLES = sorted(ROOT.glob("docs/examples/*.py"))


@pytest.fixture(scope="module")
def runner():
    server = Runner()
    yield server
    server.close()


@pytest.fixture(scope="module")
def trained(runner, tmp_path_factory):
    """Return a run folder for pages that take an agent for granted."""
    folder = tmp_path_factory.mktemp("trained")
    code, output = runner.run("command", ["camal-rl", "train", "toy_grid", "--run-dir", "run"], folder)
    assert code == 0, output
    return folder / "run"


def steps_of(page):
    """Return what a page's blocks ask for, in order: (where, kind, words)."""
    steps = []
    for block in blocks(page):
        if block.language == "python":
            steps.append((block.where, "python", (block.file_name,)))
        elif block.language == "sh":
            commands = [command for command in block_commands(block) if command.words[0] == "camal-rl"]
            wanted = [each for each in commands if each.words[1] in QUICK_ON.get(page, QUICK)]
            steps += [(command.where, "command", command.words) for command in wanted]
    return steps


PAGES_WITH_STEPS = [page for page in PAGES if steps_of(page)]


@pytest.mark.parametrize("page", PAGES_WITH_STEPS)
def test_what_a_page_shows_runs_as_it_stands(page, runner, trained, tmp_path):
    write_files(page, tmp_path)
    missing = []
    for where, kind, words in steps_of(page):
        if kind == "command" and reads_a_run_folder(words) and not (tmp_path / run_folder_of(words)).exists():
            shutil.copytree(trained, tmp_path / run_folder_of(words), dirs_exist_ok=True)
        code, output = runner.run(kind, words, tmp_path)
        if code == MISSING:
            missing.append(f"{where}: {output.splitlines()[-1]}")
        else:
            assert code == 0, f"{where}: {' '.join(words)}\n{output}"
    if missing:
        pytest.skip("; ".join(missing))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_as_a_file(example, runner, tmp_path):
    (tmp_path / "docs" / "images").mkdir(parents=True)
    code, output = runner.run("python", [str(example)], tmp_path)
    if code == MISSING:
        pytest.skip(output.splitlines()[-1])
    assert code == 0, output

"""Every command line on a page of README and docs is one that its program accepts."""

import re

import pytest

from camal_rl.runs.loading import load_config
from tests.docs.commands import check_command, check_mention, is_mention
from tests.docs.pages import PAGES, ROOT, block_commands, blocks, running_text, text_commands, write_files
from tests.docs.runner import MISSING, Runner

# What a block may be: Python and shell are run, YAML is read; the rest is no code.
LANGUAGES = ("python", "sh", "yaml", "text", "mermaid", "math")
SHELL_PROGRAMS = ("camal-rl", "python", "python3", "make", "pip", "git", "cd", "source", ".", "twine")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")

COMMANDS = [
    command
    for page in PAGES
    for command in [
        *(each for block in blocks(page) if block.language == "sh" for each in block_commands(block)),
        *text_commands(page),
    ]
]


def of(program):
    chosen = [command for command in COMMANDS if command.words[0] == program]
    return pytest.mark.parametrize("command", chosen, ids=lambda command: command.id)


@pytest.fixture(scope="module")
def runner():
    server = Runner()
    yield server
    server.close()


# What the examples of `--help` call a configuration of the user's own, by verb.
OF_THE_USER = {"fit": "supervised/spurious_shapes", "bench": "toy_grid"}


@of("camal-rl")
def test_the_command_line_accepts(command, in_tmp, own_modules):
    write_files(command.where.rpartition(":")[0], in_tmp)
    if "mine.yaml" in command.words:
        (in_tmp / "mine.yaml").write_text(f"_base_: {OF_THE_USER[command.words[1]]}\n")
    words = tuple(word for word in command.words if word != "VERB")
    if len(words) == 1 or words[1].startswith("-"):
        assert set(words[1:]) <= {"--help", "--version"}
    elif command.in_text and is_mention(words):
        check_mention(words)
    else:
        check_command(words)


@of("python")
def test_a_program_of_the_repository_accepts(command, runner, tmp_path):
    _, *arguments = command.words
    if arguments[0] == "-m":
        return
    assert (ROOT / arguments[0]).is_file()
    if len(arguments) > 1:
        code, output = runner.run("arguments", [str(ROOT / arguments[0]), *arguments[1:]], tmp_path)
        assert code in (0, MISSING), output


@of("make")
def test_make_has_the_target(command):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command.words[1] in targets


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.where}: mark a block that cannot run as text"
        if block.language == "sh":
            for command in block_commands(block):
                assert command.words[0] in SHELL_PROGRAMS, command.id
    indented = re.findall(r"\n\n {4}(?! *[-*\d|])\S.*", running_text(page))
    assert not indented, f"{page}: put code into a block that says what it is: {indented[0]}"


YAML = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", YAML, ids=lambda block: block.where)
def test_a_configuration_of_a_page_is_accepted_as_a_file(block, in_tmp, own_modules):
    write_files(block.page, in_tmp)
    load_config(block.file_name)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", running_text(page)):
        file, _, heading = target.partition("#")
        path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if heading:
            assert heading in headings(path), f"{page}: {target}"


def headings(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}

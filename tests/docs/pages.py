"""The documentation's pages: their code blocks, and the commands in blocks and in running text."""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")),
)
PROGRAMS = ("camal-rl", "python", "make")

_BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)})\s[^`]+)`")
_FILE_NAME = re.compile(r"# (\w+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; one that starts with a comment such as ``# catch.py`` is the file of that name."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    @property
    def file_name(self):
        named = _FILE_NAME.match(self.text)
        return named[1] if named else f"snippet_{self.line}.{'py' if self.language == 'python' else self.language}"


@dataclass(frozen=True)
class Command:
    """A command line of a page; one in running text may be a mention, such as ``camal-rl compare --jobs``."""

    where: str
    words: tuple[str, ...]
    in_text: bool

    @property
    def id(self):
        return f"{self.where}: {' '.join(self.words)}"


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    text = read(page)
    return [Block(page, _line(text, found), found[2], textwrap.dedent(found[3])) for found in _BLOCK.finditer(text)]


def write_files(page, folder):
    """Write the files that a page shows, Python and configurations."""
    for block in blocks(page):
        if block.language in ("python", "yaml"):
            (folder / block.file_name).write_text(block.text)


def running_text(page):
    """Return a page with its fenced blocks blanked out; every line keeps its number."""
    return _BLOCK.sub(lambda found: "\n" * found[0].count("\n"), read(page))


def shell_lines(block):
    """Return ``(line number, words)`` of every line of a shell block that is not only a comment."""
    whole = block.text.replace("\\\n", " " * 2)
    lines = [(block.line + 1 + index, shlex.split(line, comments=True)) for index, line in enumerate(whole.split("\n"))]
    return [(number, words) for number, words in lines if words]


def block_commands(block):
    return [Command(f"{block.page}:{number}", tuple(words), False) for number, words in shell_lines(block)]


def text_commands(page):
    text = running_text(page)
    return [
        Command(f"{page}:{_line(text, found)}", tuple(shlex.split(found[1])), True) for found in _INLINE.finditer(text)
    ]


def _line(text, found):
    return text.count("\n", 0, found.start()) + 1

"""Markdown pages with generated blocks; the hand-written text around the blocks is left unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from camal_rl.utf8 import read_utf8

_BEGIN = re.compile(r"^<!-- results: (?P<name>[\w./-]+) -->$")
_END = "<!-- end -->"
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")


@dataclass(frozen=True)
class Block:
    """A block of a page: its name, the number of its first line, and its content."""

    name: str
    line: int
    text: str

    @property
    def num_lines(self) -> int:
        """Number of its lines, including the markers."""
        return 2 + (self.text.count("\n") + 1 if self.text else 0)


@dataclass(frozen=True)
class Page:
    """A page as a sequence of hand-written texts and blocks."""

    path: Path
    parts: tuple[str | Block, ...]

    @property
    def blocks(self) -> list[Block]:
        """Its blocks."""
        return [part for part in self.parts if isinstance(part, Block)]

    def by_hand(self) -> str:
        """Return the hand-written text, with every line at its line number."""
        return "".join(part if isinstance(part, str) else "\n" * part.num_lines for part in self.parts)

    def built(self, content: Callable[[str], str]) -> str:
        """Return the page with the content of every block replaced.

        Args:
            content: returns the text of a block by its name.
        """
        return "".join(
            part if isinstance(part, str) else f"<!-- results: {part.name} -->\n{content(part.name)}\n{_END}\n"
            for part in self.parts
        )


def read_page(path: Path) -> Page:
    """Read a page.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a block without an end, or an end without a block; one line that names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, but the manifest lists it as a page")
    return Page(path, tuple(_parts(path, read_utf8(path).replace("\r\n", "\n"))))


def tables_by_hand(page: Page) -> Iterator[int]:
    """Yield the line numbers at which hand-written tables with numbers begin."""
    lines = _outside_code(page.by_hand())
    for number, line in enumerate(lines, start=1):
        if re.fullmatch(r"\|( ?:?-+:? ?\|)+", line.strip()):
            rows = _while_table(lines[number:])
            cells = [cell for row in rows for cell in row.strip().strip("|").split("|")[1:]]
            if any(re.match(r"\s*[*~]*[-+]?\.?\d", cell) for cell in cells):
                yield number


def outside_code(text: str) -> str:
    """Return a page's text with its blocks of code blanked out; every line keeps its number."""
    return "\n".join(_outside_code(text))


def _outside_code(text: str) -> list[str]:
    fence, lines = "", list[str]()
    for line in text.split("\n"):
        opened = _FENCE.match(line)
        if fence or opened:
            lines.append("")
            if not fence and opened:
                fence = opened[1]
            elif opened and opened[1].startswith(fence) and not line.strip().strip("`~"):
                fence = ""
        else:
            lines.append(line)
    return lines


def _while_table(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip().startswith("|"):
            return
        yield line


def _parts(path: Path, text: str) -> Iterator[str | Block]:
    plain = _outside_code(text)
    before: list[str] = []
    name, start = "", 0
    for number, (line, outside) in enumerate(zip(text.split("\n"), plain, strict=True), start=1):
        begins = _BEGIN.match(outside.strip())
        if begins and name:
            raise ValueError(f"{path}, line {start}: the block {name} has no {_END} before the next one")
        if outside.strip() == _END and not name:
            raise ValueError(f"{path}, line {number}: {_END} ends no block")
        if begins:
            yield "".join(each + "\n" for each in before)
            before, name, start = [], begins["name"], number
        elif name and outside.strip() == _END:
            yield Block(name, start, "\n".join(before))
            before, name = [], ""
        else:
            before.append(line)
    if name:
        raise ValueError(f"{path}, line {start}: the block {name} has no {_END}")
    yield "\n".join(before)

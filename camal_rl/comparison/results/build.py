"""Builds the pages of a folder of results from its files, or reports where they differ."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from camal_rl.atomic import explained, write_bytes, write_text
from camal_rl.comparison.results.drawings import Drawing, drawing, figure_block
from camal_rl.comparison.results.manifest import Manifest, QuoteEntry, Shown, read_manifest
from camal_rl.comparison.results.pages import Page, outside_code, read_page, tables_by_hand
from camal_rl.comparison.results.shelf import Shelf
from camal_rl.comparison.results.tables import Sources, cell, merged, table_block

_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_LONGEST = 120


@dataclass(frozen=True)
class Built:
    """The expected state of a folder of results.

    Attributes:
        pages: every page with its expected text.
        drawings: the figures.
        problems: one line for each error in manifest, files or hand-written text; while there are any, nothing may be
            written.
    """

    pages: dict[Path, str]
    drawings: list[Drawing]
    problems: list[str]

    def differences(self) -> list[str]:
        """Return one line for each page and figure that is out of date."""
        lines = []
        for path, text in self.pages.items():
            told = _first_difference(path.read_text(encoding="utf-8"), text)
            if told:
                lines.append(f"{path}, {told}; camal-rl results rewrites it")
        for each in self.drawings:
            if not each.is_current():
                what = "is not drawn from these values" if each.image.is_file() else "is missing"
                lines.append(f"{each.image} {what}; camal-rl results redraws it")
        return lines

    def write(self) -> list[Path]:
        """Write everything that is out of date; return the paths."""
        written = []
        for path, text in self.pages.items():
            if path.read_text(encoding="utf-8") != text:
                write_text(path, text)
                written.append(path)
        for each in self.drawings:
            if not each.is_current():
                with explained(each.image.parent):
                    each.image.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(each.image, each.svg())
                written.append(each.image)
        return written


def build(folder: Path) -> Built:
    """Return the expected state of a folder of results.

    Raises:
        FileNotFoundError: the manifest or a folder of files is missing.
        ValueError: the manifest has unexpected content; one line that names it.
    """
    manifest = read_manifest(folder)
    return _Builder(folder, manifest).build()


class _Builder:
    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.shelf = Shelf([_plain(folder / name) for name in manifest.files])
        self.problems: list[str] = []
        self.drawings: dict[str, Drawing] = {}

    def build(self) -> Built:
        pages = [page for name in self.manifest.pages if (page := self._page(_plain(self.folder / name)))]
        texts = {page.path: page.built(self._content(page)) for page in pages}
        self._quotes({page.path: page for page in pages})
        self._pictures(pages)
        for page in pages:
            self.shelf.note_links(page.path, outside_code(page.by_hand()))
        self._left_over(pages)
        return Built(texts, list(self.drawings.values()), self.problems)

    def _page(self, path: Path) -> Page | None:
        try:
            return read_page(path)
        except (FileNotFoundError, ValueError) as error:
            self.problems.append(str(error))
            return None

    def _content(self, page: Page) -> Callable[[str], str]:
        def content(name: str) -> str:
            try:
                if name in self.manifest.tables:
                    return table_block(self.manifest.tables[name], self.shelf, page.path)
                if name in self.manifest.figures:
                    entry = self.manifest.figures[name]
                    self.drawings[name] = drawing(entry, self.shelf, self.folder)
                    return figure_block(entry, self.shelf, self.folder, page.path)
                raise ValueError("the manifest has no table and no figure of this name")
            except (FileNotFoundError, ValueError) as error:
                self.problems.append(f"{page.path}, block {name}: {error}")
                return ""

        return content

    def _quotes(self, pages: dict[Path, Page]) -> None:
        for quote in self.manifest.quotes:
            page = pages.get(_plain(self.folder / quote.page))
            try:
                if page is None:
                    raise ValueError("the manifest does not list this page")
                text = cell(merged(quote, Shown(digits=2, show="mean")), self.shelf, Sources())
                if _spaced(text) not in _spaced(page.by_hand()):
                    raise ValueError(f"the file gives {text!r}, which the page does not contain")
            except (FileNotFoundError, ValueError) as error:
                self.problems.append(f"{quote.page}, quote {_cut(_pattern(quote))!r}: {error}")

    def _pictures(self, pages: list[Page]) -> None:
        known = {_plain(self.folder / picture.image): False for picture in self.manifest.pictures}
        for page in pages:
            for target in _IMAGE.findall(outside_code(page.by_hand())):
                path = _plain(page.path.parent / target)
                if path in known:
                    known[path] = True
                elif _inside(page.path, self.folder):
                    self.problems.append(f"{page.path} shows {target}, which the manifest does not list")
        for path, is_shown in known.items():
            if not path.is_file():
                self.problems.append(f"{path} is missing, but the manifest lists it as a picture")
            elif not is_shown:
                self.problems.append(f"{path} is not shown on any page; show it, or remove it from the manifest")

    def _left_over(self, pages: list[Page]) -> None:
        blocks = [block.name for page in pages for block in page.blocks]
        for name in {**self.manifest.tables, **self.manifest.figures}:
            if name not in blocks:
                self.problems.append(f"{name} of the manifest is not on any page; add <!-- results: {name} -->")
        for path in self.shelf.unused():
            self.problems.append(f"no page uses {path}; show or link it, or remove it")
        for page in pages:
            for line in tables_by_hand(page) if _inside(page.path, self.folder) else ():
                self.problems.append(f"{page.path}, line {line}: a table with numbers that is not built from a file")


def _pattern(quote: QuoteEntry) -> str:
    return quote.text or str(quote.figure)


def _first_difference(found: str, wanted: str) -> str | None:
    lines = zip_longest(found.splitlines(), wanted.splitlines())
    for number, (has, should) in enumerate(lines, start=1):
        if has != should:
            return f"line {number} is {_cut(has or 'missing')!r}, but its files give {_cut(should or 'nothing')!r}"
    return None if found == wanted else "its last line ends differently"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _plain(path: Path) -> Path:
    """Return a path without detours through parent folders: ``docs/results/../x`` is ``docs/x``."""
    return Path(os.path.normpath(path))


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())

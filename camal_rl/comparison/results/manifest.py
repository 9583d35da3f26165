"""The manifest of a folder of results: the tables and figures of its pages, and the files behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from camal_rl.runs.checks import shown
from camal_rl.runs.sections import read_section
from camal_rl.runs.yaml_text import read_yaml
from camal_rl.spelling import check_settings
from camal_rl.utf8 import read_utf8

MANIFEST = "results.yaml"

Names = str | tuple[str, ...]
Entry = TypeVar("Entry")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Content and format of a cell; a column's setting overrides its row's, which overrides the table's.

    Attributes:
        file: result file, or several whose seeds are pooled; without the suffix ``.json``.
        method: the method.
        figure: name of one figure or of several.
        show: style of numbers, see :data:`camal_rl.comparison.results.cells.STYLES`.
        digits: number of digits after the point.
        text: the cell's text, with a field for each figure: ``{} ({1:mean.2})``; for a measurement, with the paths of
            values.
        against: method that p compares with, ``method`` or ``file/method``; by default the file's first method.
        bold: whether means with p below .05 are bold.
    """

    file: Names | None = None
    method: str | None = None
    figure: Names | None = None
    show: str | None = None
    digits: int | None = None
    text: str | None = None
    against: str | None = None
    bold: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Line(Shown):
    """A row or a column; a row's cells are empty in the columns named in ``empty``."""

    title: str
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableEntry(Shown):
    """A table.

    Attributes:
        title: header above the rows' titles.
        columns: the columns of cells.
        rows: the rows; for a measurement, the path of its records, with ``*`` for every key: ``encoders.*``.
        command: whether the line below the table contains the command.
        holm: whether every p is corrected by Holm's method over the rows of its column.
    """

    title: str = ""
    columns: tuple[Line, ...]
    rows: tuple[Line, ...] | str
    command: bool = True
    holm: bool = False


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure.

    Attributes:
        kind: ``seeds``, a panel with every seed for each figure; or ``curves``, the learning curves.
        file: the result file.
        image: the SVG file, relative to the manifest.
        figures: names of figures, or tags of curves; by default all in the file.
        methods: by default all in the file.
        alt: alternative text.
    """

    kind: str
    file: str
    image: str
    figures: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    alt: str = "figure"


@dataclass(frozen=True, kw_only=True)
class PictureEntry:
    """A picture that is not drawn from a result file, such as frames with attention maps.

    Attributes:
        image: the file, relative to the manifest.
        command: the command that made it.
        note: a remark.
    """

    image: str
    command: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class QuoteEntry(Shown):
    """A sentence of a page with numbers from a file: the page must contain ``text`` with its fields filled."""

    page: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest.

    Attributes:
        pages: Markdown pages, relative to the manifest.
        files: folders of result files, relative to the manifest.
        tables: tables by the name of their block.
        figures: figures by the name of their block.
        pictures: pictures from other sources.
        quotes: numbers in running text.
    """

    pages: tuple[str, ...]
    files: tuple[str, ...] = ("files",)
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    figures: Mapping[str, FigureEntry] = field(default_factory=dict)
    pictures: tuple[PictureEntry, ...] = ()
    quotes: tuple[QuoteEntry, ...] = ()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of results.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds something else; one line that names it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} contains no results: it has no {MANIFEST}; camal-rl results add creates one")
    try:
        return _manifest(read_yaml(read_utf8(path)))
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ValueError(told if str(path) in told else f"{path}: {told}") from error


def _manifest(data: Any) -> Manifest:
    given = _checked(Manifest, data, "the manifest")
    tables = _named(given, "tables")
    figures = _named(given, "figures")
    twice = next((name for name in tables if name in figures), None)
    if twice is not None:
        raise ValueError(f"{twice} is the name of a table and of a figure; give each block its own name")
    return read_section(
        Manifest,
        {
            **given,
            "tables": {name: _table(each, f"table {name}") for name, each in tables.items()},
            "figures": {name: _checked(FigureEntry, each, f"figure {name}") for name, each in figures.items()},
            "pictures": [_checked(PictureEntry, each, "a picture") for each in _list(given, "pictures")],
            "quotes": [_checked(QuoteEntry, each, "a quote") for each in _list(given, "quotes")],
        },
        "",
    )


def _table(data: Any, owner: str) -> dict[str, Any]:
    given = _checked(TableEntry, data, owner)
    for part, word in (("columns", "a column"), ("rows", "a row")):
        if isinstance(given.get(part), list):
            given[part] = [_checked(Line, each, f"{word} of {owner}") for each in given[part]]
    return given


def _checked(kind: type[Any], data: Any, owner: str) -> dict[str, Any]:
    """Return a mapping after checking that all its keys are known."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{owner} must be a mapping of keys to values, got {shown(data)}")
    check_settings(data, [each.name for each in fields(kind)], owner)
    return {str(key): value for key, value in data.items()}


def _named(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key, {})
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} must be a mapping of names to entries, got {shown(found)}")
    return found


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    found = data.get(key, [])
    if not isinstance(found, list):
        raise ValueError(f"{key} must be a list, got {shown(found)}")
    return found

"""The structure of a page, independent of its format: sections of parts with notes, tables and pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from camal_rl.comparison.table import Table

_MOST_COLUMNS = 12


@dataclass(frozen=True)
class Picture:
    """A picture with the content of its file; ``kind`` is ``svg`` or ``png``, ``alt`` its alternative text."""

    name: str
    kind: str
    data: bytes
    alt: str
    caption: str

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.name}.{self.kind}"

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.data, self.kind)


@dataclass(frozen=True)
class FrameGrid:
    """Small pictures in titled columns, one row for each frame.

    Attributes:
        columns: title to PNG files.
        legend: class name to color, ``#rrggbb``.
        caption: how the frames were chosen.
        sheets: the same frames as whole pictures, for formats without a grid layout.
    """

    columns: Mapping[str, tuple[bytes, ...]]
    legend: Mapping[str, str]
    caption: str
    sheets: tuple[Picture, ...]

    @property
    def is_wide(self) -> bool:
        """Whether there are so many columns that a page shows them as rows, each with its title at the left."""
        return len(self.columns) > _MOST_COLUMNS

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Title and data URI of every picture, row by row: a row for each frame."""
        rows = zip(*self.columns.values(), strict=True)
        return [[(title, data_uri(data, "png")) for title, data in zip(self.columns, row, strict=True)] for row in rows]


@dataclass(frozen=True)
class Folded:
    """A long text under a title, collapsed where the format allows that."""

    title: str
    text: str


@dataclass(frozen=True)
class Part:
    """A titled part of a section; ``notes`` are single lines."""

    title: str
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    frames: FrameGrid | None = None
    texts: tuple[Folded, ...] = ()


@dataclass(frozen=True)
class Section:
    """The results on one environment, or over all of them.

    Attributes:
        title: heading.
        summary: paragraphs, one for each method or level set.
        overview: the main figures of every method, if there are more methods than one would read paragraphs about.
        notes: one line for each thing that is missing or insufficient.
        parts: the parts of the section.
        of_all: whether the section is about all environments.
    """

    title: str
    summary: tuple[str, ...]
    notes: tuple[str, ...]
    parts: tuple[Part, ...]
    of_all: bool = False
    overview: Table | None = None

    def anchor(self, part: Part | None = None) -> str:
        """Return the link anchor of the section or of one of its parts."""
        return slug(self.title if part is None else f"{self.title} {part.title}")


@dataclass(frozen=True)
class Document:
    """The whole page.

    Attributes:
        title: heading.
        facts: short lines under it.
        sections: one for each environment or image set.
        glossary: definitions of the metrics.
        terms: definitions of all other terms.
    """

    title: str
    facts: tuple[str, ...]
    sections: tuple[Section, ...]
    glossary: Table
    terms: tuple[Table, ...] = ()

    @property
    def leading(self) -> tuple[Section, ...]:
        """The sections whose summaries come first: the one on all environments if there is one."""
        return tuple(section for section in self.sections if section.of_all) or self.sections

    def pictures(self) -> list[Picture]:
        """Return every picture that a page with separate picture files needs."""
        parts = [part for section in self.sections for part in section.parts]
        sheets = [sheet for part in parts if part.frames for sheet in part.frames.sheets]
        return [picture for part in parts for picture in part.pictures] + sheets


def slug(text: str) -> str:
    """Return ``text`` as lower-case words joined by hyphens, for anchors and file names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def data_uri(data: bytes, kind: str) -> str:
    """Return the content of an ``svg`` or ``png`` file as a URI that needs no network."""
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(data).decode()}"

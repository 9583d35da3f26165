"""Figures of a page as SVG files, drawn from result files; each stores a checksum of its values."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from camal_rl.comparison.plots import curve_panels, dot_panels, share_axis, values_grow_to_the_right
from camal_rl.comparison.results.manifest import FigureEntry
from camal_rl.comparison.results.result_file import ResultFile
from camal_rl.comparison.results.shelf import Shelf
from camal_rl.comparison.results.tables import relative, sources_text
from camal_rl.runs.folders import sha256_of_text
from camal_rl.spelling import check_names

_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # The same values give the same file.
    "svg.hashsalt": "camal-rl",
}
_DRAWN_FROM = re.compile(r"drawn from sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        image: path of its file.
        values: everything that determines its appearance, as plain data.
        draw: draws it.
    """

    image: Path
    values: Any
    draw: Callable[[], Figure]

    @property
    def checksum(self) -> str:
        """The SHA-256 of the values."""
        return sha256_of_text(json.dumps(self.values, sort_keys=True))

    def is_current(self) -> bool:
        """Return whether the file exists and was drawn from these values, by any version of matplotlib."""
        if not self.image.is_file():
            return False
        found = _DRAWN_FROM.search(self.image.read_text(encoding="utf-8", errors="replace"))
        return found is not None and found[1] == self.checksum

    def svg(self) -> bytes:
        """Return the content of the file."""
        with mpl.rc_context(_STYLE):
            plot = self.draw()
            buffer = io.BytesIO()
            about = {"Date": None, "Description": f"drawn from sha256:{self.checksum}"}
            plot.savefig(buffer, format="svg", metadata=about)
        return buffer.getvalue()


def drawing(entry: FigureEntry, shelf: Shelf, folder: Path) -> Drawing:
    """Return the drawing of a manifest's figure.

    Raises:
        FileNotFoundError, ValueError: the file, or a value of the figure, is missing.
    """
    check_names([entry.kind], FIGURES, "kind of figure")
    if Path(entry.image).suffix != ".svg":
        raise ValueError(f"image must be an .svg file, got {entry.image!r}")
    found = shelf.take(entry.file)
    check_names(entry.methods, found.methods, "method")
    methods = entry.methods or tuple(found.methods)
    values, draw = FIGURES[entry.kind](found, entry.figures, methods)
    return Drawing((folder / entry.image).resolve(), [entry.kind, values], draw)


def figure_block(entry: FigureEntry, shelf: Shelf, folder: Path, page: Path) -> str:
    """Return a figure, and the line on its origin, as Markdown."""
    found = shelf.take(entry.file)
    link = f"[{entry.file}.json]({relative(found.path, page)})"
    lines = [f"{line}; {link}" for line in found.source_lines(entry.methods or None)]
    image = relative((folder / entry.image).resolve(), page.resolve())
    return "\n".join([f"![{entry.alt}]({image})", "", *sources_text(lines)])


_Drawn = tuple[Any, Callable[[], Figure]]


def _seeds(found: ResultFile, figures: Sequence[str], methods: Sequence[str]) -> _Drawn:
    shown = [
        (found.words.get(name, name), {method: found.estimate(method, name) for method in methods})
        for name in figures or found.figures
    ]
    values = [[title, {method: dict(each.seeds) for method, each in of.items()}] for title, of in shown]

    def draw() -> Figure:
        plot, panels = dot_panels(shown)
        # Figures that differ only in the level set share an axis.
        kinds = [name.rpartition("/")[0] for name in figures or found.figures]
        for kind in dict.fromkeys(kinds):
            of_kind = [axes for of, axes in zip(kinds, panels, strict=True) if of == kind]
            share_axis(of_kind, values_grow_to_the_right(len(methods)))
        return plot

    return values, draw


def _curves(found: ResultFile, tags: Sequence[str], methods: Sequence[str]) -> _Drawn:
    if not found.curves:
        raise ValueError(f"{found.path} contains no learning curves")
    check_names(tags, found.curves, "learning curve")
    chosen = {tag: found.curves[tag] for tag in tags or found.curves}
    shown = {
        tag: {method: each.methods[method] for method in methods if method in each.methods}
        for tag, each in chosen.items()
    }

    def draw() -> Figure:
        plot, panels = curve_panels(shown)
        for tag, axes in panels.items():
            axes.set(xlabel=chosen[tag].steps, title=chosen[tag].title)
        for tags in dict.fromkeys(each.same_axis for each in chosen.values()):
            share_axis([axes for tag, axes in panels.items() if tag in tags])
        return plot

    values = [
        [chosen[tag].title, {method: [[list(part) for part in each] for each in of] for method, of in each_tag.items()}]
        for tag, each_tag in shown.items()
    ]
    return values, draw


FIGURES: Mapping[str, Callable[[ResultFile, Sequence[str], Sequence[str]], _Drawn]] = MappingProxyType(
    {"seeds": _seeds, "curves": _curves}
)
"""Kinds of figures: functions that draw one from a file, the names of its figures, and methods."""

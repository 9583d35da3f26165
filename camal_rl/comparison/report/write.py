"""Writes a report as one HTML page and as Markdown with separate picture files."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from camal_rl.atomic import explained, write_bytes, write_text
from camal_rl.comparison.figure_words import ARROWS
from camal_rl.comparison.report.document import Document, slug

PICTURES = "report_files"
PAGES = ("report.html", "report.md")


def write_report(document: Document, out: Path) -> tuple[Path, Path]:
    """Write ``report.html``, ``report.md`` and the pictures of the latter; return the paths of the pages.

    The HTML page is self-contained: pictures are data URIs, and it makes no network requests.
    """
    folder = out / PICTURES
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for picture in document.pictures():
        write_bytes(folder / picture.file_name, picture.data)
    pages = out / PAGES[0], out / PAGES[1]
    for path in pages:
        write_text(path, render(document, path.name))
    return pages


def render(document: Document, name: str) -> str:
    """Return the page ``report.html`` or ``report.md`` as text."""
    environment = _environment(html=name.endswith(".html"))
    return environment.get_template(f"{name}.j2").render(page=document, arrows=ARROWS, folder=PICTURES)


def markdown_template(name: str) -> Template:
    """Return a template of a Markdown page, with the filters that escape untrusted names."""
    return _environment(html=False).get_template(f"{name}.j2")


def _environment(html: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("camal_rl.comparison.report"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["slug"] = slug
    environment.filters["cell"] = _markdown_cell
    environment.filters["plain"] = _markdown_text
    environment.filters["fenced"] = _markdown_code
    return environment


def _markdown_text(text: str) -> str:
    """Return text of one line with HTML tags, links and pictures escaped, since names are untrusted."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split())).replace("](", "]\\(")


def _markdown_code(text: str, language: str = "") -> str:
    """Return text as a block of code, with fences longer than any fence in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _markdown_cell(text: str) -> str:
    """Return text that neither ends a cell of a Markdown table nor starts markup in it."""
    for special in ("\\", "|", "*", "<"):
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split()).replace("](", "]\\(")

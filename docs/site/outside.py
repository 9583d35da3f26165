"""Hook of the site: links that leave ``docs/`` lead to pages of the site, as they lead to files on GitHub.

The Markdown files of the repository's root become pages. Any other file or folder that a page links to becomes a page
that shows it, so that the site is whole without a repository behind it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
UNLISTED = InclusionLevel.NOT_IN_NAV
ROOT_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "SECURITY.md": "security.md",
}
"""Files of the root that are pages, and their names on the site."""
HOME = {"README.md": "index.md"}
SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".cfg": "ini", ".json": "json"}

_FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?!\w+:|//|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NODE = r"(\w+)(?:\[[^\]]*\]|\(\([^)]*\)\))?"
_ARROW = re.compile(rf'{_NODE} -->(?:\|(?:"([^"]*)"|([^|]*))\|)? (\w+)')
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_LABEL = re.compile(r"\b(\w+)(?:\[([^\]]+)\]|\(\((.+?)\)\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and pages that show what pages link to."""
    for name, address in ROOT_PAGES.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / name)))
    origins = {file.src_uri: _origin(file.src_uri) for file in files.documentation_pages()}
    missing = {
        path
        for origin in origins.values()
        if (ROOT / origin).is_file()
        for path in _targets(origin)
        if not path.startswith("docs/") or (ROOT / path).is_dir()
    }
    for path in sorted(missing):
        address = address_of(path)
        if (ROOT / path).exists() and files.get_file_from_path(address) is None:
            files.append(File.generated(config, address, content=_page_that_shows(path), inclusion=UNLISTED))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page of GitHub into one of the site."""
    markdown = _MERMAID.sub(lambda found: arrows_as_table(found[1]), markdown)
    source = page.file.src_uri
    return _outside_fences(markdown, lambda text: site_links(_plain_bars(text), source))


def site_links(text: str, source: str) -> str:
    """Return running text whose links are relative to the page's place on the site.

    Args:
        text: Markdown without fenced blocks.
        source: the page, relative to the site's root, such as ``results/README.md``.
    """
    origin, folder = _origin(source), posixpath.dirname(source)

    def on_site(found: re.Match[str]) -> str:
        path = _path_of(origin, found[1])
        if not (ROOT / path).exists():
            return found[0]
        return posixpath.relpath(address_of(path), folder or ".") + (found[2] or "")

    return _LINK.sub(on_site, text)


def address_of(path: str) -> str:
    """Return where a file or folder of the repository is on the site, both with slashes and relative."""
    renamed = {**ROOT_PAGES, **HOME}
    if path in renamed:
        return renamed[path]
    if (ROOT / path).is_dir():
        named = [f"{path}/{name}" for name in ("README.md", "index.md") if (ROOT / path / name).is_file()]
        return address_of(named[0]) if named and path.startswith("docs") else f"files/{path}/index.md"
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        return inside if not inside.endswith(".ipynb") else inside.replace(".ipynb", ".md")
    return f"files/{path}.md"


def arrows_as_table(diagram: str) -> str:
    """Return the arrows of a Mermaid diagram as a table: its program would come from another host."""
    labels = {name: _plain(square or round_) for name, square, round_ in _LABEL.findall(diagram)}
    rows = [
        f"| {labels.get(start, start)} | {_plain(quoted or bare) or '→'} | {labels.get(end, end)} |"
        for start, quoted, bare, end in _ARROW.findall(diagram)
    ]
    return "\n".join(["| from | arrow | to |", "| --- | --- | --- |", *rows])


def _plain(text: str) -> str:
    return text.strip('"').replace("|", "\\|")


def _origin(source: str) -> str:
    """Return the file of the repository behind a page."""
    back = {address: name for name, address in ROOT_PAGES.items()}
    return back.get(source, f"docs/{source}")


def _path_of(origin: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _targets(origin: str) -> Iterator[str]:
    """Yield what the links of a file of the repository lead to."""
    text = _FENCE.sub("", (ROOT / origin).read_text(encoding="utf-8"))
    for found in _LINK.finditer(text):
        yield _path_of(origin, found[1])


def _page_that_shows(path: str) -> str:
    """Return a page with a file's text, or with the list of a folder's files. The search leaves it out."""
    whole = ROOT / path
    head = f"---\nsearch: {{exclude: true}}\n---\n\n# `{path}`\n\n"
    if whole.is_dir():
        names = sorted(child.name for child in whole.rglob("*") if child.is_file() and "__pycache__" not in child.parts)
        return head + "\n".join(f"* `{name}`" for name in names) + "\n"
    text = whole.read_text(encoding="utf-8").rstrip("\n")
    return f"{head}````{SHOWN.get(whole.suffix, 'text')}\n{text}\n````\n"


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Return a page whose running text is changed and whose fenced blocks are as they were."""
    parts, last = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, change(markdown[last:])])


def _plain_bars(text: str) -> str:
    """Take the backslash off bars inside code in tables: GitHub needs it, this Markdown shows it."""
    return re.sub(
        r"^\|.*$", lambda row: re.sub(r"`[^`]*`", lambda code: code[0].replace("\\|", "|"), row[0]), text, flags=re.M
    )

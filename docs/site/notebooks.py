"""Hook of the site: notebooks of ``docs/`` become pages, with the outputs that they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

FOLDER = "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook."""
    for path in sorted((Path(config.docs_dir) / FOLDER).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join(part for cell in cells for part in parts_of(cell))
        files.append(File.generated(config, f"{FOLDER}/{path.stem}.md", content=text + "\n"))
    return files


def parts_of(cell: dict[str, Any]) -> list[str]:
    """Return the Markdown of a cell: its text, or its code and what that printed and drew."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return [source]
    return [f"```python\n{source}\n```", *(shown for output in cell["outputs"] if (shown := _output(output)))]


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        png = "".join(data["image/png"]).strip()
        return f'<img alt="{output["metadata"].get("alt", "what the cell draws")}" src="data:image/png;base64,{png}">'
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip("\n")
    return f"```text\n{text}\n```" if text and output.get("name") != "stderr" else ""

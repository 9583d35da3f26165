"""Hook of the site: blocks of the language ``math`` become pictures, drawn by Matplotlib while the site is built.

GitHub draws the same blocks. Nothing is left for a program in the browser, which would come from another host.
"""

from __future__ import annotations

import html
import io
import re
import zlib
from typing import TYPE_CHECKING, Any

from matplotlib import mathtext, rc_context
from matplotlib.font_manager import FontProperties

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

SIZE = 15.0


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Register the block."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula_block})
    return config


def formula_block(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """Return a block with one picture for each line of formulas."""
    lines = [line for line in source.strip().splitlines() if line.strip()]
    return f'<div class="{css_class}">' + "".join(f"<p>{picture(line)}</p>" for line in lines) + "</div>"


def picture(formula: str) -> str:
    """Return a formula, in Matplotlib's subset of TeX, as SVG in the color of the text around it."""
    drawn = io.BytesIO()
    with rc_context({"mathtext.fontset": "cm", "svg.fonttype": "path", "svg.hashsalt": formula}):
        mathtext.math_to_image(f"${formula}$", drawn, format="svg", prop=FontProperties(size=SIZE), color="black")
    text = drawn.getvalue().decode()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="patch_1">.*?</g>', "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' xmlns:xlink="[^"]*"', ' xmlns:xlink="http://www.w3.org/1999/xlink"', svg)
    svg = re.sub(r"fill: ?(#000000|black)", "fill: currentColor", svg)
    # Glyphs are drawn by reference: their names must be this formula's own.
    mark = f"f{zlib.crc32(formula.encode()):08x}-"
    svg = re.sub(r'(id="|href="#)', rf"\g<1>{mark}", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(formula)}" fill="currentColor"', 1)

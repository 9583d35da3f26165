"""Extension of the site's Python reference: Sphinx roles and literal blocks of docstrings become Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`(~?)([\w.]+)(?:\(\))?`")


class DocstringMarkdown(griffe.Extension):
    """Rewrites every docstring once its object was read."""

    def on_instance(self, *, node: Any, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, obj.path)


def as_markdown(text: str, path: str = "") -> str:
    """Return a docstring whose roles are links, where the site has the object, and whose ``::`` is a colon."""
    return re.sub(r"::\n(?=\n)", ":\n", _ROLE.sub(lambda role: _reference(role[1], role[2], path), text))


def _reference(short: str, name: str, path: str) -> str:
    shown = name.rpartition(".")[2] if short else name
    whole = name if name.startswith("camal_rl") else f"{path.rpartition('.')[0]}.{name}"
    return f'<autoref optional identifier="{whole}"><code>{shown}</code></autoref>'

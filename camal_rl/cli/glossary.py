"""``camal-rl glossary``."""

from __future__ import annotations

from typing import Annotated

import typer

from camal_rl.cli.arguments import Imports
from camal_rl.cli.errors import checking_input


def glossary(
    word: Annotated[str, typer.Argument(help="Only terms that contain this word.", show_default=False)] = "",
    imports: Imports = None,
) -> None:
    """Define the terms of the tables: formula, range, direction, value for a random map, source.

    For example:

      camal-rl glossary

      camal-rl glossary epg
    """
    with checking_input():
        from camal_rl.cli.console import show
        from camal_rl.comparison.glossary import glossary_tables
        from camal_rl.registry import import_modules

        import_modules(imports or ())
        tables = glossary_tables(word)
        if not tables:
            raise ValueError(f"no term contains {word!r}; camal-rl glossary prints them all")
    show(*tables, legend=False)

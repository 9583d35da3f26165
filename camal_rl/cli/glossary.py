"""``camal-rl glossary``."""

from __future__ import annotations

from typing import Annotated

import typer

from camal_rl.cli.arguments import Imports
from camal_rl.cli.errors import checking_input


def glossary(
    word: Annotated[str, typer.Argument(help="Only terms that hold this word.", show_default=False)] = "",
    imports: Imports = None,
) -> None:
    """Say what the terms of the tables mean: formula, range, direction, what a random map gets, source.

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
            raise ValueError(f"no term holds {word!r}; camal-rl glossary prints them all")
    show(*tables, legend=False)

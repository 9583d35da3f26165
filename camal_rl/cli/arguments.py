"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigName = Annotated[str, typer.Argument(help="Name of a shipped configuration, or path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings over those of the file; KEY={} clears a section, ~KEY removes."),
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="Import a module first, for what it registers; may be repeated."),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="The folder is all your own: load a model.zip, which can run code, where there is no model.json, and "
        "modules that lie in the folder.",
    ),
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress", help="How far it is, on stderr: a bar on a terminal, a line now and then elsewhere."
    ),
]

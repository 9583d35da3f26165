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
BackendName = Annotated[
    str,
    typer.Option(help="Where runs are executed: local (processes on this machine), ray (a cluster), or your own."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Runs at the same time, one thread each; by default one for each core, on Ray as many as have room."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="ray: the cluster, HOST:PORT, or auto for the one that this machine is part of. By default a cluster of "
        "its own on this machine."
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(help="ray: GPUs of each run, whole or a part of one such as .25. By default none: runs see no GPU."),
]
CpusPerRun = Annotated[
    float | None,
    typer.Option(help="ray: CPUs that each run takes, 1 by default; more leave more memory to each."),
]

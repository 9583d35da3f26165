"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigName = Annotated[str, typer.Argument(help="Name of a built-in configuration, or path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Settings that override the file; KEY={} clears a section, ~KEY removes a key."
    ),
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import", metavar="MODULE", help="Import a module first, so that it can register things; may be repeated."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Trust the folder: load model.zip, which can run code, if there is no model.json, and import modules in "
        "the folder.",
    ),
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress", help="Show progress on stderr: a bar on a terminal, a line at intervals elsewhere."
    ),
]
BackendName = Annotated[
    str,
    typer.Option(help="Backend that executes runs: local (processes on this machine), ray (a cluster), or your own."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of runs at the same time, one thread each; by default one per core, on Ray as many as fit."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="ray: the cluster, HOST:PORT, or auto for the one that this machine belongs to. By default a new "
        "cluster on this machine."
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(help="ray: GPUs of each run, whole or a fraction such as .25. By default none: runs see no GPU."),
]
CpusPerRun = Annotated[
    float | None,
    typer.Option(help="ray: CPUs reserved for each run, 1 by default; a larger number leaves more memory to each."),
]

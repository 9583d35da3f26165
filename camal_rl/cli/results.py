"""``camal-rl results`` and ``camal-rl results add``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.errors import checking_input

Folder = Annotated[Path, typer.Option(help="Folder of results, with its manifest results.yaml.")]

results = typer.Typer(
    name="results",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FOLDER = Path("docs/results")
_WRONG = 2


@results.callback()
def build_results(
    context: typer.Context,
    folder: Folder = _FOLDER,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; print one line for each page or figure that is out of date.")
    ] = False,
) -> None:
    """Build every table and figure of the results pages from the result files beside them.

    The manifest results.yaml defines them. The hand-written text of a page is kept. If a row lacks its file, or no page
    uses a file, nothing is written; each problem is printed in one line, and the exit code is 2.

    For example:

      camal-rl results

      camal-rl results --check

      camal-rl results add runs/toy_grid-default/compare --name toy_grid
    """
    if context.invoked_subcommand is not None:
        return
    with checking_input():
        from camal_rl.comparison.results.build import build

        built = build(folder)
        wrong = built.problems or (built.differences() if check else [])
    for line in wrong:
        print(f"camal-rl: {' '.join(line.split())}", file=sys.stderr)
    if wrong:
        raise typer.Exit(_WRONG)
    written = [] if check else built.write()
    for path in written:
        print(f"written: {path}")
    if not written:
        print(f"{folder}: every page and figure is up to date with its files")


@results.command()
def add(
    source: Annotated[Path, typer.Argument(help="Folder of a comparison or of an evaluated run, or a JSON file.")],
    name: Annotated[str, typer.Option(help="Name of the file among the results, without .json.")],
    folder: Folder = _FOLDER,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add further seeds or methods to the comparison that has this name.")
    ] = False,
) -> None:
    """Archive a result: copy the small file of a comparison or an evaluation into the folder of results.

    A folder without a manifest gets a manifest and a page. Otherwise the lines to add to the manifest are printed.
    With --extend, the runs of a comparison are added to an archived one with the same settings, for example seeds that
    another machine trained; all statistics are computed anew.

    For example:

      camal-rl results add runs/toy_grid-default/compare --name toy_grid

      camal-rl results add runs/procgen-starpilot/camal-seed0 --name starpilot_camal --folder results

      camal-rl results add runs/more_seeds --name toy_grid --extend
    """
    with checking_input():
        from camal_rl.comparison.results.archive import add_result, find_result, table_of_result
        from camal_rl.comparison.results.manifest import MANIFEST
        from camal_rl.comparison.results.result_file import read_result_file
        from camal_rl.runs.yaml_text import write_yaml

        begins = not (folder / MANIFEST).is_file()
        path = add_result(find_result(source), name, folder, extend)
        part = write_yaml({"tables": table_of_result(name, read_result_file(path))})
    print(f"kept: {path}")
    if begins:
        print(f"camal-rl results --folder {folder} builds its page")
    else:
        print(
            f"to show it, in {folder / MANIFEST}:\n\n{part}\nand on a page:\n\n<!-- results: {name} -->\n<!-- end -->"
        )

"""``camal-rl report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from camal_rl.atomic import write_text
from camal_rl.cli.arguments import ShowProgress, Trust
from camal_rl.cli.errors import checking_input
from camal_rl.foreign_code import distrust


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that contain some.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; by default report inside the one folder given, else runs/report."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title; by default environments and methods.")] = None,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Write a report on evaluated runs: results, statistics, curves, pictures, settings.

    Writes report.html, one self-contained file, and report.md with its pictures in report_files, replacing earlier
    ones. Runs on one environment, such as the trials of a sweep, also give report.json for camal-rl results add. Runs
    are grouped by environment and method; missing results are noted in one line each. Several games with normalized
    returns also get a common table, aggregates with intervals, and performance profiles.

    For example:

      camal-rl report runs/toy_grid-default/compare

      camal-rl report runs/starpilot/ppo-seed0 runs/starpilot/camal-seed0 --out starpilot --title "StarPilot, one seed"

      camal-rl report runs/toy_grid-default/sweep --title "Weights, tuning seeds"

      camal-rl report runs/bigfish/compare runs/coinrun/compare runs/starpilot/compare --out runs/three_games
    """
    with checking_input():
        from camal_rl.cli.progress import stages_shown
        from camal_rl.comparison.comparison_file import comparison_json
        from camal_rl.comparison.groups import check_results, find_runs, group_runs, read_run
        from camal_rl.comparison.report.sections import STAGES, document
        from camal_rl.comparison.report.write import PAGES, write_report
        from camal_rl.comparison.results.archive import REPORT
        from camal_rl.comparison.results.sources import comparison_text
        from camal_rl.runs.folders import check_writable

        folder = out if out is not None else (runs[0] if len(runs) == 1 else Path("runs")) / "report"
        paths = find_runs(runs)
        if not trust:
            distrust(*paths)
        found = [read_run(path, trust) for path in paths]
        check_results(found)
        groups = group_runs(found)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; --out must be a folder")
        for name in (*PAGES, REPORT):
            check_writable(folder / name)
    with stages_shown(len(STAGES) * len(groups), progress, "report") as on_stage:
        page = document(groups, title, on_stage)
    html, markdown = write_report(page, folder)
    if len(groups) == 1:
        write_text(folder / REPORT, comparison_text(comparison_json(groups[0])))
    else:
        (folder / REPORT).unlink(missing_ok=True)
    count = sum(len(group.runs) for group in groups)
    print(f"{count} run{'s' * (count != 1)}: {html}\nMarkdown: {markdown}")

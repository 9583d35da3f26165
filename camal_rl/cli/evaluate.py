"""``camal-rl evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.arguments import ShowProgress, Trust
from camal_rl.cli.errors import checking_input
from camal_rl.foreign_code import distrust


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    episodes: Annotated[int | None, typer.Option(help="Episodes for each level set and kind of action.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames (images) on which attention is measured; 0 for none.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="quick, or full: every faithfulness figure, neutral maps, and counterfactuals of an agent; by default "
            "that of the run."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of tables.")] = False,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Measure a trained run zero-shot: returns on train and held-out levels, or accuracy, and its attention.

    Writes metrics.json into the run folder, replacing an earlier one.

    For example:

      camal-rl evaluate runs/toy_grid-default/camal-seed0

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --episodes 400 --json

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --suite full
    """
    if not trust:
        distrust(run)
    with checking_input():
        from camal_rl.cli.console import show
        from camal_rl.cli.progress import stages_shown
        from camal_rl.comparison.run_tables import run_tables
        from camal_rl.runs.run_folder import RunFolder
        from camal_rl.runs.task import EvaluationOptions, task_of

        folder = RunFolder(run, trust)
        config = folder.config()
        evaluation = task_of(config).evaluation(folder, config, EvaluationOptions(episodes, frames, suite))
    with stages_shown(len(evaluation.stages), progress, "evaluation") as on_stage:
        metrics = evaluation.run(on_stage)
    if as_json:
        print(metrics.text(), end="")
        return
    show(*run_tables(metrics.results, config.acting_note))
    print(f"metrics: {folder.metrics_file}")

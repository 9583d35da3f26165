"""``camal-rl evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.errors import checking_input


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    episodes: Annotated[int | None, typer.Option(help="Episodes for each level set and kind of action.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames on which attention is measured; 0 for none.")] = None,
    suite: Annotated[
        str, typer.Option(help="quick, or full: every faithfulness figure, neutral maps, counterfactuals.")
    ] = "quick",
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of tables.")] = False,
    progress: Annotated[
        bool | None, typer.Option("--progress/--no-progress", help="Progress bar; by default on a terminal.")
    ] = None,
) -> None:
    """Measure a trained run zero-shot: returns on train and held-out levels, and where it looks.

    Writes metrics.json into the run folder, over an earlier one.

    For example:

      camal-rl evaluate runs/toy_grid-default/camal-seed0

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --episodes 400 --json

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --suite full
    """
    with checking_input():
        from camal_rl.cli.progress import stage_bar, wanted
        from camal_rl.experiments.evaluation import check_suite, evaluate_run, evaluation_settings, load_model, stages
        from camal_rl.experiments.run_folder import RunFolder

        folder = RunFolder(run)
        asked = check_suite(suite)
        settings = evaluation_settings(folder.config(), episodes, frames)
        model = load_model(folder)
    with stage_bar(len(stages(settings, asked)), wanted(progress)) as on_stage:
        metrics = evaluate_run(folder, model, settings, on_stage, asked)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    _print_tables(metrics)
    print(f"metrics: {folder.metrics_file}")


def _print_tables(metrics: dict[str, object]) -> None:
    from camal_rl.cli.console import table_console
    from camal_rl.experiments.tables import alignment_table, counterfactual_table, faithfulness_table, returns_table

    console = table_console()
    console.print(returns_table(metrics))
    if metrics["attention"]:
        console.print(alignment_table(metrics))
        console.print(faithfulness_table(metrics))
    if metrics["counterfactuals"]:
        console.print(counterfactual_table(metrics))

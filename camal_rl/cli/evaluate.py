"""``camal-rl evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camal_rl.cli.arguments import ShowProgress
from camal_rl.cli.errors import checking_input

if TYPE_CHECKING:
    from camal_rl.rl.config import ExperimentConfig
    from camal_rl.runs.run_folder import RunFolder
    from camal_rl.supervised.config import SupervisedConfig


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    episodes: Annotated[int | None, typer.Option(help="Episodes for each level set and kind of action.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames (images) on which attention is measured; 0 for none.")
    ] = None,
    suite: Annotated[
        str, typer.Option(help="quick, or full: every faithfulness figure, neutral maps, counterfactuals.")
    ] = "quick",
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of tables.")] = False,
    progress: ShowProgress = None,
) -> None:
    """Measure a trained run zero-shot: returns on train and held-out levels, or accuracy, and where it looks.

    Writes metrics.json into the run folder, over an earlier one.

    For example:

      camal-rl evaluate runs/toy_grid-default/camal-seed0

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --episodes 400 --json

      camal-rl evaluate runs/procgen-starpilot/camal-seed0 --suite full
    """
    with checking_input():
        from camal_rl.runs.run_folder import RunFolder
        from camal_rl.supervised.config import SupervisedConfig

        folder = RunFolder(run)
        config = folder.any_config()
    if isinstance(config, SupervisedConfig):
        metrics = _classifier(folder, config, episodes, frames, suite, progress)
    else:
        metrics = _agent(folder, config, episodes, frames, suite, progress)
    if as_json:
        print(json.dumps(metrics, indent=2))
        return
    _print_tables(metrics)
    print(f"metrics: {folder.metrics_file}")


def _agent(
    folder: RunFolder,
    config: ExperimentConfig,
    episodes: int | None,
    frames: int | None,
    suite: str,
    progress: bool | None,
) -> dict[str, Any]:
    with checking_input():
        from camal_rl.cli.progress import stages_shown
        from camal_rl.rl.evaluate.evaluation import check_suite, evaluate_run, evaluation_settings, load_model, stages

        asked = check_suite(suite)
        settings = evaluation_settings(config, episodes, frames)
        model = load_model(folder)
    with stages_shown(len(stages(settings, asked)), progress, "evaluation") as on_stage:
        return evaluate_run(folder, model, settings, on_stage, asked)


def _classifier(
    folder: RunFolder,
    config: SupervisedConfig,
    episodes: int | None,
    images: int | None,
    suite: str,
    progress: bool | None,
) -> dict[str, Any]:
    with checking_input():
        from camal_rl.cli.progress import stages_shown
        from camal_rl.supervised.evaluation import evaluate_classifier, evaluation_settings, load_trained, stages

        for option, given in (("--episodes", episodes is not None), ("--suite", suite != "quick")):
            if given:
                raise ValueError(f"{option} is for agents, and {folder.path} is a run on images; leave it out")
        settings = evaluation_settings(config, images)
        trained = load_trained(folder, config)
    with stages_shown(len(stages(settings)), progress, "evaluation") as on_stage:
        return evaluate_classifier(folder, config, trained, settings, on_stage)


def _print_tables(metrics: dict[str, Any]) -> None:
    from camal_rl.cli.console import show
    from camal_rl.comparison import tables

    found = [tables.accuracy_table(metrics) if "accuracy" in metrics else tables.returns_table(metrics)]
    # Sets without masks have no maps to measure.
    if any(metrics["attention"].values()):
        found += [tables.alignment_table(metrics), tables.faithfulness_table(metrics)]
    if metrics.get("background_swap"):
        found.append(tables.background_table(metrics))
    if metrics.get("counterfactuals"):
        found.append(tables.counterfactual_table(metrics))
    show(*found)

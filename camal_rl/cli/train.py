"""``camal-rl train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.arguments import ConfigName, Overrides, ShowProgress
from camal_rl.cli.errors import checking_input, end_interrupted


def train(
    config: ConfigName,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder to write; by default runs/<name>/<method>-seed<k>.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume from the run folder's newest checkpoint, to the end or to a larger total_timesteps.",
        ),
    ] = False,
    progress: ShowProgress = None,
) -> None:
    """Train one agent and write its run folder.

    For example:

      camal-rl train toy_grid

      camal-rl train procgen/starpilot seed=1 camal.weight=0.05

      camal-rl train procgen env.id=procgen/maze camal.weight=0 --run-dir runs/maze-ppo

      camal-rl train procgen env.id=procgen/maze camal.weight=0 --run-dir runs/maze-ppo --resume
    """
    with checking_input(config, overrides):
        from camal_rl.cli.progress import Mode, StepLines, mode, write_line
        from camal_rl.rl.config import agent_config
        from camal_rl.rl.step_report import StepReport, mean_return_words
        from camal_rl.rl.training import prepare, run
        from camal_rl.runs.loading import load_config
        from camal_rl.runs.resuming import resume_line
        from camal_rl.runs.run_folder import RunFolder, default_run_dir

        settings = agent_config(load_config(config, overrides or ()))
        folder = RunFolder(run_dir or default_run_dir(settings))
        trial = prepare(settings, folder, resume)
        if resume:
            write_line(resume_line(folder.path, trial.step))
    how, lines = mode(progress), StepLines("training")
    told = StepReport(lambda done, total, mean: lines.report(done, total, mean_return_words(mean)))
    summary = run(trial, sys.argv, how is Mode.BAR, [told] if how is Mode.LINES else ())
    mean = summary["last_mean_return"]
    print(
        f"{summary['timesteps']:,} steps in {summary['seconds']:.0f} s ({summary['steps_per_second']:,.0f} steps/s), "
        f"mean return of the last episodes {'unknown' if mean is None else f'{mean:.2f}'}"
    )
    print(f"run folder: {folder.path}\nTensorBoard: tensorboard --logdir {folder.tensorboard}")
    end_interrupted(summary, "train")

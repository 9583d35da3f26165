"""``camal-rl fit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.arguments import ConfigName, Overrides, ShowProgress
from camal_rl.cli.errors import checking_input, end_interrupted


def fit(
    config: ConfigName,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder to write; by default runs/<name>/<method>-seed<k>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the run folder's newest checkpoint.")] = False,
    progress: ShowProgress = None,
) -> None:
    """Train one image classifier and write its run folder.

    For example:

      camal-rl fit supervised/spurious_shapes

      camal-rl fit supervised/spurious_shapes seed=1 camal.weight=0 data.mask_fraction=0.01

      camal-rl fit mine.yaml data.name=folder data.root=images --run-dir runs/mine

      camal-rl fit mine.yaml data.name=folder data.root=images --run-dir runs/mine --resume
    """
    with checking_input(config, overrides):
        from camal_rl.cli.progress import Mode, StepLines, mode, write_line
        from camal_rl.runs.loading import load_config
        from camal_rl.runs.resuming import resume_line
        from camal_rl.runs.run_folder import RunFolder, default_run_dir
        from camal_rl.supervised.config import supervised_config
        from camal_rl.supervised.training import prepare, run

        settings = supervised_config(load_config(config, overrides or ()))
        folder = RunFolder(run_dir or default_run_dir(settings))
        trial = prepare(settings, folder, resume)
        if resume:
            write_line(resume_line(folder.path, trial.step))
    how, lines = mode(progress), StepLines("training")
    summary = run(trial, sys.argv, how is Mode.BAR, lines.report if how is Mode.LINES else lambda _, __: None)
    last = ", ".join(f"{name} {value:.3f}" for name, value in summary["last"].items())
    print(
        f"{summary['timesteps']:,} steps in {summary['seconds']:.0f} s ({summary['steps_per_second']:,.1f} steps/s)"
        + (f"; {last}" if last else "")
    )
    print(f"run folder: {folder.path}\nTensorBoard: tensorboard --logdir {folder.tensorboard}")
    end_interrupted(summary, "fit")

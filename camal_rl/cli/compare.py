"""``camal-rl compare``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camal_rl.cli.arguments import (
    Address,
    BackendName,
    ConfigName,
    CpusPerRun,
    GpusPerRun,
    Jobs,
    Overrides,
    ShowProgress,
    Trust,
)
from camal_rl.cli.cells import end_if_failed, end_if_interrupted, execute_shown
from camal_rl.cli.errors import checking_input

if TYPE_CHECKING:
    from camal_rl.comparison.backends import Execute
    from camal_rl.comparison.plan import PlannedRun


def compare(
    config: ConfigName,
    overrides: Overrides = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: ppo (image classifiers: vanilla, ifam), camal, a peer's loss on maps (energy, l1, "
            "ppce, rrr, mse), a term (drac, ucb_drac, background_mix, input_gradients, sgqn, sgfd), "
            "objects only (object_mask, binary_mask, class_mask), several (camal+drac), or your own "
            "(package.module:name). By default ppo,camal or vanilla,camal."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each method.")] = 3,
    backend: BackendName = "local",
    jobs: Jobs = None,
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    cpus_per_run: CpusPerRun = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default runs/<name>/compare.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the comparison in the folder; agents may be trained for longer."),
    ] = False,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Train and evaluate methods over seeds; write a table, statistics and plots.

    Finished runs in the folder are reused; unfinished ones are resumed from their newest checkpoint.

    For example:

      camal-rl compare toy_grid --seeds 5 --jobs 2

      camal-rl compare procgen/starpilot --methods ppo,camal,energy --seeds 3 total_timesteps=500000

      camal-rl compare supervised/spurious_shapes --methods vanilla,camal,energy,ifam --seeds 5 --jobs 2

      camal-rl compare toy_grid --seeds 5 --jobs 2 total_timesteps=262144 --resume

      camal-rl compare procgen/starpilot --seeds 8 --backend ray --address auto --gpus-per-run .25
    """
    with ExitStack() as stack:
        with checking_input(config, overrides):
            from camal_rl.atomic import explained
            from camal_rl.comparison.backends import make_backend
            from camal_rl.comparison.plan import check_runs, plan_runs
            from camal_rl.runs.folders import check_new_folder
            from camal_rl.runs.loading import load_config
            from camal_rl.runs.lock import locked

            settings = load_config(config, overrides or ())
            chosen = methods if methods is not None else f"{settings.baseline},camal"
            folder = out if out is not None else Path("runs") / settings.experiment_name / "compare"
            names = [name.strip() for name in chosen.split(",") if name.strip()]
            options = {"jobs": jobs, "address": address, "gpus_per_run": gpus_per_run, "cpus_per_run": cpus_per_run}
            place = make_backend(backend, options)
            runs = plan_runs(settings, names, seeds, folder, resume, trust)
            check_new_folder(folder)
            execute = stack.enter_context(place.opened(folder))
            check_runs(runs)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(folder, "comparison"))
        _compare(execute, runs, folder, progress)


def _compare(execute: Execute, runs: Sequence[PlannedRun], folder: Path, progress: bool | None) -> None:
    outcome = execute_shown(execute, runs, progress)
    end_if_interrupted(runs, outcome)
    # The first method stays the baseline of the comparison.
    order = list(dict.fromkeys(planned.method for planned in runs))
    finished = [planned for index, planned in enumerate(runs) if index not in outcome.failures]
    finished.sort(key=lambda planned: order.index(planned.method))
    if finished:
        _report(finished, folder)
    end_if_failed(runs, outcome.failures)


def _report(runs: Sequence[PlannedRun], folder: Path) -> None:
    from camal_rl.atomic import write_text
    from camal_rl.cli.console import say, show
    from camal_rl.comparison.comparison_file import comparison_json, comparison_markdown, comparison_table
    from camal_rl.comparison.findings import findings
    from camal_rl.comparison.groups import MANY_METHODS, planned_group
    from camal_rl.comparison.plots import write_plots
    from camal_rl.comparison.results.sources import comparison_text

    group = planned_group(runs)
    write_text(folder / "comparison.json", comparison_text(comparison_json(group)))
    write_text(folder / "comparison.md", comparison_markdown(group))
    pictures = write_plots(group, folder / "figures")
    show(comparison_table(group))
    for paragraph in findings(group) if len(group.methods) <= MANY_METHODS else ():
        print()
        say(paragraph)
    print(
        f"\ntable, and each method in words: {folder / 'comparison.md'}\nfigures as JSON: {folder / 'comparison.json'}"
    )
    print(f"TensorBoard: tensorboard --logdir {folder}\none page with everything: camal-rl report {folder}")
    print("\n".join(f"picture: {path}" for path in pictures))

"""``camal-rl sweep``."""

from __future__ import annotations

import sys
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
    ShowProgress,
    Trust,
)
from camal_rl.cli.cells import end_if_interrupted, execute_shown, tell_failures
from camal_rl.cli.errors import checking_input
from camal_rl.failures import RunFailure

if TYPE_CHECKING:
    from camal_rl.comparison.backends import Execute
    from camal_rl.comparison.sweep import Sweep
    from camal_rl.comparison.sweep_search import Search


def sweep(
    config: ConfigName,
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=A,B",
            help="Values to try, KEY=A,B, or a range, KEY=LOW:HIGH or KEY=LOW:HIGH:log; a single value is fixed.",
        ),
    ],
    search: Annotated[
        str, typer.Option(help="grid (every combination), random, optuna (needs the extra tune), or your own.")
    ] = "grid",
    trials: Annotated[int | None, typer.Option(min=1, help="random, optuna: number of combinations to try.")] = None,
    at_once: Annotated[
        int, typer.Option(min=1, help="optuna: number of trials proposed before their results are known.")
    ] = 4,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE@LEVEL_SET",
            help="Objective. By default return@train, for image classifiers accuracy@validation.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Tuning seeds for each trial: 100, 101 and so on.")] = 1,
    backend: BackendName = "local",
    jobs: Jobs = None,
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    cpus_per_run: CpusPerRun = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default runs/<name>/sweep.")] = None,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Search for settings on tuning seeds; write every trial, the budget, and the best configuration.

    Repeating the command resumes the sweep: finished trials are reused. `train` and `compare` accept best.yaml, and
    refuse the seeds that it was tuned on.

    For example:

      camal-rl sweep toy_grid camal.weight=0.05,0.15 algorithm.learning_rate=3e-4,1e-3 --seeds 2 --jobs 2

      camal-rl sweep toy_grid algorithm.learning_rate=1e-4:1e-2:log algorithm.n_epochs=1:4 --search random --trials 8

      camal-rl sweep procgen/starpilot camal.weight=0.01:1:log --search optuna --trials 40 --backend ray --address auto

      camal-rl sweep toy_grid camal.weight=0.05,0.15 --objective epg@train --out runs/weights
    """
    with ExitStack() as stack:
        with checking_input(config):
            from camal_rl.atomic import explained
            from camal_rl.comparison.backends import make_backend
            from camal_rl.comparison.objective import parse_objective
            from camal_rl.comparison.plan import check_runs
            from camal_rl.comparison.sweep import Sweep
            from camal_rl.comparison.sweep_search import SEARCHES, SearchOptions
            from camal_rl.comparison.sweep_space import parse_space
            from camal_rl.runs.folders import check_new_folder
            from camal_rl.runs.loading import load_config, setting_hints
            from camal_rl.runs.lock import locked

            space = parse_space(settings, setting_hints(config))
            base = load_config(config, space.fixed)
            folder = out if out is not None else Path("runs") / base.experiment_name / "sweep"
            judge = parse_objective(objective, base)
            found = Sweep(config, space, search, judge, seeds, folder, trust)
            found.check()
            check_new_folder(folder)
            proposed = SEARCHES.find(search)(SearchOptions(space, trials, at_once, judge.maximizes, folder))
            found.recall()
            options = {"jobs": jobs, "address": address, "gpus_per_run": gpus_per_run, "cpus_per_run": cpus_per_run}
            execute = stack.enter_context(make_backend(backend, options).opened(folder))
            found.runs(found.accepted(proposed.trials()))
            check_runs(found.runs(found.examples(proposed.trials())))
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(folder, "sweep"))
        _sweep(execute, found, proposed, progress)


def _sweep(execute: Execute, found: Sweep, search: Search, progress: bool | None) -> None:
    from camal_rl.cli.console import show
    from camal_rl.comparison.sweep import BEST, RECORD, UNFINISHED

    failures: list[RunFailure] = []
    while trials := search.next():
        accepted = found.accepted(trials)
        with checking_input():
            runs = found.runs(accepted)
        outcome = execute_shown(execute, runs, progress)
        found.note(accepted, outcome.failures)
        tell_failures(runs, outcome.failures)
        failures += outcome.failures.values()
        for trial in trials:
            scored = found.scored(trial)
            if trial not in accepted:
                print(f"camal-rl: trial {trial.number} is left out: {scored.failure}", file=sys.stderr)
            if scored.state != UNFINISHED:
                search.tell(trial, scored.value)
        found.write(found.ranked(search.trials()), sys.argv)
        end_if_interrupted(runs, outcome)
    ranked = found.ranked(search.trials())
    has_best = found.write(ranked, sys.argv)
    show(found.table(ranked), legend=False)
    print(f"every trial: {found.folder / RECORD}")
    if not has_best:
        print("camal-rl: no trial was completed", file=sys.stderr)
        raise typer.Exit(max((failure.exit_code for failure in failures), default=RunFailure.exit_code))
    print(f"the best settings: {found.folder / BEST}")

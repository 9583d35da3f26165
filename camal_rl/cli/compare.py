"""``camal-rl compare``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camal_rl.cli.arguments import ConfigName, Overrides, ShowProgress, Trust
from camal_rl.cli.errors import checking_input
from camal_rl.runs.stopping import exit_code

if TYPE_CHECKING:
    from camal_rl.comparison.local import OnProgress, Outcome
    from camal_rl.comparison.plan import PlannedRun


def compare(
    config: ConfigName,
    overrides: Overrides = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: ppo (image classifiers: vanilla, ifam), camal, a peer's loss on maps (energy, l1, "
            "ppce, rrr, mse), a term (drac, ucb_drac, background_mix, sgqn, sgfd), objects only (object_mask, "
            "binary_mask, class_mask), several (camal+drac), or your own (package.module:name). "
            "By default ppo,camal or vanilla,camal."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each method.")] = 3,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time, one thread each; by default one for each core.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default runs/<name>/compare.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the folder's comparison, which must be there; agents' training may be longer."
        ),
    ] = False,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Train and evaluate methods over seeds; write a table, statistics and plots.

    Runs that the folder already holds are used again if they are finished, and go on from their newest checkpoint if
    they are not.

    For example:

      camal-rl compare toy_grid --seeds 5 --jobs 2

      camal-rl compare procgen/starpilot --methods ppo,camal,energy --seeds 3 total_timesteps=500000

      camal-rl compare supervised/spurious_shapes --methods vanilla,camal,energy,ifam --seeds 5 --jobs 2

      camal-rl compare toy_grid --seeds 5 --jobs 2 total_timesteps=262144 --resume
    """
    with checking_input(config, overrides):
        from camal_rl.atomic import explained
        from camal_rl.comparison.plan import check_runs, plan_runs
        from camal_rl.runs.folders import check_new_folder
        from camal_rl.runs.loading import load_config
        from camal_rl.runs.lock import locked

        settings = load_config(config, overrides or ())
        chosen = methods if methods is not None else f"{settings.baseline},camal"
        folder = out if out is not None else Path("runs") / settings.experiment_name / "compare"
        names = [name.strip() for name in chosen.split(",") if name.strip()]
        runs = plan_runs(settings, names, seeds, folder, resume, trust)
        check_new_folder(folder)
        check_runs(runs)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "comparison"):
        _compare(runs, folder, jobs if jobs is not None else os.cpu_count() or 1, progress)


def _compare(runs: Sequence[PlannedRun], folder: Path, jobs: int, progress: bool | None) -> None:
    failures, signal = _execute(runs, jobs, progress)
    unfinished = [run for index, run in enumerate(runs) if index not in failures and not run.is_finished()]
    if signal is not None and unfinished:
        told = f"interrupted with {len(unfinished)} of {len(runs)} runs to do; the same command goes on"
        print(told, file=sys.stderr)
        raise typer.Exit(exit_code(signal))
    # The first method stays the one that the others are compared with.
    order = list(dict.fromkeys(planned.method for planned in runs))
    finished = [planned for index, planned in enumerate(runs) if index not in failures]
    finished.sort(key=lambda planned: order.index(planned.method))
    if finished:
        _report(finished, folder)
    for index, failure in sorted(failures.items()):
        print(f"camal-rl: {runs[index].label} failed and is left out: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures.values()))


def _execute(runs: Sequence[PlannedRun], jobs: int, progress: bool | None) -> Outcome:
    from camal_rl.cli.progress import Mode, mode, progress_bar
    from camal_rl.comparison.local import execute_runs

    how = mode(progress)
    if how is not Mode.BAR:
        return execute_runs(runs, jobs, sys.argv, _lines(runs) if how is Mode.LINES else _silent, _tell)
    with progress_bar(percent=True) as bar:
        whole = bar.add_task(f"{len(runs)} runs", total=len(runs))
        tasks = [bar.add_task(planned.label, total=1.0, visible=False) for planned in runs]
        shares = [0.0] * len(runs)

        def on_progress(index: int, share: float, activity: str) -> None:
            shares[index] = share
            description = f"{runs[index].label}: {activity.partition(',')[0]}"
            bar.update(tasks[index], completed=share, description=description, visible=share < 1)
            bar.update(whole, completed=sum(shares))

        return execute_runs(runs, jobs, sys.argv, on_progress, _tell)


def _silent(index: int, share: float, activity: str) -> None:
    """Show no progress."""


def _tell(line: str) -> None:
    print(f"camal-rl: {line}", file=sys.stderr)


def _lines(runs: Sequence[PlannedRun]) -> OnProgress:
    """Return what writes a line now and then: how much is done, and what every unfinished run does."""
    from camal_rl.cli.progress import Ticker, write_line

    ticker, shares, doing = Ticker(), [0.0] * len(runs), [""] * len(runs)

    def on_progress(index: int, share: float, activity: str) -> None:
        shares[index], doing[index] = share, activity
        whole = sum(shares) / len(runs)
        if ticker.due(whole):
            busy = [f"{runs[place].label} {what}" for place, what in enumerate(doing) if what and shares[place] < 1]
            told = [f"{whole:.0%} of {len(runs)} runs", ticker.left(whole)]
            write_line("; ".join([", ".join(part for part in told if part), *busy]))

    return on_progress


def _report(runs: Sequence[PlannedRun], folder: Path) -> None:
    from camal_rl.atomic import write_text
    from camal_rl.cli.console import say, show
    from camal_rl.comparison.comparison_file import comparison_json, comparison_markdown, comparison_table
    from camal_rl.comparison.findings import findings
    from camal_rl.comparison.groups import planned_group
    from camal_rl.comparison.plots import write_plots
    from camal_rl.comparison.results.sources import comparison_text

    group = planned_group(runs)
    write_text(folder / "comparison.json", comparison_text(comparison_json(group)))
    write_text(folder / "comparison.md", comparison_markdown(group))
    pictures = write_plots(group, folder / "figures")
    show(comparison_table(group))
    for paragraph in findings(group):
        print()
        say(paragraph)
    print(f"\ntable: {folder / 'comparison.md'}\nfigures as JSON: {folder / 'comparison.json'}")
    print(f"TensorBoard: tensorboard --logdir {folder}\none page with everything: camal-rl report {folder}")
    print("\n".join(f"picture: {path}" for path in pictures))

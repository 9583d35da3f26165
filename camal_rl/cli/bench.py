"""``camal-rl bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camal_rl.cli.arguments import ConfigName, Overrides, ShowProgress
from camal_rl.cli.errors import checking_input

if TYPE_CHECKING:
    from camal_rl.agents import PPOWithTerms
    from camal_rl.comparison.table import Table
    from camal_rl.rl.bench import BenchPlan


def bench(
    config: ConfigName,
    overrides: Overrides = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=1, help="Rounds, each a rollout and its update, to measure steps/s on; the split takes as many again."
        ),
    ] = 3,
    peer: Annotated[
        bool,
        typer.Option("--peer/--no-peer", help="Also measure the same configuration with weight 0, in alternation."),
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write, replacing an earlier one; by default none.")
    ] = None,
    progress: ShowProgress = None,
) -> None:
    """Measure the training speed of a configuration on this machine, and where the time goes.

    Trains for a few rounds after a warm-up round and discards the result. The split is measured in separate rounds.

    For example:

      camal-rl bench toy_grid

      camal-rl bench procgen/starpilot policy.encoder=impala --rounds 5 --out starpilot.json

      camal-rl bench mine.yaml device=cpu threads=4 --no-peer
    """
    plan, model = _prepare(config, overrides or (), rounds, peer, out)
    found = _measure(plan, model, progress)
    _print(found)
    if out is not None:
        from camal_rl.runs.json_files import write_json

        write_json(out, found)
        print(f"figures: {out}")


def _prepare(
    config: str, overrides: Sequence[str], rounds: int, peer: bool, out: Path | None
) -> tuple[BenchPlan, PPOWithTerms]:
    with checking_input(config, overrides):
        from camal_rl.rl.bench import BenchPlan, make_agent
        from camal_rl.rl.config import agent_config
        from camal_rl.runs.loading import load_config

        settings = agent_config(load_config(config, overrides))
        if out is not None:
            _check_out(out)
        return BenchPlan(settings, rounds, peer), make_agent(settings)


def _measure(plan: BenchPlan, model: PPOWithTerms, progress: bool | None) -> dict[str, Any]:
    from camal_rl.cli.progress import stages_shown
    from camal_rl.rl.bench import measure

    with stages_shown(plan.total_rounds, progress, "rounds") as on_round:
        return measure(plan, model, on_round)


def _check_out(out: Path) -> None:
    from camal_rl.runs.folders import check_writable

    if out.suffix != ".json":
        raise ValueError(f"--out must be a file name ending in .json, got {out}")
    if out.is_dir():
        raise ValueError(f"{out} is a folder; --out must be a file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} for {out.name}; create it")
    check_writable(out)


def _print(found: dict[str, Any]) -> None:
    from camal_rl.cli.console import show

    show(speed_table(found), split_table(found["split"]), legend=False)
    memory = [
        f"{words} {found['peak_memory_mib'][kind]:,.0f} MiB"
        for kind, words in (("process", "this process"), ("cuda", "torch on the GPU"))
        if found["peak_memory_mib"][kind] is not None
    ]
    name = found["device_name"]
    print(f"peak memory: {', '.join(memory) or 'unknown'}")
    print(
        f"device: {found['device']}{f' ({name})' if name else ''}, encoder in {found['precision']}, "
        f"{found['threads']} torch thread{'s' * (found['threads'] != 1)}"
    )
    print("versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))


def speed_table(found: dict[str, Any]) -> Table:
    """Return steps per second of the configuration, and of the same configuration with weight 0."""
    from camal_rl.comparison.number_words import counted
    from camal_rl.comparison.table import table_of

    config, peer = found["config"], found["weight_0"]
    kinds = ("median", "min", "max")
    measured = [(f"steps/s, camal.weight {config['camal']['weight']:g}", found["steps_per_second"], ",.0f")]
    if peer is not None:
        measured.append(("steps/s, camal.weight 0", peer["steps_per_second"], ",.0f"))
        measured.append(("ratio, round by round", peer["agent_over_it"], ".3f"))
    rows = [[words, *(format(values[kind], form) for kind in kinds)] for words, values, form in measured]
    rounds = counted(len(found["steps_per_second"]["rounds"]), "round")
    title = f"{config['env']['id']}, {config['policy']['encoder']}: {rounds} of {found['steps_per_round']:,} steps"
    return table_of(title, ["training speed"], kinds, rows)


def split_table(split: dict[str, Any]) -> Table:
    """Return the time of each section of a round, as a share and per 1,000 steps."""
    from camal_rl.comparison.table import table_of
    from camal_rl.rl.bench import SECTIONS

    rows = [
        [SECTIONS[name], f"{row['share']:.1%}", f"{row['ms_per_1000_steps']:,.2f}"]
        for name, row in split["sections"].items()
    ]
    rows.append(["all", "100.0%", f"{1e6 * split['seconds'] / split['steps']:,.2f}"])
    return table_of("Where the time goes", ["section"], ["share", "ms per 1,000 steps"], rows, split["note"])

"""``python -m tests.endurance``: run hundreds of attacks with a seed and print their outcomes."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.endurance.cluster import killed_machines
from tests.endurance.files import damaged_checkpoints, damaged_models, damaged_results
from tests.endurance.full_disk import full_disks
from tests.endurance.grid import interrupted_grid
from tests.endurance.kills import KINDS, KillTest
from tests.endurance.settings import drawn_commands, drawn_configurations


def kills(arguments: argparse.Namespace, folder: Path) -> int:
    """Kill training runs; return how many had a problem."""
    test, bad = KillTest(arguments.kind, folder, arguments.seed), 0
    print(f"{arguments.kind}: a training run takes {test.seconds:.0f} s", flush=True)
    wanted = [(signal.SIGKILL, arguments.sigkill), (signal.SIGTERM, arguments.sigterm)]
    numbers = iter(range(arguments.sigkill + arguments.sigterm))
    for by, count in wanted:
        for _ in range(count):
            number = next(numbers)
            outcome = test.run(number, 1 + number % 2, by)
            bad += bool(outcome.problems)
            told = "; ".join(outcome.problems) or "equal to the undisturbed run"
            print(f"{number} {by.name} exit codes {outcome.codes}, lost {outcome.lost} steps: {told}", flush=True)
    return bad


ATTACKS: dict[str, tuple[Callable[[Path, int, int], list[str]], int]] = {
    "checkpoints": (damaged_checkpoints, 200),
    "models": (damaged_models, 200),
    "results": (damaged_results, 100),
    "configurations": (drawn_configurations, 5000),
    "commands": (drawn_commands, 500),
    "disk": (full_disks, 10),
    "cluster": (killed_machines, 3),
    "grid": (interrupted_grid, 8),
}
"""Attacks by name, with default counts. An attack takes a folder, a count and a seed, and returns the problems."""


def main() -> None:
    """Run one attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty folder that keeps the runs; by default they are deleted")
    parsers = parser.add_subparsers(dest="command", required=True)
    killing = parsers.add_parser("kills", help=kills.__doc__)
    killing.add_argument("kind", choices=KINDS)
    killing.add_argument("--sigkill", type=int, default=20)
    killing.add_argument("--sigterm", type=int, default=10)
    for name, (attack, count) in ATTACKS.items():
        parsers.add_parser(name, help=(attack.__doc__ or "").partition("\n")[0]).add_argument(
            "--count", type=int, default=count
        )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.command == "kills":
            bad = kills(arguments, folder)
        else:
            problems = ATTACKS[arguments.command][0](folder, arguments.count, arguments.seed)
            print("\n".join([*problems, f"{arguments.count} attempts"]), flush=True)
            bad = len(problems)
    print("no problems" if not bad else f"{bad} with problems")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

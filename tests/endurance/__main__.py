"""``python -m tests.endurance``: attacks by the hundred, with a seed, and what came of them."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.endurance.kills import KINDS, KillTest


def kills(arguments: argparse.Namespace, folder: Path) -> int:
    """Kill trainings; return how many had a problem."""
    test, bad = KillTest(arguments.kind, folder, arguments.seed), 0
    print(f"{arguments.kind}: a training takes {test.seconds:.0f} s", flush=True)
    wanted = [(signal.SIGKILL, arguments.sigkill), (signal.SIGTERM, arguments.sigterm)]
    numbers = iter(range(arguments.sigkill + arguments.sigterm))
    for by, count in wanted:
        for _ in range(count):
            number = next(numbers)
            outcome = test.run(number, 1 + number % 2, by)
            bad += bool(outcome.problems)
            told = "; ".join(outcome.problems) or "equal to the training that was left alone"
            print(f"{number} {by.name} exit codes {outcome.codes}, lost {outcome.lost} steps: {told}", flush=True)
    return bad


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], int]] = {"kills": kills}


def main() -> None:
    """Run one attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty folder for the runs, which stay; by default they go")
    commands = parser.add_subparsers(dest="command", required=True)
    killing = commands.add_parser("kills", help=kills.__doc__)
    killing.add_argument("kind", choices=KINDS)
    killing.add_argument("--sigkill", type=int, default=20)
    killing.add_argument("--sigterm", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bad = COMMANDS[arguments.command](arguments, arguments.folder or Path(temporary))
    print("no problems" if not bad else f"{bad} with problems")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

"""``python -m tests.endurance``: attacks by the hundred, with a seed, and what came of them."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.endurance.files import damaged_checkpoints, damaged_models, damaged_results
from tests.endurance.full_disk import full_disks
from tests.endurance.kills import KINDS, KillTest
from tests.endurance.settings import drawn_commands, drawn_configurations


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


def checkpoints(arguments: argparse.Namespace, folder: Path) -> int:
    """Damage checkpoints; return how many were read wrongly, or ended in a traceback."""
    return _told(damaged_checkpoints(folder, arguments.count, arguments.seed), arguments.count)


def models(arguments: argparse.Namespace, folder: Path) -> int:
    """Damage model files; return how many were read wrongly, or ended in a traceback."""
    return _told(damaged_models(folder, arguments.count, arguments.seed), arguments.count)


def results(arguments: argparse.Namespace, folder: Path) -> int:
    """Damage what reports read; return how many were read without a word, or ended in a traceback."""
    return _told(damaged_results(folder, arguments.count, arguments.seed), arguments.count)


def configurations(arguments: argparse.Namespace, folder: Path) -> int:
    """Train with drawn settings; return how many ended in a traceback, or left half a run folder."""
    return _told(drawn_configurations(folder, arguments.count, arguments.seed), arguments.count)


def commands(arguments: argparse.Namespace, folder: Path) -> int:
    """Run drawn command lines; return how many ended in a traceback."""
    return _told(drawn_commands(folder, arguments.count, arguments.seed), arguments.count)


def disk(arguments: argparse.Namespace, folder: Path) -> int:
    """Train on a disk that is full after a while; return how many could not be resumed."""
    return _told(full_disks(folder, arguments.count, arguments.seed), arguments.count)


def _told(problems: list[str], count: int) -> int:
    print("\n".join([*problems, f"{count} tried"]), flush=True)
    return len(problems)


COUNTS = {checkpoints: 200, models: 200, results: 100, configurations: 5000, commands: 500, disk: 10}
COMMANDS: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "kills": kills,
    **{each.__name__: each for each in COUNTS},
}


def main() -> None:
    """Run one attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty folder for the runs, which stay; by default they go")
    parsers = parser.add_subparsers(dest="command", required=True)
    killing = parsers.add_parser("kills", help=kills.__doc__)
    killing.add_argument("kind", choices=KINDS)
    killing.add_argument("--sigkill", type=int, default=20)
    killing.add_argument("--sigterm", type=int, default=10)
    for each, count in COUNTS.items():
        parsers.add_parser(each.__name__, help=each.__doc__).add_argument("--count", type=int, default=count)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bad = COMMANDS[arguments.command](arguments, arguments.folder or Path(temporary))
    print("no problems" if not bad else f"{bad} with problems")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

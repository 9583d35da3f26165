"""Train on a file system that fills up, then resume from the checkpoints that are complete."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from camal_rl.runs.checkpoints import checkpoint_folders, newest_checkpoint
from tests.endurance.files import SETTINGS

_MEGABYTES = 64


def full_disks(folder: Path, count: int, seed: int) -> list[str]:
    """Fill a small file system during training, free space, resume; return the problems.

    The file system is in memory, and only the training process sees it (``unshare``: a mount in its own name space).

    Raises:
        RuntimeError: this user may not mount file systems.
    """
    generator, problems = random.Random(seed), []
    whole = _train(folder / "whole", None)
    if whole:
        raise RuntimeError(f"training on a small file system in memory is not possible here: {whole}")
    for number in range(count):
        told = _train(folder / f"run{number}", generator.uniform(0.2, 2.5))
        problems += [f"{number}: {told}"] if told else []
    return problems


def _train(place: Path, room: float | None) -> str | None:
    """Train in a file system, free space, resume; return the problem.

    Args:
        place: folder on which the file system is mounted.
        room: free space in units of 0.4 of a run's size; ``None`` leaves the whole file system free.
    """
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.endurance.full_disk", str(place), str(-1 if room is None else room)]
    done = subprocess.run(["unshare", "--mount", *command], capture_output=True, text=True, check=False)
    print(done.stdout.replace(str(place), "..."), end="", flush=True)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


def _within(place: Path, room: float) -> str | None:
    """Mount the file system, train and resume; runs in a name space of its own."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "none", str(place)], check=True)
    run, ballast = place / "run", place / "ballast"
    line = [sys.executable, "-m", "camal_rl.cli.main", *SETTINGS, "--run-dir", str(run), "--no-progress"]
    if room >= 0:
        # The first checkpoints fit, but a later checkpoint or the model does not.
        size = (_MEGABYTES - _needed(line, place) * room / 2.5) * 2**20
        ballast.write_bytes(bytes(max(0, int(size))))
    first = subprocess.run(line, capture_output=True, text=True, check=False)
    if "Traceback" in first.stderr or first.returncode not in (0, 2):
        return f"exit code {first.returncode}: {first.stderr}"
    told = [each for each in first.stderr.splitlines() if "cannot be written" in each or "cannot write" in each]
    if room >= 0 and first.returncode == 2 and not told:
        return f"no message says that the disk is full: {first.stderr}"
    for _, path in checkpoint_folders(run / "checkpoints"):
        if newest_checkpoint(path.parent) is None:
            return "no checkpoint can be read although there is one"
    ballast.unlink(missing_ok=True)
    if first.returncode == 0:
        return None
    second = subprocess.run([*line, "--resume"], capture_output=True, text=True, check=False)
    print(*told, second.stderr.strip().splitlines()[-1:], sep="\n")
    return None if second.returncode == 0 else f"the run cannot be resumed: {second.stderr}"


def _needed(line: list[str], place: Path) -> float:
    """Return the size in megabytes of a complete run."""
    other = place / "measured"
    again = [*line[:-3], "--run-dir", str(other), "--no-progress"]
    subprocess.run(again, capture_output=True, check=True)
    size = sum(file.stat().st_size for file in other.rglob("*") if file.is_file())
    subprocess.run(["rm", "-r", str(other)], check=True)
    return size / 2**20


if __name__ == "__main__":
    problem = _within(Path(sys.argv[1]), float(sys.argv[2]))
    if problem is not None:
        sys.exit(problem)

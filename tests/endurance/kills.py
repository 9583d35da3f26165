"""Kill training runs at random moments, resume them, and compare the results with an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from camal_rl.atomic import PARTIAL
from camal_rl.runs.checkpoints import checkpoint_folders, newest_checkpoint
from camal_rl.runs.event_files import event_files, read_records

_SMALL_AGENT = (
    *("policy.encoder=nature", "policy.precision=float32", "device=cpu", "threads=1", "algorithm.n_epochs=2"),
    *("log.overlay_every=0", "log.held_out_every=0", "evaluation.episodes=4", "evaluation.frames=8"),
    *("evaluation.num_envs=2", "env.num_envs=8", "algorithm.n_steps=16", "algorithm.batch_size=64"),
    "log.checkpoint_every=128",
)
_IN_WRITING = 3
"""In every third run, the kill waits until a checkpoint is being written."""
_LIMIT = 600.0
_HAS_ENDED = "is finished; there is nothing to resume"
"""Message of resuming a run that was killed after its last file was written."""


@dataclass(frozen=True)
class Kind:
    """A kind of training that is killed.

    Attributes:
        command: arguments of ``camal-rl``, without the folder.
        folder_option: the option that names the folder.
        resumes: arguments that are added to resume.
        interval: largest number of training steps that a kill may lose: those between checkpoints and those of a
            rollout.
        runs: the run folders within the folder; ``.`` if the folder is a single run.
    """

    command: tuple[str, ...]
    folder_option: str = "--run-dir"
    resumes: tuple[str, ...] = ("--resume",)
    interval: int = 256
    runs: tuple[str, ...] = (".",)


KINDS = {
    "toy_grid": Kind(("train", "toy_grid", *_SMALL_AGENT, "total_timesteps=2560")),
    "procgen": Kind(("train", "procgen/starpilot", *_SMALL_AGENT, "total_timesteps=1280")),
    "minigrid": Kind(("train", "minigrid/door_key", *_SMALL_AGENT, "total_timesteps=1280")),
    "crafter": Kind(("train", "crafter", *_SMALL_AGENT, "total_timesteps=1280")),
    "fit": Kind(
        (
            *("fit", "supervised/spurious_shapes", "data.image_size=32", "device=cpu", "threads=1", "log.images=16"),
            *("optimization.epochs=10", "optimization.batch_size=16", "log.checkpoint_every=1", "log.every=2"),
            *("data.options.train_length=96", "data.options.validation_length=32", "data.options.test_length=32"),
        ),
        interval=6,
    ),
    "compare": Kind(
        ("compare", "toy_grid", *_SMALL_AGENT, "total_timesteps=1280", "--methods", "ppo,camal", "--seeds", "1"),
        folder_option="--out",
        resumes=(),
        runs=("ppo-seed0", "camal-seed0"),
    ),
}


@dataclass
class Outcome:
    """The outcome of one training run that was killed.

    Attributes:
        codes: exit codes, one per process.
        lost: the largest number of steps that were logged but are in no checkpoint.
        problems: descriptions of everything that is wrong.
    """

    codes: list[int] = field(default_factory=list)
    lost: int = 0
    problems: list[str] = field(default_factory=list)


class KillTest:
    """Trains one kind repeatedly in a folder, with its own home and temporary folders.

    Args:
        kind: a name of :data:`KINDS`.
        folder: folder of all runs.
        seed: seed of the moments of the kills.
    """

    def __init__(self, kind: str, folder: Path, seed: int) -> None:
        self.kind, self.folder, self.random = KINDS[kind], folder, random.Random(seed)
        self.home, self.temporary = folder / "home", folder / "tmp"
        for each in (self.home, self.temporary):
            each.mkdir(parents=True, exist_ok=True)
        self.mark = f"ENDURANCE={uuid.uuid4()}"
        started = time.monotonic()
        process = self._start(folder / "whole")
        code = process.wait(_LIMIT)
        self.seconds = time.monotonic() - started
        if code:
            raise RuntimeError(f"{self.kind.command} ended with {code}: {process.stderr.read()}")  # type: ignore[union-attr]

    def run(self, number: int, kills: int, by: signal.Signals) -> Outcome:
        """Kill one training run ``kills`` times, resume it to the end, and return the outcome."""
        folder, outcome = self.folder / f"run{number}", Outcome()
        for attempt in range(kills + 1):
            process = self._start(folder, *(self.kind.resumes if attempt else ()))
            if attempt < kills and self._killed(process, folder, by, in_writing=number % _IN_WRITING == 0):
                outcome.lost = max(outcome.lost, self._lost(folder, outcome))
            else:
                process.wait(_LIMIT)
            errors = process.stderr.read() if process.stderr is not None else ""
            outcome.codes.append(process.returncode)
            if "Traceback" in errors:
                outcome.problems.append(errors)
            self._check_left_behind(outcome)
            if process.returncode == 0 or _HAS_ENDED in errors:
                break
            if process.returncode not in (-by, 128 + by):
                outcome.problems.append(f"exit code {process.returncode}: {errors}")
        if outcome.codes[-1] in (0, 2):
            self._compare(folder, outcome)
        return outcome

    def _start(self, folder: Path, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "camal_rl.cli.main", *self.kind.command, *more]
        name, value = self.mark.split("=")
        environment = {**os.environ, "HOME": str(self.home), "TMPDIR": str(self.temporary), name: value}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [*command, self.kind.folder_option, str(folder), "--no-progress"],
            cwd=self.home,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _killed(self, process: subprocess.Popen[str], folder: Path, by: signal.Signals, in_writing: bool) -> bool:
        """Send the signal at a random moment, unless the process ends first; return whether it was sent."""
        moment = time.monotonic() + self.random.uniform(0.1, 1.0) * self.seconds
        while process.poll() is None:
            if time.monotonic() >= moment and (not in_writing or _is_writing(folder)):
                process.send_signal(by)
                process.wait(_LIMIT)
                return True
            time.sleep(0.001 if in_writing else 0.01)
        return False

    def _lost(self, folder: Path, outcome: Outcome) -> int:
        """Return how many logged steps are in no checkpoint; more than an interval is a problem."""
        lost = 0
        for run in (folder / name for name in self.kind.runs):
            kept = max((step for step, _ in checkpoint_folders(run / "checkpoints")), default=0)
            logged = [event.step for file in event_files(run) for _, event in read_records(file)[0]]
            lost = max(lost, max(logged, default=0) - kept)
        if lost > self.kind.interval:
            outcome.problems.append(f"{lost} steps are lost, more than {self.kind.interval}")
        return lost

    def _check_left_behind(self, outcome: Outcome) -> None:
        """Add processes, and files outside the run folder, that are left behind to the problems."""
        end = time.monotonic() + 20
        while (alive := _processes(self.mark)) and time.monotonic() < end:
            time.sleep(0.05)
        outcome.problems += [f"process {each} is left" for each in alive]
        for place in (self.home, self.temporary):
            # Caches of matplotlib and torch have the same name in every process and may stay.
            known = (".cache", ".config", "torchinductor_")
            left = [path for path in place.iterdir() if not path.name.startswith(known)]
            outcome.problems += [f"{path} is left" for path in left]

    def _compare(self, folder: Path, outcome: Outcome) -> None:
        for name in self.kind.runs:
            run, whole = folder / name, self.folder / "whole" / name
            newest, expected = (newest_checkpoint(each / "checkpoints") for each in (run, whole))
            if newest is None or expected is None or newest.step != expected.step:
                outcome.problems.append(f"{run} did not reach its end")
                continue
            for file in sorted(expected.path.glob("*.safetensors")):
                outcome.problems += _different(file, newest.path / file.name)
            if _scalars(run) != _scalars(whole):
                outcome.problems.append(f"the event files of {run} differ from the undisturbed run's")
            left = list(run.rglob(f"{PARTIAL}*"))
            outcome.problems += [f"{path} is left" for path in left]


def _is_writing(folder: Path) -> bool:
    return any(folder.rglob(f"checkpoints/{PARTIAL}*"))


def _different(expected: Path, found: Path) -> list[str]:
    first, second = load_file(str(expected)), load_file(str(found))
    if first.keys() != second.keys():
        return [f"{found} contains other tensors"]
    # `fit` does not use NumPy's global generator, so its state may differ.
    names = [name for name in first if not (expected.stem == "random" and ".numpy." in name)]
    unlike = [name for name in names if not torch.equal(first[name], second[name])]
    return [f"{len(unlike)} of {len(names)} tensors of {found} differ, {unlike[0]} the first"] if unlike else []


def _scalars(run: Path) -> list[tuple[int, str, float]]:
    """Return (step, tag, value) of the scalars in the event files, except times and hyperparameters."""
    found = []
    for file in event_files(run / "tensorboard"):
        for _, event in read_records(file)[0]:
            found += [
                (
                    event.step,
                    value.tag,
                    float(value.tensor.float_val[0]) if value.tensor.float_val else value.simple_value,
                )
                for value in event.summary.value
                if not value.tag.startswith(("time/", "_hparams_", "hparams"))
            ]
    return sorted(found)


def _processes(mark: str) -> list[int]:
    """Return the ids of the processes whose environment contains a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return found

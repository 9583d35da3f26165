"""Claim: simulators leave neither processes nor files behind, no matter how the training process ends.

Each program runs in an empty working directory with its own temporary folder. A *cycle* steps a vectorized environment;
half of the cycles close it, half end without closing. A *kill* hits ``camal-rl train`` at a random moment, also while
simulators are starting: SIGKILL to the training process, SIGKILL to its process group, or SIGINT to the group (Ctrl-C).
The program counts what is left some time later: processes (recognized by an inherited environment variable), files in
the working directory (except the run folder) and in the temporary folder, and shared memory in /dev/shm (by name).

    python benchmarks/lifecycle.py                    # ViZDoom, benchmarks/results/vizdoom_lifecycle.json
    python benchmarks/lifecycle.py --family atari
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camal_rl.envs import env_ids
from camal_rl.runs.provenance import program_provenance

MARK = "CAMAL_RL_LIFECYCLE"
SHARED_MEMORY = Path("/dev/shm")
# ViZDoom's names of shared memory end in this many letters, which also occur in its engine's arguments.
INSTANCE_LENGTH = 10
SHARED_PREFIXES = {"vizdoom": ("ViZDoom",)}
PATIENCE_SECONDS = 60.0
KILLS = ("SIGKILL", "SIGKILL group", "SIGINT group")

CONFIGS = {
    "vizdoom": "vizdoom/basic",
    "atari": "atari/freeway",
    "crafter": "crafter",
    "dm_control": "dm_control",
}
DEFAULTS = {
    "vizdoom": "vizdoom/Basic",
    "atari": "atari/Freeway",
    "crafter": "crafter/Reward",
    "dm_control": "dm_control/cartpole-swingup",
}
RUN_FOLDER = "run"
# PyTorch creates this folder at a program's first optimizer step; all programs of a user share it.
TORCH_CACHE = "torchinductor_"

STEPS = """
import sys
import numpy as np
from camal_rl.envs import make_vec

env_id, end = sys.argv[1], sys.argv[5]
num_envs, subproc, steps = int(sys.argv[2]), sys.argv[3] == "true", int(sys.argv[4])
if __name__ == "__main__":
    print("starting", flush=True)
    venv = make_vec(env_id, num_envs, 0, subproc=subproc)
    venv.reset()
    venv.action_space.seed(0)
    for _ in range(steps):
        venv.step(np.stack([venv.action_space.sample() for _ in range(num_envs)]))
    if end == "close":
        venv.close()
"""

TRAINING = """
import signal
import sys
from camal_rl.cli.main import main

# A program that was started in the background inherits an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    print("starting", flush=True)
    main()
"""


@dataclass(frozen=True)
class Trial:
    """One program and what it left behind.

    Attributes:
        end: how the program ended: ``close``, ``exit`` (without closing), or a kill.
        subproc: whether each environment had its own process.
        seconds: from the start of the simulators to the kill; ``None`` without a kill.
        run_folder: whether the run folder existed at the end.
        returncode: the program's exit status.
        clean_after: seconds from the program's end until nothing was left; ``None`` if something stayed.
        processes: number of processes left.
        files: files left, by place.
    """

    end: str
    subproc: bool
    seconds: float | None
    run_folder: bool
    returncode: int
    clean_after: float | None
    processes: int
    files: dict[str, list[str]]


def marked_processes(token: str) -> list[int]:
    """Return the ids of the running processes that inherited a token."""
    return [pid for pid, environment, _ in processes() if f"{MARK}={token}".encode() in environment]


def processes() -> Iterator[tuple[int, list[bytes], bytes]]:
    """Yield id, environment and command line of every process that this user may inspect."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "environ").read_bytes().split(b"\0"), (folder / "cmdline").read_bytes()
        except OSError:
            continue


class Places:
    """The places where a program can leave files; what is there at the start does not count."""

    def __init__(self, folder: Path, token: str, prefixes: tuple[str, ...]) -> None:
        self.working, self.temporary = folder / "working", folder / "temporary"
        self.working.mkdir()
        self.temporary.mkdir()
        self._token = f"{MARK}={token}".encode()
        self._prefixes = prefixes
        self._before = self._shared()

    def _shared(self) -> set[str]:
        return {path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith(self._prefixes)}

    def _new_shared(self) -> list[str]:
        """Return the new names, except those that occur in the arguments of another program's process."""
        names = self._shared() - self._before
        others = b" ".join(line for _, environment, line in processes() if names and self._token not in environment)
        return sorted(name for name in names if name.encode()[-INSTANCE_LENGTH:] not in others)

    def left(self) -> dict[str, list[str]]:
        """Return the files left, by place; places without files are omitted."""
        places = {
            "working directory": [path for path in paths_below(self.working) if Path(path).parts[0] != RUN_FOLDER],
            "temporary folder": [path for path in paths_below(self.temporary) if not path.startswith(TORCH_CACHE)],
            "shared memory": self._new_shared(),
        }
        return {name: paths for name, paths in places.items() if paths}


def paths_below(folder: Path) -> list[str]:
    """Return the paths below a folder; other processes may remove files at the same time."""
    found = [Path(root, name) for root, folders, files in os.walk(folder) for name in (*folders, *files)]
    return [str(path.relative_to(folder)) for path in found]


def command(env_id: str, num_envs: int, subproc: bool, end: str, steps: int) -> tuple[str, list[str]]:
    """Return the program of one trial and its arguments."""
    own_processes = str(subproc).lower()
    if end not in KILLS:
        return STEPS, [env_id, str(num_envs), own_processes, str(steps), end]
    # Small minibatches make updates long enough for kills to hit them.
    sizes = [f"env.num_envs={num_envs}", "algorithm.n_steps=16", f"algorithm.batch_size={4 * num_envs}"]
    settings = [f"env.id={env_id}", f"env.options.subproc={own_processes}", *sizes]
    config = CONFIGS[env_id.partition("/")[0]]
    return TRAINING, ["train", config, *settings, "--run-dir", RUN_FOLDER, "--no-progress"]


def run_trial(env_id: str, num_envs: int, subproc: bool, end: str, steps: int, delay: float | None) -> Trial:
    """Run one program to its end and record what it leaves behind."""
    with tempfile.TemporaryDirectory() as folder:
        token = uuid.uuid4().hex
        places = Places(Path(folder), token, SHARED_PREFIXES.get(env_id.partition("/")[0], ()))
        program = Path(folder, "program.py")
        text, arguments = command(env_id, num_envs, subproc, end, steps)
        program.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            cwd=places.working,
            env={**os.environ, MARK: token, "TMPDIR": str(places.temporary), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if process.stdout is None or process.stdout.readline() != b"starting\n":
            raise RuntimeError("the program did not start; run it by hand to see why")
        if delay is not None:
            time.sleep(delay)
            if process.poll() is not None:
                raise RuntimeError(f"the training ended by itself with {process.returncode}; run it by hand to see why")
            kill(process, end)
        returncode = process.wait()
        trained = Path(places.working, RUN_FOLDER).exists()
        clean_after, left, files = wait_until_clean(token, places)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return Trial(end, subproc, delay, trained, returncode, clean_after, len(left), files)


def kill(process: subprocess.Popen[bytes], end: str) -> None:
    """Kill a program in one of the ways of :data:`KILLS`."""
    number = signal.SIGINT if end.startswith("SIGINT") else signal.SIGKILL
    if end.endswith("group"):
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def wait_until_clean(token: str, places: Places) -> tuple[float | None, list[int], dict[str, list[str]]]:
    """Return the seconds until nothing was left (``None`` if something stays), and the processes and files left."""
    start = time.monotonic()
    while True:
        left, files = marked_processes(token), places.left()
        waited = time.monotonic() - start
        if not left and not files:
            return round(waited, 2), left, files
        if waited > PATIENCE_SECONDS:
            return None, left, files
        time.sleep(0.05)


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Return the counts of a list of trials."""
    waits = [trial.clean_after for trial in trials if trial.clean_after is not None]
    return {
        "trials": len(trials),
        "by_end": {end: sum(trial.end == end for trial in trials) for end in sorted({each.end for each in trials})},
        "subproc": sum(trial.subproc for trial in trials),
        "with_processes_left": sum(trial.processes > 0 for trial in trials),
        "after_the_run_folder_was_made": sum(trial.run_folder for trial in trials),
        "with_files_left": sum(bool(trial.files) for trial in trials),
        "seconds_until_clean_max": max(waits, default=None),
    }


def main() -> None:
    """Run the trials and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="vizdoom")
    parser.add_argument("--env", help="environment id; by default one of the family")
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--num-envs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="steps of a program that is not killed")
    parser.add_argument("--latest", type=float, default=30.0, help="largest number of seconds from the start to a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ids = [env_id for env_id in env_ids() if env_id.startswith(f"{arguments.family}/")]
    if arguments.family not in CONFIGS or arguments.env not in (None, *ids):
        parser.error(
            f"the families are {', '.join(CONFIGS)}; environments of {arguments.family}: {', '.join(ids) or 'none'}"
        )
    env_id = arguments.env or DEFAULTS[arguments.family]
    draw = random.Random(arguments.seed)
    plan = [(("close", "exit")[index % 2], None) for index in range(arguments.cycles)]
    plan += [(KILLS[index % len(KILLS)], draw.uniform(0, arguments.latest)) for index in range(arguments.kills)]
    trials = []
    for index, (end, delay) in enumerate(plan):
        trials.append(run_trial(env_id, arguments.num_envs, index // 2 % 2 == 1, end, arguments.steps, delay))
        print(f"{index + 1:3} of {len(plan)}: {trials[-1]}", flush=True)
    report = {
        "provenance": program_provenance(),
        "env": env_id,
        "num_envs": arguments.num_envs,
        "cycles": summary(trials[: arguments.cycles]),
        "kills": summary(trials[arguments.cycles :]),
        "trials": [asdict(trial) for trial in trials],
    }
    out = arguments.out or Path(f"benchmarks/results/{arguments.family}_lifecycle.json")
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"cycles: {report['cycles']}\nkills: {report['kills']}\n{out}")


if __name__ == "__main__":
    main()

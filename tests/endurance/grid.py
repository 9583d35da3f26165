"""The kept comparison of all methods on the toy grid, made again on a Ray cluster while its processes are killed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from camal_rl.runs.json_files import read_json
from tests.endurance.cluster import CAMAL_RL, two_machines, under_way

KEPT = Path(__file__).resolve().parents[2] / "docs" / "results" / "files" / "toy_grid_methods.json"
_FIRST_KILL, _SECOND_KILL = 1 / 15, 1 / 6
"""The share of the runs that have finished when the command is killed, and when a machine is."""
_SECONDS_WITH_ONE_MACHINE = 60.0


def interrupted_grid(folder: Path, count: int, seed: int) -> list[str]:
    """Make the kept toy-grid comparison of all methods again, and compare each figure of each run exactly.

    It runs on a cluster of two machines. The command is killed with SIGKILL and given again with ``--resume``; later
    the second machine is killed, and a new one joins after a minute. The results are equal only on the same kind of
    processor. 120 runs take two hours and a quarter on two cores.

    Args:
        folder: gets the runs in ``toy_grid`` and the command's output in ``compare.log``.
        count: number of seeds of each method, at most as many as were kept.
        seed: not used, since the kept comparison's seeds are run.

    Returns:
        a line for each problem.
    """
    kept = read_json(KEPT)
    out, runs = folder / "toy_grid", len(kept["methods"]) * count
    folder.mkdir(parents=True, exist_ok=True)
    with two_machines() as (cluster, second), (folder / "compare.log").open("a") as log:
        command = [*_command(kept, out, count), "--backend", "ray", "--address", cluster.address]
        comparison = _start(command, log)
        try:
            _wait(comparison, out, round(_FIRST_KILL * runs))
            os.killpg(comparison.pid, signal.SIGKILL)
            comparison.wait()
            _say(out, "the command was killed")
            comparison = _start([*command, "--resume"], log)
            _wait(comparison, out, round(_SECOND_KILL * runs))
            cluster.remove_node(second, allow_graceful=False)
            _say(out, "the second machine was killed")
            time.sleep(_SECONDS_WITH_ONE_MACHINE)
            cluster.add_node(num_cpus=1)
            if code := comparison.wait():
                return [f"the command ended with exit code {code}, see {log.name}"]
        except RuntimeError as error:
            return [f"{error}, see {log.name}"]
        finally:
            comparison.kill()
    return differences(kept, out, count)


def differences(kept: Mapping[str, Any], out: Path, count: int) -> list[str]:
    """Return a line for each figure of each run that does not equal the kept one; print what was compared."""
    found = read_json(out / "comparison.json")["figures"]
    resumed = {path.parent.name: len(read_json(path).get("resumed", ())) for path in out.glob("*/provenance.json")}
    print(f"resumes from a checkpoint: {[name for name, times in sorted(resumed.items()) if times]}", flush=True)
    problems, compared = [], 0
    for name, method, seed, value in _values(kept, count):
        compared += 1
        other = found.get(name, {}).get(method, {}).get("seeds", {}).get(seed)
        if other != value:
            problems.append(f"{method} seed {seed}: {name} is {other}, kept {value}")
    print(f"{len(resumed)} runs, {compared} figures compared", flush=True)
    return problems if compared else ["there is nothing to compare"]


def _values(kept: Mapping[str, Any], count: int) -> Iterator[tuple[str, str, str, float]]:
    """Return each run's figures: name, method, seed, value."""
    for name, methods in kept["figures"].items():
        for method, figure in methods.items():
            for seed, value in figure["seeds"].items():
                if int(seed) < count:
                    yield name, method, seed, value


def _command(kept: Mapping[str, Any], out: Path, seeds: int) -> list[str]:
    """Return the command that made the kept comparison, with other seeds and another folder."""
    words = shlex.split(kept["provenance"][0]["command"])[1:]
    for flag in ("--jobs", "--out", "--seeds"):
        at = words.index(flag)
        del words[at : at + 2]
    return [*CAMAL_RL, *words, "--out", str(out), "--seeds", str(seeds), "--no-progress"]


def _start(command: list[str], log: Any) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, so that one signal reaches all its processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def _wait(comparison: subprocess.Popen[bytes], out: Path, finished: int) -> None:
    """Return when so many runs are finished and both machines train."""
    while _finished(out) < finished or under_way(out) < 2:
        if comparison.poll() is not None:
            raise RuntimeError(f"the command ended early, exit code {comparison.returncode}")
        time.sleep(0.2)


def _finished(out: Path) -> int:
    return len(list(out.glob("*-seed*/metrics.json")))


def _say(out: Path, what: str) -> None:
    print(f"{what}: {_finished(out)} runs finished, {under_way(out)} under way", flush=True)

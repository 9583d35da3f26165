"""A comparison on a Ray cluster whose second machine is killed must equal the same comparison on local processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camal_rl.comparison.ray_cluster import import_ray
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.json_files import read_json

_COMPARE = (
    *("compare", "toy_grid", "--methods", "ppo,camal", "--seeds", "2", "--no-progress", "policy.encoder=nature"),
    *("policy.precision=float32", "device=cpu", "algorithm.n_epochs=2", "env.num_envs=8", "algorithm.n_steps=16"),
    *("algorithm.batch_size=64", "total_timesteps=1280", "log.checkpoint_every=128", "log.overlay_every=0"),
    *("log.held_out_every=0", "evaluation.episodes=4", "evaluation.frames=8", "evaluation.num_envs=2"),
)
CAMAL_RL = (sys.executable, "-m", "camal_rl.cli.main")
_LIMIT = 1800.0
_MACHINES = 2


def killed_machines(folder: Path, count: int, seed: int) -> list[str]:
    """Kill one of two machines of a cluster at a random moment, ``count`` times; return the problems."""
    moments, problems = random.Random(seed), []
    whole = folder / "local"
    seconds = _Compare(whole, "--jobs", "2").wait_for_end()
    for number in range(count):
        out = folder / f"ray{number}"
        told = _with_a_killed_machine(out, moments.uniform(0.0, 0.2) * seconds)
        problems += [f"{number}: {problem}" for problem in (*told, *_different(whole, out))]
        starts = {path.parent.name: len(read_json(path).get("resumed", ())) for path in out.glob("*/provenance.json")}
        print(f"{number}: resumes from a checkpoint: {[name for name, again in starts.items() if again]}", flush=True)
    return problems


class _Compare:
    """A comparison in a process of its own."""

    def __init__(self, out: Path, *options: str) -> None:
        command = [*CAMAL_RL, *_COMPARE, "--out", str(out), *options]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_for_end(self) -> float:
        """Return the seconds that the comparison took.

        Raises:
            RuntimeError: it ended with an error.
        """
        _, errors = self.process.communicate(timeout=_LIMIT)
        if self.process.returncode or "Traceback" in errors:
            raise RuntimeError(f"exit code {self.process.returncode}: {errors}")
        for line in errors.splitlines():
            print(line, flush=True)
        return time.monotonic() - self.started


def _with_a_killed_machine(out: Path, seconds: float) -> list[str]:
    """Run the comparison on two machines; kill the second one ``seconds`` after both have a run with a checkpoint."""
    with two_machines() as (cluster, second):
        comparison = _Compare(out, "--backend", "ray", "--address", cluster.address)
        try:
            while comparison.process.poll() is None and under_way(out) < _MACHINES:
                time.sleep(0.05)
            time.sleep(seconds)
            cluster.remove_node(second, allow_graceful=False)
            comparison.wait_for_end()
        except RuntimeError as error:
            return [str(error)]
        finally:
            comparison.process.kill()
    return []


@contextmanager
def two_machines() -> Iterator[tuple[Any, Any]]:
    """Start a Ray cluster of two machines with one CPU each; yield the cluster and its second machine."""
    ray = import_ray()
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        os.environ |= {"RAY_TMPDIR": temporary, "RAY_raylet_start_wait_time_s": "300"}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            yield cluster, cluster.add_node(num_cpus=1)
        finally:
            ray.shutdown()
            cluster.shutdown()
            del os.environ["RAY_TMPDIR"]


def under_way(out: Path) -> int:
    """Return how many runs have a checkpoint and have not finished training."""
    folders = [path for path in out.glob("*-seed*") if checkpoint_folders(path / "checkpoints")]
    return sum(not (path / "train.json").exists() for path in folders)


def _different(expected: Path, found: Path) -> list[str]:
    """Return a line for each run whose results do not equal those of the local comparison exactly."""
    ours, theirs = (
        {path.parent.name: json.loads(path.read_text())["results"] for path in each.glob("*/metrics.json")}
        for each in (expected, found)
    )
    return [f"{found / name} has other results" for name in sorted(ours) if ours[name] != theirs.get(name)]

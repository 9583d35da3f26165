"""Claim: keeping freed memory makes PPO's update on images cheaper on a CPU.

Two processes take turns to run the same updates of CAMAL PPO on the toy grid; one of them calls ``keep_freed_memory``
first. The program prints the CPU seconds (user, system) of each and their ratio.

    python benchmarks/allocator.py
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from camal_rl.runs.provenance import program_provenance


def updates(keep: bool) -> tuple[float, float]:
    """Return user and system CPU seconds of two updates on a rollout of 4,096 frames with the compact encoder."""
    import torch

    from camal_rl.agents import CAMALPPO
    from camal_rl.envs import make_vec
    from camal_rl.runs.allocator import keep_freed_memory

    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    env = make_vec("toy_grid/default", num_envs=64, seed=0)
    model = CAMALPPO(
        "CamPolicy", env, n_steps=64, batch_size=2048, n_epochs=2, policy_kwargs={"encoder": "compact"}, seed=0
    )
    model.learn(64 * 64)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(2):
        model.train()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


def main() -> None:
    """Run the pairs and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "allocator.json")
    parser.add_argument("--child", choices=["keep", "default"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(updates(arguments.child == "keep")))
        return
    seconds: dict[str, list[tuple[float, float]]] = {"default": [], "keep": []}
    for _ in range(arguments.pairs):
        for name, measured in seconds.items():
            command = [sys.executable, __file__, "--child", name]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            measured.append(tuple(json.loads(output.splitlines()[-1])))
    medians = {name: [statistics.median(part) for part in zip(*runs, strict=True)] for name, runs in seconds.items()}
    ratio = sum(medians["default"]) / sum(medians["keep"])
    for name, (user, system) in medians.items():
        print(f"{name:8} user {user:6.2f} s  system {system:6.2f} s")
    print(f"CPU time default / keep: {ratio:.2f}")
    result = {**program_provenance(), "seconds_user_system": seconds, "ratio": ratio}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Claim: CAMAL costs next to nothing in training.

Agents of one encoder that differ only in the CAMAL term take turns to update their policies, in reversed order in every
other round: weight 0 (with masks, so that alignment is logged), CAMAL on every frame, CAMAL on a quarter of each
minibatch's frames, and weight 0 again, whose ratio shows the measurement error. Rollouts run the same code for all
agents and are timed separately. A ratio is the time of weight 0 divided by the agent's in the same round. It is given
for updates, and for training: the median rollout plus an update. Times are CPU times of the process over all threads,
which other programs disturb less than wall time (``--clock wall`` for a GPU or an idle machine).

    python benchmarks/training_cost.py                                 # about 15 minutes on 2 cores
    python benchmarks/training_cost.py --encoders compact --rounds 80
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from training_speed import add_training_arguments, hyperparameters

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import make_vec
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.provenance import program_provenance

BASE = "weight 0"
# Weight, share of frames.
AGENTS = {BASE: (0.0, 1.0), "CAMAL": (0.1, 1.0), "CAMAL, 1/4 of the frames": (0.1, 0.25), "weight 0 again": (0.0, 1.0)}
UPDATES_OF_A_ROLLOUT = 8
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}


class TimedPPO(CAMALPPO):
    """Records the time of its last update."""

    clock: ClassVar[Callable[[], float]] = time.process_time
    update_seconds = 0.0

    def train(self) -> None:
        """Update the policy."""
        start = TimedPPO.clock()
        super().train()
        self.update_seconds = TimedPPO.clock() - start


def agent(arguments: argparse.Namespace, encoder: str, weight: float, share: float) -> TimedPPO:
    """Return an agent whose rollout is, by default, one minibatch."""
    return TimedPPO(
        "CamPolicy",
        make_vec(arguments.env, arguments.num_envs, seed=0, segmentation="box"),
        camal=CamalConfig(weight=weight, frame_fraction=share, method=arguments.method),
        policy_kwargs={"encoder": encoder, "precision": arguments.precision},
        **hyperparameters(arguments),
    )


def measure(arguments: argparse.Namespace, encoder: str) -> dict[str, Any]:
    """Return the seconds of every update, by agent, and those of every rollout."""
    agents = {name: agent(arguments, encoder, *settings) for name, settings in AGENTS.items()}
    updates: dict[str, list[float]] = {name: [] for name in agents}
    rollouts: list[float] = []
    for index in range(arguments.rounds + 1):
        for name in list(agents)[:: -1 if index % 2 else 1]:
            model = agents[name]
            if index == 0 or index % UPDATES_OF_A_ROLLOUT == 1:
                start = TimedPPO.clock()
                model.learn(arguments.num_envs * arguments.n_steps, reset_num_timesteps=False)
                rollouts.append(TimedPPO.clock() - start - model.update_seconds)
            model.train()
            updates[name].append(model.update_seconds)
    # The first round warms up.
    return {"updates": {name: times[1:] for name, times in updates.items()}, "rollouts": rollouts[len(agents) :]}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles around it."""
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, low, high


def summary(seconds: dict[str, Any]) -> dict[str, Any]:
    """Return the time of weight 0 over that of every other agent, as median and quartiles of the rounds."""
    rollout = statistics.median(seconds["rollouts"])
    base = seconds["updates"][BASE]
    table: dict[str, Any] = {"rollout_seconds": rollout, "update_seconds": statistics.median(base)}
    for name in list(AGENTS)[1:]:
        pairs = list(zip(base, seconds["updates"][name], strict=True))
        table[name] = {
            "update": quartiles([ours / theirs for ours, theirs in pairs]),
            "training": quartiles([(rollout + ours) / (rollout + theirs) for ours, theirs in pairs]),
        }
    return table


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_arguments(parser, n_steps=32, rounds=40, result="training_cost.json")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu", help="CPU time of the process, or wall time")
    arguments = parser.parse_args()
    TimedPPO.clock = CLOCKS[arguments.clock]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    result: dict[str, Any] = {
        **program_provenance(),
        "settings": settings,
        "load_at_start": os.getloadavg()[0],
        "encoders": {},
    }
    print("| encoder | rollout, update | agent | update | training |\n| --- | --- | --- | --- | --- |")
    for encoder in arguments.encoders:
        seconds = measure(arguments, encoder)
        table = summary(seconds)
        result["encoders"][encoder] = {"seconds": seconds, "summary": table}
        for name in list(AGENTS)[1:]:
            ratios = [f"{m:.3f} ({low:.3f} to {high:.3f})" for m, low, high in table[name].values()]
            times = f"{table['rollout_seconds']:.2f} s, {table['update_seconds']:.2f} s"
            print(f"| `{encoder}` | {times} | {name} | {' | '.join(ratios)} |", flush=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

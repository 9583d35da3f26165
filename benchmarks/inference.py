"""Claim: a CAMAL agent acts as fast as stock PPO with the same network, and its exported graph has as many nodes.

Agents of this package and stock Stable-Baselines3 agents with the same layers take turns in one process to call
``model.predict`` on single 64x64x3 frames, in float32 with one thread. A round's time is the median of its calls. A
ratio is CAMAL's time divided by stock's in the same round.

    python benchmarks/inference.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import NatureCNN
from training_speed import Plain

from camal_rl.agents import CAMALPPO
from camal_rl.envs import make_vec
from camal_rl.rl.export import acting_program
from camal_rl.runs.provenance import program_provenance

ENCODERS = ("nature", "compact", "impala")
BLOCK = 10


def agents(encoder: str) -> dict[str, PPO]:
    """Return stock PPO and CAMAL PPO with the same layers."""
    extractor: dict[str, Any] = {"features_extractor_class": NatureCNN}
    if encoder != "nature":
        extractor = {"features_extractor_class": Plain, "features_extractor_kwargs": {"name": encoder}}
    common: dict[str, Any] = {"env": make_vec("toy_grid/default", 1, seed=0), "device": "cpu", "seed": 0}
    return {
        "stock": PPO("CnnPolicy", policy_kwargs={**extractor, "net_arch": []}, **common),
        "CAMAL": CAMALPPO("CamPolicy", policy_kwargs={"encoder": encoder, "precision": "float32"}, **common),
    }


def measure(models: dict[str, PPO], rounds: int, calls: int) -> list[dict[str, float]]:
    """Return the median microseconds per frame of each round, after one round to warm up.

    The agents alternate every ``BLOCK`` frames. The median ignores the few calls that other programs interrupt.
    """
    frames = np.random.default_rng(0).integers(0, 256, (BLOCK, 64, 64, 3), np.uint8)
    measured = []
    for index in range(rounds + 1):
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for block in range(calls // BLOCK):
            names = list(models) if (index + block) % 2 else list(reversed(models))
            for name in names:
                seconds[name] += [call(models[name], frame) for frame in frames]
        measured.append({name: 1e6 * statistics.median(each) for name, each in seconds.items()})
    return measured[1:]


def call(model: PPO, frame: np.ndarray) -> float:
    """Return the seconds of one ``predict``."""
    start = time.perf_counter()
    model.predict(frame, deterministic=True)
    return time.perf_counter() - start


def nodes(model: PPO) -> dict[str, int]:
    """Return how often each operation occurs in the exported graph."""
    graph = acting_program(model.policy).graph
    return dict(sorted(Counter(str(node.target) for node in graph.nodes if node.op == "call_function").items()))


def summary(models: dict[str, PPO], rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return the median times, the ratio (median, minimum, maximum of the rounds) and the graphs' operations."""
    ratios = [each["CAMAL"] / each["stock"] for each in rounds]
    return {
        "microseconds": {name: statistics.median(each[name] for each in rounds) for name in models},
        "camal_over_stock": (statistics.median(ratios), min(ratios), max(ratios)),
        "exported_operations": {name: nodes(model) for name, model in models.items()},
        "rounds": rounds,
    }


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=500, help="frames for each agent in a round")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "inference.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"rounds": arguments.rounds, "calls": arguments.calls, "threads": 1}
    result = {**program_provenance(), "settings": settings, "load_at_start": os.getloadavg()[0], "encoders": {}}
    print(
        f"{'encoder':8} {'stock, us':>10} {'CAMAL, us':>10}   CAMAL over stock (min to max)   operations: stock, CAMAL"
    )
    for encoder in ENCODERS:
        models = agents(encoder)
        row = summary(models, measure(models, arguments.rounds, arguments.calls))
        result["encoders"][encoder] = row
        median, least, most = row["camal_over_stock"]
        times = " ".join(f"{value:10.0f}" for value in row["microseconds"].values())
        counts = ", ".join(str(sum(counted.values())) for counted in row["exported_operations"].values())
        print(f"{encoder:8} {times}   {median:.3f} ({least:.3f} to {most:.3f})   {counts:>24}")
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Claim: training with CAMAL costs at most a twentieth of the steps per second of the same code with weight 0.

Three agents of one process take turns to collect a rollout and learn from it: weight 0 without masks (plain PPO),
weight 0 with masks (alignment is logged), and weight 0.1 (value and policy maps in closed form, masks). A ratio is the
last one's steps per second over one of the others' in the same round; the table gives median, minimum and maximum.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --env procgen/coinrun --encoder impala --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import make_vec
from camal_rl.experiments.allocator import keep_freed_memory
from camal_rl.experiments.provenance import provenance

NUM_ENVS = 64
AGENTS = {"weight 0": (0.0, None), "weight 0, masks": (0.0, "box"), "weight 0.1": (0.1, "box")}
CAMAL = "weight 0.1"


def agent(arguments: argparse.Namespace, weight: float, segmentation: str | None) -> CAMALPPO:
    """Return an untrained agent."""
    return CAMALPPO(
        "CamPolicy",
        make_vec(arguments.env, NUM_ENVS, seed=0, segmentation=segmentation),
        camal=CamalConfig(weight=weight, method=arguments.method),
        policy_kwargs={"encoder": arguments.encoder, "precision": arguments.precision},
        n_steps=arguments.n_steps,
        batch_size=2048,
        n_epochs=3,
        seed=0,
    )


def steps_per_second(model: CAMALPPO, steps: int) -> tuple[float, float]:
    """Return steps per second of one rollout and update, by the wall clock and by the process's CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(steps, reset_num_timesteps=False)
    return steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="procgen/starpilot")
    parser.add_argument("--encoder", default="compact")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--method", default="gradcam")
    parser.add_argument("--n-steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    models = {name: agent(arguments, *settings) for name, settings in AGENTS.items()}
    steps = NUM_ENVS * arguments.n_steps
    for model in models.values():
        model.learn(steps)
    rounds = [{name: steps_per_second(model, steps) for name, model in models.items()} for _ in range(arguments.rounds)]
    settings = {key: str(value) for key, value in vars(arguments).items() if key != "out"}
    result = {**provenance(), "settings": settings}
    for index, clock in enumerate(("wall", "cpu")):
        speeds = {name: [each[name][index] for each in rounds] for name in models}
        result[clock] = {"steps_per_second": speeds, "ratio_median_min_max": {}}
        for name, theirs in speeds.items():
            ratios = [ours / other for ours, other in zip(speeds[CAMAL], theirs, strict=True)]
            spread = (statistics.median(ratios), min(ratios), max(ratios))
            result[clock]["ratio_median_min_max"][name] = spread
            print(
                f"{clock:4}  {name:16} {statistics.median(theirs):5.0f} steps/s   "
                f"{CAMAL} over it: {spread[0]:.3f} ({spread[1]:.3f} to {spread[2]:.3f})"
            )
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Claim: training with CAMAL costs at most a twentieth of the steps per second of the same code with weight 0.

Two agents of one process take turns: each round, one collects and learns from a rollout with weight 0 (masks off, as a
plain PPO user would have it), then the other with weight 0.1 (masks on, value and policy maps in closed form). The
ratio of a round is CAMAL's steps per second over plain PPO's; the table gives its median, minimum and maximum.

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
WEIGHTS = (0.0, 0.1)


def agent(arguments: argparse.Namespace, weight: float) -> CAMALPPO:
    """Return an agent; without a weight its environment has no masks."""
    masks = {} if weight > 0 else {"segmentation": None}
    env = make_vec(arguments.env, NUM_ENVS, seed=0, **masks)
    return CAMALPPO(
        "CamPolicy",
        env,
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
    models = {weight: agent(arguments, weight) for weight in WEIGHTS}
    steps = NUM_ENVS * arguments.n_steps
    for model in models.values():
        model.learn(steps)
    rounds = [
        {weight: steps_per_second(model, steps) for weight, model in models.items()} for _ in range(arguments.rounds)
    ]
    settings = {key: str(value) for key, value in vars(arguments).items() if key != "out"}
    result = {**provenance(), "settings": settings}
    for clock, name in enumerate(("wall", "cpu")):
        plain, camal = ([each[weight][clock] for each in rounds] for weight in WEIGHTS)
        ratios = [ours / theirs for ours, theirs in zip(camal, plain, strict=True)]
        spread = (statistics.median(ratios), min(ratios), max(ratios))
        print(
            f"{name:4}  steps/s at weight 0: {statistics.median(plain):.0f}, at 0.1: {statistics.median(camal):.0f}; "
            f"ratio {spread[0]:.3f} ({spread[1]:.3f} to {spread[2]:.3f})"
        )
        result[name] = {"weight_0": plain, "weight_0.1": camal, "ratio_median_min_max": spread}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

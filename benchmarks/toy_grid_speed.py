"""Steps per second of the toy grid with 64 environments on one core, with and without label maps.

Run it with ``python benchmarks/toy_grid_speed.py``; it writes ``benchmarks/results/toy_grid_speed.json``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from camal_rl.envs import make_vec
from camal_rl.runs.provenance import program_provenance

NUM_ENVS = 64
STEPS = 3000
REPEATS = 3
RESULT = Path(__file__).parent / "results" / "toy_grid_speed.json"
CASES: dict[str, dict[str, Any]] = {
    "image and silhouettes, 200 levels": {"segmentation": "silhouette", "num_levels": 200},
    "image and boxes, 200 levels": {"segmentation": "box", "num_levels": 200},
    "image only, 200 levels": {"segmentation": None, "num_levels": 200},
    "image and silhouettes, unlimited levels": {"segmentation": "silhouette", "num_levels": 0},
    "image only, unlimited levels": {"segmentation": None, "num_levels": 0},
}


def measure(options: dict[str, Any]) -> dict[str, int]:
    """Return environment steps per second under random actions, the best of a few runs, by two clocks.

    The program has one thread, so both clocks agree on an idle machine. On a busy machine the wall clock also counts
    other programs.
    """
    env = make_vec("toy_grid/default", NUM_ENVS, 0, **options)
    env.reset()
    actions = np.random.default_rng(0).integers(4, size=(STEPS, NUM_ENVS))
    wall, cpu = [], []
    for _ in range(REPEATS):
        start, start_cpu = time.perf_counter(), time.process_time()
        for row in actions:
            env.step(row)
            if options["segmentation"] is not None:
                env.segmentation()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    steps = STEPS * NUM_ENVS
    return {"wall": round(steps / min(wall)), "cpu": round(steps / min(cpu))}


def main() -> None:
    """Measure every case, print a table and write the JSON file."""
    load = os.getloadavg()[0]
    speeds = {name: measure(options) for name, options in CASES.items()}
    print(f"steps/s with {NUM_ENVS} environments, one thread{'':<8} {'wall':>9} {'CPU':>9}")
    for name, speed in speeds.items():
        print(f"{name:<48} {speed['wall']:>9,} {speed['cpu']:>9,}")
    result = {
        "num_envs": NUM_ENVS,
        "threads": 1,
        **program_provenance(),
        "load_before": round(load, 1),
        "steps_per_second": speeds,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

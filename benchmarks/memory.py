"""Claim: a rollout costs little more memory than its raw uint8 observations.

Each buffer is measured in a process of its own: an agent is made, the memory of its process is read, one rollout is
collected, its minibatches are drawn without learning from them, and the peak memory is read. The increase is compared
with the size of the raw observations. An update also needs memory for activations, which is the same for every buffer.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import make_vec
from camal_rl.runs.provenance import program_provenance

NUM_ENVS, BATCH = 64, 2048
ENCODERS = ("compact", "impala", "nature")


class Watch(BaseCallback):
    """Records the memory of the process at the first step, before the rollout fills the buffer."""

    base = 0

    def _on_step(self) -> bool:
        self.base = self.base or psutil.Process().memory_info().rss
        return True


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def collect(connection: Connection, kind: str, encoder: str, n_steps: int) -> None:
    """Collect one rollout and draw its minibatches; send the memory before, and the peak after each of the two."""
    masks = kind == "CAMAL"
    env = make_vec("procgen/coinrun", NUM_ENVS, seed=0, segmentation="box" if masks else None)
    settings: dict[str, Any] = {"n_steps": n_steps, "batch_size": BATCH, "seed": 0}
    if masks:
        model: PPO = CAMALPPO("CamPolicy", env, camal=CamalConfig(), policy_kwargs={"encoder": encoder}, **settings)
    else:
        model = PPO("CnnPolicy", env, **settings)
    # Act once first, because libraries allocate their own memory then.
    env.reset()
    model.predict(env.observations())
    _, callback = model._setup_learn(0, Watch())
    callback.on_training_start({}, {})
    model.collect_rollouts(model.env, callback, model.rollout_buffer, n_steps)
    collected = peak_memory()
    for batch in model.rollout_buffer.get(BATCH):
        del batch
    watch = callback.callbacks[0] if hasattr(callback, "callbacks") else callback
    connection.send((watch.base, collected, peak_memory()))


def measure(kind: str, encoder: str, n_steps: int) -> dict[str, Any]:
    """Return the memory that one buffer needs."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=collect, args=(there, kind, encoder, n_steps))
    process.start()
    base, *peaks = here.recv()
    process.join()
    raw = NUM_ENVS * n_steps * 64 * 64 * 3
    increases = dict(zip(("collecting", "and drawing minibatches"), (peak - base for peak in peaks), strict=True))
    return {
        "buffer": kind,
        "encoder": encoder,
        "raw_bytes": raw,
        "increase": increases,
        "ratio": {phase: increase / raw for phase, increase in increases.items()},
    }


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-steps", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    arguments = parser.parse_args()
    cases = [("CAMAL", encoder) for encoder in ENCODERS] + [("stock SB3, no masks", "nature")]
    rows = [measure(kind, encoder, arguments.n_steps) for kind, encoder in cases]
    print("MiB above the base (share of the raw observations)")
    for row in rows:
        shown = [f"{phase} {row['increase'][phase] / 2**20:.0f} ({ratio:.3f})" for phase, ratio in row["ratio"].items()]
        print(f"{row['buffer']:20} {row['encoder']:8} {', '.join(shown)}")
    arguments.out.write_text(
        json.dumps({**program_provenance(), "n_steps": arguments.n_steps, "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()

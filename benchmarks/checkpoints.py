"""Claim: checkpoints at the default interval take a small share of training time.

The program trains CAMAL on StarPilot and writes a checkpoint after every rollout. With default settings, checkpoints
are 250,000 steps or 10 minutes apart, whichever is sooner. The share is the time of one checkpoint divided by the time
from one checkpoint to the next. All times are measured in one run.

    python benchmarks/checkpoints.py results/checkpoints.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from camal_rl.rl.checkpointing import TrainingCheckpoints
from camal_rl.rl.config import LogConfig, agent_config
from camal_rl.rl.environments import make_training_env
from camal_rl.rl.training import make_model
from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance
from camal_rl.runs.run_folder import RunFolder

ROLLOUTS = 6
STEPS = 32
"""Steps of a rollout. They are fewer than the configuration's, but training takes the same time per step."""


class Timed(BaseCallback):
    """Writes a checkpoint at the start of every rollout but the first; times the writing and the training between."""

    def __init__(self, checkpoints: TrainingCheckpoints) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.writing: list[float] = []
        self.training: list[float] = []

    def _on_training_start(self) -> None:
        self._last = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if not self.num_timesteps:
            return
        before = time.perf_counter()
        self.checkpoints.write()
        after = time.perf_counter()
        self.training.append(before - self._last)
        self.writing.append(after - before)
        self._last = after


def measured(encoder: str) -> dict[str, Any]:
    """Return the seconds and bytes of a checkpoint, and its share of training time, for an encoder."""
    settings = [f"policy.encoder={encoder}", "policy.precision=float32", "threads=1", "device=cpu"]
    settings.append(f"algorithm.n_steps={STEPS}")
    config = agent_config(load_config("procgen/starpilot", settings))
    with TemporaryDirectory() as temporary:
        venv = make_training_env(config)
        model = make_model(config, venv, RunFolder(Path(temporary)))
        checkpoints = TrainingCheckpoints(model, Path(temporary) / "checkpoints", keep=1, callbacks=[])
        timed = Timed(checkpoints)
        rollout = config.env.num_envs * config.algorithm.n_steps
        model.learn(rollout * ROLLOUTS + 1, callback=timed)
        venv.close()
        (newest,) = (Path(temporary) / "checkpoints").iterdir()
        size = sum(file.stat().st_size for file in newest.iterdir())
    seconds, writing = statistics.median(timed.training), statistics.median(timed.writing)
    log = LogConfig()
    between = min(60 * log.checkpoint_minutes, seconds * log.checkpoint_every / rollout)
    return {
        "encoder": encoder,
        "rollout_and_update_seconds": seconds,
        "checkpoint_seconds": writing,
        "checkpoint_bytes": size,
        "share_of_training": writing / (between + writing),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(encoder) for encoder in ("compact", "impala")]
    arguments.out.write_text(json.dumps({"rows": rows, **program_provenance()}, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()

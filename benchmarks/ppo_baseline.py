"""Claim: on Procgen, this package's PPO learns as published PPO does. Also measured: which differences matter.

The program trains PPO (CAMAL's weight is 0) on one game, as ``configs/procgen.yaml`` says; with ``--published`` as
``configs/procgen_impala.yaml``, which has the parts in which the published code (arXiv 1912.01588, train-procgen)
differs from Stable-Baselines3. The return on training levels is measured as in the published code: the mean over the
last 100 training episodes, logged after every rollout, averaged over the last ten rows. Returns of new episodes on
training and held-out levels are measured too.

    python benchmarks/ppo_baseline.py starpilot published.json --published          # 40 minutes to 4 hours on one core
    python benchmarks/ppo_baseline.py starpilot ours.json policy.encoder=impala
    python benchmarks/ppo_baseline.py starpilot glorot.json policy.encoder=impala policy.initialization=glorot

With ``--checkpoints FOLDER``, a run that was killed continues when the same command is started again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from camal_rl.agents import CAMALPPO
from camal_rl.rl.checkpointing import CheckpointCallback, TrainingCheckpoints
from camal_rl.rl.config import ExperimentConfig, LogConfig, agent_config
from camal_rl.rl.environments import make_level_set_env, make_training_env
from camal_rl.rl.evaluate.returns import play_episodes
from camal_rl.rl.training import make_model
from camal_rl.runs.checkpoints import newest_checkpoint
from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance
from camal_rl.runs.run_folder import RunFolder

EVALUATION_EPISODES = 256
LAST_ROWS = 10


class Rows(BaseCallback):
    """Records the mean return of the last 100 training episodes after every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, float]] = []

    def schedule(self) -> dict[str, Any]:
        """Return the records, for checkpoints."""
        return {"rows": [list(row) for row in self.rows]}

    def restore_schedule(self, schedule: Mapping[str, Any]) -> None:
        """Restore the records of :meth:`schedule`."""
        self.rows = [(int(step), float(value)) for step, value in schedule["rows"]]

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rows.append((self.num_timesteps, float(np.mean([each["r"] for each in self.model.ep_info_buffer]))))
        print(*self.rows[-1], flush=True)


def returns(config: ExperimentConfig, model: CAMALPPO, level_set: str) -> dict[str, Any]:
    """Return statistics of new episodes on a level set, with sampled actions."""
    venv = make_level_set_env(config, level_set, 64, config.evaluation.seed, masks=False)
    played = play_episodes(model, venv, EVALUATION_EPISODES, deterministic=False, seed=config.evaluation.seed)
    venv.close()
    return {
        "mean": float(played.returns.mean()),
        "std": float(played.returns.std()),
        "episodes": len(played.returns),
        "excluded": played.excluded,
        "mean_length": float(played.lengths.mean()),
    }


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game")
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", help="key=value, as for camal-rl train")
    parser.add_argument("--published", action="store_true", help="train as configs/procgen_impala.yaml says")
    parser.add_argument("--checkpoints", type=Path, help="folder of checkpoints; the run continues from the newest")
    arguments = parser.parse_intermixed_args()
    settings = [f"env.id=procgen/{arguments.game}", "camal.weight=0", "env.segmentation=null", "threads=1"]
    settings += arguments.settings
    base = "procgen_impala" if arguments.published else "procgen"
    config = agent_config(load_config(base, settings))
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        model, rows = make_model(config, make_training_env(config), RunFolder(Path(temporary))), Rows()
        checkpoints = TrainingCheckpoints(model, arguments.checkpoints or Path(temporary), keep=2, callbacks=[rows])
        newest = newest_checkpoint(checkpoints.folder)
        if newest is not None:
            checkpoints.restore(newest)
        model.learn(
            config.total_timesteps - model.num_timesteps,
            callback=[rows, CheckpointCallback(checkpoints, LogConfig(checkpoint_minutes=10))],
            reset_num_timesteps=newest is None,
        )
    result = {
        "config": base,
        "settings": settings,
        "seed": config.seed,
        "steps": model.num_timesteps,
        "seconds": checkpoints.elapsed,
        "last_100_episodes": float(np.mean([value for _, value in rows.rows[-LAST_ROWS:]])),
        "train": returns(config, model, "train"),
        "held_out": returns(config, model, "held_out"),
        "rows": rows.rows,
        **program_provenance(),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print({key: result[key] for key in ("last_100_episodes", "train", "held_out")})


if __name__ == "__main__":
    main()

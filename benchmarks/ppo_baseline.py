"""Claim: on Procgen, this package's PPO learns as published PPO does. Also measured: which differences matter.

The program trains stock PPO (CAMAL's weight is 0) on one game. ``--parts`` switches on parts in which the published
code (arXiv 1912.01588, train-procgen) differs from Stable-Baselines3. The return on training levels is measured as in
the published code: the mean over the last 100 training episodes, logged after every rollout, averaged over the last ten
rows. Returns of new episodes on training and held-out levels are measured too.

    python benchmarks/ppo_baseline.py starpilot published.json --published          # 40 minutes to 4 hours on one core
    python benchmarks/ppo_baseline.py starpilot ours.json policy.encoder=impala

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
import torch.nn.functional as F
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from camal_rl.agents import CAMALPPO
from camal_rl.envs.segmentation import find_wrapped
from camal_rl.rl.checkpointing import CheckpointCallback, TrainingCheckpoints
from camal_rl.rl.config import ExperimentConfig, LogConfig, agent_config
from camal_rl.rl.environments import make_level_set_env, make_training_env
from camal_rl.rl.evaluate.returns import play_episodes
from camal_rl.rl.training import make_model
from camal_rl.runs.checkpoints import newest_checkpoint
from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance
from camal_rl.runs.run_folder import RunFolder

PARTS = ("pessimistic_value", "glorot", "reward_gamma")
"""Parts that no configuration can set.

``pessimistic_value``: the value loss is half the larger of the clipped and the unclipped squared error. ``glorot``:
Glorot initialization of the encoder. ``reward_gamma``: rewards are divided by the standard deviation of returns
discounted by .99.
"""
PUBLISHED = ("policy.encoder=impala", "policy.precision=float32", "algorithm.clip_range_vf=0.2")
EVALUATION_EPISODES = 256
LAST_ROWS = 10


class PublishedLossPPO(CAMALPPO):
    """PPO with the value loss of the published code."""

    def _ppo_loss(self, batch: Any, clip_range: float, clip_range_vf: float | None, *rest: Any) -> tuple[Any, Tensor]:
        evaluation, loss = super()._ppo_loss(batch, clip_range, None, *rest)
        assert clip_range_vf is not None, "set algorithm.clip_range_vf"
        plain = F.mse_loss(batch.returns, evaluation.value)
        change = torch.clamp(evaluation.value - batch.old_values, -clip_range_vf, clip_range_vf)
        clipped = (batch.old_values + change - batch.returns).square()
        value_loss = 0.5 * torch.max((evaluation.value - batch.returns).square(), clipped).mean()
        return evaluation, loss + self.vf_coef * (value_loss - plain)


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


def glorot(encoder: nn.Module) -> None:
    """Initialize an encoder as TensorFlow's layers do."""
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def agent(config: ExperimentConfig, parts: set[str], folder: RunFolder) -> CAMALPPO:
    """Return the untrained agent with its environment."""
    venv = make_training_env(config)
    model = make_model(config, venv, folder)
    if "pessimistic_value" in parts:
        model.__class__ = PublishedLossPPO
    if "glorot" in parts:
        glorot(model.policy.features_extractor)
    if "reward_gamma" in parts:
        normalizer = find_wrapped(venv, VecNormalize)
        assert normalizer is not None
        normalizer.gamma = 0.99
    return model


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
    parser.add_argument("--parts", nargs="*", default=[], choices=PARTS)
    parser.add_argument("--published", action="store_true", help="all parts, and the IMPALA encoder in float32")
    parser.add_argument("--checkpoints", type=Path, help="folder of checkpoints; the run continues from the newest")
    arguments = parser.parse_intermixed_args()
    settings = [f"env.id=procgen/{arguments.game}", "camal.weight=0", "env.segmentation=null", "threads=1"]
    settings += [*(PUBLISHED if arguments.published else ()), *arguments.settings]
    parts = set(PARTS if arguments.published else arguments.parts)
    config = agent_config(load_config("procgen", settings))
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        model, rows = agent(config, parts, RunFolder(Path(temporary))), Rows()
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
        "settings": settings,
        "parts": sorted(parts),
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

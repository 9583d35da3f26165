"""Sample Factory's part of peer_speed.py, which runs this program with a Python that has Sample Factory 2.

It imports nothing of this package: Sample Factory needs a Gymnasium below 1.0. It trains APPO on a Procgen game with
IMPALA's residual network and writes a line of JSON on standard output when it is ready, and after each update; what
Sample Factory logs goes to standard error. The caller stops and continues the process group, so that others have turns.

Two modes. ``serial`` samples and learns by turns in one process, whose PyTorch has ``--threads`` threads. ``async``
has processes of one thread each, which Sample Factory fixes: one steps the environments, one acts for a half of them
while the other half steps, one learns.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any, TextIO

import gymnasium
import numpy as np
import psutil
import torch
from gymnasium import spaces
from procgen import ProcgenGym3Env
from sample_factory.algo.runners.runner import AlgoObserver, Runner
from sample_factory.algo.utils.misc import ExperimentStatus
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.actor_critic import create_actor_critic
from sample_factory.train import make_runner

NEVER = 10**9
PACKAGES = ("sample-factory", "torch", "numpy", "gymnasium", "procgen-mirror", "procgen")


class ProcgenAgents(gymnasium.Env):
    """Copies of a Procgen game as the agents of one environment, which is how Sample Factory takes vectorized ones."""

    is_multiagent = True
    action_space = spaces.Discrete(15)
    observation_space = spaces.Dict({"obs": spaces.Box(0, 255, (3, 64, 64), np.uint8)})

    def __init__(self, game: str, num_agents: int, seed: int) -> None:
        self.num_agents = num_agents
        threads = min(4, os.cpu_count() or 1)
        self._env = ProcgenGym3Env(num_agents, game, distribution_mode="easy", rand_seed=seed, num_threads=threads)

    def _observe(self) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        rewards, observations, first = self._env.observe()
        return rewards, {"obs": np.ascontiguousarray(observations["rgb"].transpose(0, 3, 1, 2))}, first

    def reset(self, **_: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the first images."""
        return self._observe()[1], {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act in all copies; one whose episode ends goes on with the next one's first image."""
        self._env.act(actions)
        rewards, observations, first = self._observe()
        return observations, rewards, first, np.zeros_like(first), {}

    def close(self) -> None:
        """End the simulator."""
        self._env.close()


class Reporter(AlgoObserver):
    """Writes a line after each update, and ends training after the last."""

    def __init__(self, lines: TextIO, updates: int) -> None:
        self._lines = lines
        self._updates = updates

    def on_training_step(self, runner: Runner, training_iteration_since_resume: int) -> None:
        """Write how many updates there were and the processes' CPU seconds."""
        own = psutil.Process()
        times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
        cpu_seconds = sum(each.user + each.system for each in times)
        say(self._lines, {"updates": training_iteration_since_resume, "cpu_seconds": cpu_seconds})
        if training_iteration_since_resume >= self._updates:
            runner.cfg.train_for_env_steps = -1  # its own count of steps is behind by an update here


def say(lines: TextIO, message: dict[str, Any]) -> None:
    """Write a message as one line."""
    lines.write(json.dumps(message) + "\n")
    lines.flush()


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return Sample Factory's settings: those of the other participants under its names."""
    serial = arguments.mode == "serial"
    return {
        "env": arguments.game,
        "train_dir": arguments.folder,
        "experiment": "speed",
        "device": "cpu",
        "seed": 0,
        "serial_mode": serial,
        "async_rl": not serial,
        "batched_sampling": True,
        "num_workers": 1,
        "num_envs_per_worker": 1 if serial else 2,
        "worker_num_splits": 1 if serial else 2,
        "set_workers_cpu_affinity": False,
        "rollout": arguments.n_steps,
        "batch_size": arguments.batch_size,
        "num_batches_per_epoch": arguments.num_envs * arguments.n_steps // arguments.batch_size,
        "num_epochs": arguments.epochs,
        "shuffle_minibatches": True,
        "encoder_conv_architecture": "resnet_impala",
        "encoder_conv_mlp_layers": 256,
        "nonlinearity": "relu",
        "use_rnn": False,
        "obs_scale": 255.0,
        "normalize_input": False,
        "normalize_returns": False,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "learning_rate": 3e-4,
        "adam_eps": 1e-5,
        "ppo_clip_ratio": 0.2,
        "exploration_loss_coeff": 0.0,
        "value_loss_coeff": 0.5,
        "max_grad_norm": 0.5,
        # Being stopped for others' turns is no crash, and saving is no training.
        "heartbeat_reporting_interval": NEVER,
        "save_every_sec": NEVER,
        "save_best_every_sec": NEVER,
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def train(arguments: argparse.Namespace, lines: TextIO) -> bool:
    """Train until the updates are done; return whether that went well."""
    torch.set_num_threads(arguments.threads)
    given = settings(arguments)
    words = [f"--{name}={value}" for name, value in given.items()]
    cfg = parse_full_cfg(parse_sf_args(words)[0], words)
    agents = arguments.num_envs // cfg.worker_num_splits
    register_env(arguments.game, MakeAgents(agents))
    network = create_actor_critic(cfg, ProcgenAgents.observation_space, ProcgenAgents.action_space)
    layers = sorted(list(parameter.shape) for parameter in network.parameters() if parameter.dim() > 1)
    _, runner = make_runner(cfg)
    runner.register_observer(Reporter(lines, arguments.updates))
    if runner.init() != ExperimentStatus.SUCCESS:
        return False
    del given["train_dir"]
    say(lines, {"layers": layers, "versions": versions(), "settings": given})
    return runner.run() == ExperimentStatus.SUCCESS


class MakeAgents:
    """What Sample Factory calls to make an environment, also in other processes."""

    def __init__(self, num_agents: int) -> None:
        self._num_agents = num_agents

    def __call__(self, game: str, cfg: Any, env_config: Any, render_mode: str | None = None) -> ProcgenAgents:
        """Return the environment; each has levels of its own."""
        return ProcgenAgents(game, self._num_agents, seed=0 if env_config is None else env_config.env_id)


def main() -> None:
    """Train, saying on standard output how far it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="coinrun")
    parser.add_argument("--mode", choices=("serial", "async"), default="serial")
    parser.add_argument("--threads", type=int, default=2, help="of torch, in the serial mode")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--n-steps", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", default="sample_factory", help="for its logs and checkpoints")
    parser.add_argument("--updates", type=int, default=6, help="after which it ends")
    arguments = parser.parse_args()
    os.setpgrp()  # the caller stops and continues the group, with all processes that come
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.exit(0 if train(arguments, lines) else 1)


if __name__ == "__main__":
    main()

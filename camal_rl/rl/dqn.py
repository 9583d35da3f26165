"""DQN as a configurable algorithm: its settings, and the construction of a model from them."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from stable_baselines3 import DQN
from stable_baselines3.common.utils import LinearSchedule

from camal_rl.agents import CAMALDQN
from camal_rl.rl.algorithms import AlgorithmSpec
from camal_rl.runs.checks import Amount, Count, CountOrNone, Epsilon, Share, check_section

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from camal_rl.rl.config import ExperimentConfig
    from camal_rl.runs.run_folder import RunFolder

BASELINE = "dqn"
"""Name of plain DQN in comparisons."""


@dataclass(frozen=True)
class DQNConfig:
    """DQN's settings, named as in Stable-Baselines3, whose documentation explains them.

    Attributes:
        buffer_size: size of the replay buffer in environment steps, over all environments.
        learning_starts: environment steps with random actions before the first update.
        batch_size: samples per update.
        train_freq: steps of each environment between updates.
        gradient_steps: updates after these steps; -1 for as many updates as steps.
        learning_rate: learning rate of Adam.
        anneal_learning_rate: decrease the learning rate linearly to 0 over training; a schedule in SB3.
        gamma: discount factor.
        n_steps: number of rewards in an n-step return before bootstrapping from the target network.
        tau: soft update coefficient of the target network; 1 copies the network.
        target_update_interval: environment steps between updates of the target network.
        exploration_fraction: share of training over which epsilon decreases to its final value.
        exploration_initial_eps: probability of random actions at the start.
        exploration_final_eps: probability of random actions at the end, and in evaluations with sampled actions.
        max_grad_norm: maximum norm of gradients, by clipping.
        optimize_memory_usage: store each observation only once. Time limits then count as ends of episodes, as in SB3.
        adam_epsilon: Adam's epsilon, at least 1e-30; part of ``optimizer_kwargs`` in SB3.
        stats_window_size: number of episodes in the logged mean return and length.
    """

    buffer_size: Count = 50_000
    learning_starts: CountOrNone = 5_000
    batch_size: Count = 32
    train_freq: Count = 4
    gradient_steps: Annotated[int, Field(ge=-1, le=10**6)] = 1
    learning_rate: Amount = 1e-4
    anneal_learning_rate: bool = False
    gamma: Share = 0.99
    n_steps: Count = 1
    tau: Share = 1.0
    target_update_interval: Count = 1_000
    exploration_fraction: Share = 0.1
    exploration_initial_eps: Share = 1.0
    exploration_final_eps: Share = 0.05
    max_grad_norm: Amount = 10.0
    optimize_memory_usage: bool = False
    adam_epsilon: Epsilon = 1e-8
    stats_window_size: Count = 100

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "algorithm")
        if self.gradient_steps == 0:
            raise ValueError("algorithm.gradient_steps must be at least 1, or -1 for one per step, got 0")
        if self.optimize_memory_usage and self.n_steps > 1:
            raise ValueError(
                f"algorithm.optimize_memory_usage requires n_steps=1 in Stable-Baselines3, got n_steps="
                f"{self.n_steps}; change one of the two"
            )


def _build(config: ExperimentConfig, venv: VecEnv, folder: RunFolder) -> CAMALDQN:
    settings = asdict(config.algorithm)
    rate, epsilon = settings["learning_rate"], settings.pop("adam_epsilon")
    if settings.pop("anneal_learning_rate"):
        settings["learning_rate"] = LinearSchedule(rate, 0.0, 1.0)
    if config.algorithm.optimize_memory_usage:
        # SB3 cannot distinguish time limits from terminations if observations are stored once (its issue 934).
        settings["replay_buffer_kwargs"] = {"handle_timeout_termination": False}
    return CAMALDQN(
        "CamQPolicy",
        venv,
        camal=config.camal,
        policy_kwargs={
            **{name: value for name, value in asdict(config.policy).items() if value is not None},
            "optimizer_kwargs": {"eps": epsilon},
        },
        tensorboard_log=str(folder.tensorboard),
        seed=config.seed,
        device=config.device,
        verbose=0,
        **settings,
    )


def _check(config: ExperimentConfig) -> None:
    """Raise a ValueError for settings that only PPO supports."""
    if config.terms:
        raise ValueError(
            f"terms: {', '.join(config.terms)} extends PPO's loss, but algorithm 'dqn' supports only CAMAL's term; "
            "remove it, or train with algorithm.name=ppo"
        )
    if config.env.normalize_reward:
        raise ValueError(
            "env.normalize_reward is for PPO: DQN replays old rewards, whose scale must not change; set "
            "env.normalize_reward=false"
        )
    algorithm = config.algorithm
    if algorithm.buffer_size < config.env.num_envs:
        raise ValueError(
            f"algorithm.buffer_size must be at least one step for each of env.num_envs = {config.env.num_envs} "
            f"environments, got {algorithm.buffer_size}"
        )


def _why_unknown(key: str) -> str | None:
    """Return an explanation for an argument of DQN that is not a setting."""
    elsewhere = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "seed", "device", "_init_setup_model"}
    section, _, name = key.rpartition(".")
    if section != "algorithm" or name not in set(inspect.signature(DQN.__init__).parameters) - elsewhere:
        return None
    return f"{key} is not a setting of configurations, only an argument of DQN; in Python: CAMALDQN(..., {name}=...)"


def _without_schedules(settings: DQNConfig) -> DQNConfig:
    return replace(settings, anneal_learning_rate=False)


DQN_ALGORITHM = AlgorithmSpec(
    DQNConfig,
    _build,
    CAMALDQN.load,
    check=_check,
    why_unknown=_why_unknown,
    without_schedules=_without_schedules,
    targets=("q",),
    baseline=BASELINE,
)
"""``algorithm.name: dqn``."""

"""DQN as an algorithm of configurations: its settings, and how a model is made of them."""

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
"""What comparisons call DQN alone."""


@dataclass(frozen=True)
class DQNConfig:
    """DQN's settings, named as in Stable-Baselines3, whose documentation says what each does.

    Attributes:
        buffer_size: environment steps that the replay buffer holds, of all environments together.
        learning_starts: environment steps with random actions before the first update.
        batch_size: samples of an update.
        train_freq: steps of each environment between updates.
        gradient_steps: updates after them; -1 for as many as there were steps.
        learning_rate: Adam's.
        anneal_learning_rate: lower the learning rate linearly to 0 over training; SB3 has a schedule for that.
        gamma: discount.
        n_steps: rewards that are summed up before the estimate of the target network takes over.
        tau: share of the network that its target takes over, 1 for all of it.
        target_update_interval: environment steps between updates of the target network.
        exploration_fraction: share of training in which exploration falls to its final probability.
        exploration_initial_eps: probability of random actions in the beginning.
        exploration_final_eps: the same in the end, and that of sampled actions of an evaluation.
        max_grad_norm: gradients are scaled down to this norm.
        optimize_memory_usage: hold each observation once. Time limits count as ends of episodes then, as in SB3.
        adam_epsilon: Adam's epsilon, at least 1e-30; in SB3 it is one of ``optimizer_kwargs``.
        stats_window_size: episodes whose mean return and length are logged.
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
            raise ValueError("algorithm.gradient_steps must be at least 1, or -1 for one a step, got 0")
        if self.optimize_memory_usage and self.n_steps > 1:
            raise ValueError(
                f"algorithm.optimize_memory_usage goes with n_steps=1 alone in Stable-Baselines3, got n_steps="
                f"{self.n_steps}; set one of the two back"
            )


def _build(config: ExperimentConfig, venv: VecEnv, folder: RunFolder) -> CAMALDQN:
    settings = asdict(config.algorithm)
    rate, epsilon = settings["learning_rate"], settings.pop("adam_epsilon")
    if settings.pop("anneal_learning_rate"):
        settings["learning_rate"] = LinearSchedule(rate, 0.0, 1.0)
    if config.algorithm.optimize_memory_usage:
        # SB3 does not tell a time limit from an end where observations are held once (its issue 934).
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
    """Raise a ValueError for what of PPO's DQN does not have."""
    if config.terms:
        raise ValueError(
            f"terms: {', '.join(config.terms)} joins PPO's loss, and algorithm 'dqn' has CAMAL's term alone; leave it "
            "out, or train with algorithm.name=ppo"
        )
    if config.env.normalize_reward:
        raise ValueError(
            "env.normalize_reward is for PPO: DQN learns from rewards of long ago, whose scale must not move; set "
            "env.normalize_reward=false"
        )
    algorithm = config.algorithm
    if algorithm.buffer_size < config.env.num_envs:
        raise ValueError(
            f"algorithm.buffer_size must hold a step of each of env.num_envs = {config.env.num_envs} environments, got "
            f"{algorithm.buffer_size}"
        )


def _why_unknown(key: str) -> str | None:
    """Return what to say of an argument of DQN's that no setting stands for."""
    elsewhere = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "seed", "device", "_init_setup_model"}
    section, _, name = key.rpartition(".")
    if section != "algorithm" or name not in set(inspect.signature(DQN.__init__).parameters) - elsewhere:
        return None
    return f"{key} is no setting of configurations, only an argument of DQN's; in Python: CAMALDQN(..., {name}=...)"


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

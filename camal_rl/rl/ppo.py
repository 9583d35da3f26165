"""PPO as a configurable algorithm: its settings, and the construction of a model from them."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

from camal_rl.agents import CAMALPPO
from camal_rl.rl.algorithms import AlgorithmSpec
from camal_rl.runs.checks import Amount, Count, Epsilon, PositiveAmount, Share, check_section

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from camal_rl.rl.config import ExperimentConfig
    from camal_rl.runs.run_folder import RunFolder


@dataclass(frozen=True)
class PPOConfig:
    """PPO's settings, named as in Stable-Baselines3, whose documentation explains them.

    Attributes:
        n_steps: steps per environment in a rollout.
        batch_size: observations per minibatch; must divide the rollout, ``env.num_envs * n_steps``.
        n_epochs: passes over each rollout.
        learning_rate: learning rate of Adam.
        anneal_learning_rate: decrease the learning rate linearly to 0 over training; a schedule in SB3.
        gamma: discount factor.
        gae_lambda: lambda of generalized advantage estimation.
        clip_range: clipping of the probability ratio.
        clip_range_vf: clipping of the change of the value, above 0; ``None`` disables it.
        pessimistic_value_loss: with ``clip_range_vf``, take the larger of the value's errors with and without clipping,
            as in OpenAI's baselines and CleanRL; not in SB3, which takes the error with clipping.
        normalize_advantage: standardize the advantages of each minibatch.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: maximum norm of gradients, by clipping.
        target_kl: an update stops early when its KL divergence exceeds 1.5 times this value, above 0; ``None`` disables
            it.
        adam_epsilon: Adam's epsilon, at least 1e-30; part of ``optimizer_kwargs`` in SB3.
        stats_window_size: number of episodes in the logged mean return and length.
    """

    n_steps: Count = 256
    batch_size: Annotated[int, Field(ge=2, le=10**12)] = 2048
    n_epochs: Count = 3
    learning_rate: Amount = 5e-4
    anneal_learning_rate: bool = False
    gamma: Share = 0.999
    gae_lambda: Share = 0.95
    clip_range: Amount = 0.2
    clip_range_vf: PositiveAmount | None = None
    pessimistic_value_loss: bool = False
    normalize_advantage: bool = True
    ent_coef: Amount = 0.01
    vf_coef: Amount = 0.5
    max_grad_norm: Amount = 0.5
    target_kl: PositiveAmount | None = None
    adam_epsilon: Epsilon = 1e-5
    stats_window_size: Count = 100

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "algorithm")
        if self.pessimistic_value_loss and self.clip_range_vf is None:
            raise ValueError("algorithm.pessimistic_value_loss needs algorithm.clip_range_vf, for example 0.2")


def ppo_arguments(config: ExperimentConfig, folder: RunFolder) -> dict[str, Any]:
    """Return the arguments of :class:`camal_rl.agents.CAMALPPO` besides policy and environment.

    They also fit a derived algorithm whose settings are derived from :class:`PPOConfig`.
    """
    algorithm = config.algorithm
    rate: Any = algorithm.learning_rate
    return {
        "camal": config.camal,
        "terms": config.terms,
        "policy_kwargs": {
            **{name: value for name, value in asdict(config.policy).items() if value is not None},
            "optimizer_kwargs": {"eps": algorithm.adam_epsilon},
        },
        "learning_rate": LinearSchedule(rate, 0.0, 1.0) if algorithm.anneal_learning_rate else rate,
        "n_steps": algorithm.n_steps,
        "batch_size": algorithm.batch_size,
        "n_epochs": algorithm.n_epochs,
        "gamma": algorithm.gamma,
        "gae_lambda": algorithm.gae_lambda,
        "clip_range": algorithm.clip_range,
        "clip_range_vf": algorithm.clip_range_vf,
        "pessimistic_value_loss": algorithm.pessimistic_value_loss,
        "normalize_advantage": algorithm.normalize_advantage,
        "ent_coef": algorithm.ent_coef,
        "vf_coef": algorithm.vf_coef,
        "max_grad_norm": algorithm.max_grad_norm,
        "target_kl": algorithm.target_kl,
        "stats_window_size": algorithm.stats_window_size,
        "tensorboard_log": str(folder.tensorboard),
        "seed": config.seed,
        "device": config.device,
        "verbose": 0,
    }


def _build(config: ExperimentConfig, venv: VecEnv, folder: RunFolder) -> CAMALPPO:
    return CAMALPPO("CamPolicy", venv, **ppo_arguments(config, folder))


def _check(config: ExperimentConfig) -> None:
    """Raise a ValueError unless minibatches divide the rollout: SB3 would train on a smaller last minibatch."""
    rollout, size = config.env.num_envs * config.algorithm.n_steps, config.algorithm.batch_size
    if rollout % size:
        raise ValueError(f"algorithm.batch_size must divide env.num_envs * algorithm.n_steps = {rollout}, got {size}")


def _why_unknown(key: str) -> str | None:
    """Return an explanation for an argument of PPO that is not a setting."""
    elsewhere = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "seed", "device", "_init_setup_model"}
    section, _, name = key.rpartition(".")
    if section != "algorithm" or name not in set(inspect.signature(PPO.__init__).parameters) - elsewhere:
        return None
    return (
        f"{key} is not a setting of configurations, only an argument of PPO; give it in Python: CAMALPPO(..., "
        f"{name}=...)"
    )


def _without_schedules(settings: PPOConfig) -> PPOConfig:
    return replace(settings, anneal_learning_rate=False)


PPO_ALGORITHM = AlgorithmSpec(
    PPOConfig, _build, CAMALPPO.load, check=_check, why_unknown=_why_unknown, without_schedules=_without_schedules
)
"""``algorithm.name: ppo``."""

"""Checkpoints of an agent's training: written by steps and minutes, and resumed from."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents.interruption import Interruption
from camal_rl.atomic import WriteError
from camal_rl.envs.saved_states import restore_env, save_env, saved_env
from camal_rl.rl.algorithms import Agent
from camal_rl.rl.config import LogConfig
from camal_rl.rl.model_file import save_policy_of
from camal_rl.rl.scalar_output import ScalarOutput
from camal_rl.runs.checkpoints import Checkpoint, write_checkpoint
from camal_rl.runs.folders import CheckpointWarning

AGENT, ENVIRONMENT, RUN = "agent", "environment", "run"
"""The parts of a checkpoint."""


@runtime_checkable
class ResumableAgent(Protocol):
    """A model whose training can be saved and resumed, such as :class:`camal_rl.agents.PPOWithTerms`."""

    interruption: Interruption

    def training_state(self) -> dict[str, Any]:
        """Return everything that training needs to continue, except for the environment."""

    def restore_training_state(self, state: Mapping[str, Any], seconds: float = 0.0) -> None:
        """Restore a state from :meth:`training_state`."""

    def restart_episodes(self, observations: Any) -> None:
        """Continue with the first observations of new episodes in every environment."""


@runtime_checkable
class ResumableCallback(Protocol):
    """A callback with a schedule of its own."""

    def schedule(self) -> dict[str, Any]:
        """Return when it is due next, as plain data."""

    def restore_schedule(self, schedule: Mapping[str, Any]) -> None:
        """Restore the result of :meth:`schedule`."""


class InexactResumeWarning(UserWarning):
    """Training continues, but not bit-identically to a training without interruption."""


@dataclass
class TrainingCheckpoints:
    """Writes and reads the checkpoints of one training.

    Attributes:
        model: the trained model.
        folder: the folder of checkpoints.
        keep: number of newest checkpoints to keep; 0 keeps all.
        callbacks: callbacks; those with a schedule are saved too.
        seconds: duration of training before this process.
    """

    model: ResumableAgent
    folder: Path
    keep: int
    callbacks: Sequence[BaseCallback]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self.last_step: int | None = None

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those before an interruption."""
        return self.seconds + time.monotonic() - self._started

    @property
    def _step(self) -> int:
        return cast(Agent, self.model).num_timesteps

    @property
    def _venv(self) -> VecEnv:
        """The environment with the wrappers that the model has added."""
        return cast(VecEnv, cast(Any, self.model).get_env())

    def write(self) -> None:
        """Write a checkpoint of the current state; a failure to write gives a warning and does not end training.

        The current state must be one that :mod:`camal_rl.agents.training_state` can save.
        """
        saved = save_env(self._venv)
        self._flush_logs()
        try:
            parts = {
                AGENT: self.model.training_state(),
                ENVIRONMENT: saved.tree,
                RUN: {"seconds": self.elapsed, "schedules": [each.schedule() for each in self._scheduled()]},
            }
            write_checkpoint(
                self.folder, self._step, parts, self.keep, lambda partial: save_policy_of(self.model, partial)
            )
        except (WriteError, TypeError) as error:  # user code may contain types that checkpoints cannot store
            warnings.warn(f"{error}; training continues without this checkpoint", CheckpointWarning, stacklevel=2)
        self.last_step = self._step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore model, environment and callbacks from a checkpoint.

        Raises:
            ValueError: it belongs to another configuration or version.
        """
        parts = checkpoint.parts
        try:
            run, agent, environment = (parts[name] for name in (RUN, AGENT, ENVIRONMENT))
            self.seconds = float(run["seconds"])
            self.model.restore_training_state(agent, self.seconds)
            saved = saved_env(environment)
            restarted = restore_env(self._venv, saved)
            for callback, schedule in zip(self._scheduled(), run["schedules"], strict=True):
                callback.restore_schedule(schedule)
        except (KeyError, TypeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ValueError(f"{checkpoint.path} is not a checkpoint of this training: {told}") from error
        self.last_step = checkpoint.step
        if restarted is not None:
            self.model.restart_episodes(restarted)
            warnings.warn(
                f"{saved.why_inexact}: training continues with new episodes, so it is not bit-identical to an "
                "uninterrupted one",
                InexactResumeWarning,
                stacklevel=2,
            )

    def _scheduled(self) -> list[ResumableCallback]:
        return [each for each in self.callbacks if isinstance(each, ResumableCallback)]

    def _flush_logs(self) -> None:
        """Flush the logs to disk: events lost with a killed program would leave a gap."""
        for output in getattr(cast(Any, self.model).logger, "output_formats", ()):
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.flush()
            elif isinstance(output, ScalarOutput):
                output.flush()


NOT_RESUMABLE = (
    "its models have no training_state() and restore_training_state(), unlike those of camal_rl.agents.PPOWithTerms; "
    "train again without --resume"
)


class StopCallback(BaseCallback):
    """Ends the training of a non-resumable model after the current step on request."""

    def __init__(self, requested: Callable[[], bool]) -> None:
        super().__init__()
        self.requested = requested

    def _on_step(self) -> bool:
        return not self.requested()


class CheckpointCallback(BaseCallback):
    """Writes a checkpoint at the start of a rollout if enough steps or minutes have passed since the last one.

    Args:
        checkpoints: writes the checkpoints.
        log: has ``checkpoint_every`` and ``checkpoint_minutes``; 0 means never.
    """

    def __init__(self, checkpoints: TrainingCheckpoints, log: LogConfig) -> None:
        super().__init__()
        self.checkpoints, self.log = checkpoints, log

    def _on_training_start(self) -> None:
        self._written_at, self._written_step = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if not self._is_due() or self.num_timesteps == self.checkpoints.last_step:
            return
        self.checkpoints.write()
        self._written_at, self._written_step = time.monotonic(), self.num_timesteps

    def _is_due(self) -> bool:
        every, minutes = self.log.checkpoint_every, self.log.checkpoint_minutes
        by_steps = every > 0 and self.num_timesteps // every > self._written_step // every
        return by_steps or (minutes > 0 and time.monotonic() - self._written_at >= 60 * minutes)

"""Trains one run: checks everything first, then writes a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from signal import SIGINT
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents import HParamCallback, OverlayCallback, PPOWithTerms, UpdateLogCallback
from camal_rl.agents.arithmetic import computing
from camal_rl.agents.divergence import replay
from camal_rl.envs import level_sets
from camal_rl.failures import DivergedError
from camal_rl.rl.algorithms import Agent, attentive_policy, checked_agent, find_algorithm
from camal_rl.rl.checkpointing import (
    NOT_RESUMABLE,
    CheckpointCallback,
    ResumableAgent,
    StopCallback,
    TrainingCheckpoints,
)
from camal_rl.rl.config import ExperimentConfig, agent_run_config
from camal_rl.rl.environments import check_masks, level_set_options, make_level_set_env, make_training_env
from camal_rl.rl.evaluate.held_out import HeldOutReturn, held_out_callback
from camal_rl.rl.frames import random_frames
from camal_rl.rl.model_file import save_model, save_policy_of
from camal_rl.rl.scalar_output import ScalarLogCallback
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.folders import sha256_of
from camal_rl.runs.json_files import MODEL_SUM, POLICY_SUM, write_record
from camal_rl.runs.resuming import checkpoint_to_resume
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.scalar_logs import check_usable, logging_to
from camal_rl.runs.settings import flat_settings
from camal_rl.runs.stopping import stopping


@dataclass(frozen=True)
class Trial:
    """A run that is ready to start: environment and model exist, nothing is on disk yet.

    Attributes:
        config: the configuration.
        folder: where the run will be written.
        venv: the training environment.
        model: the untrained agent.
        overlay: the callback that draws overlays, if requested.
        held_out: the callback that measures the return on held-out levels, if requested.
        checkpoints: saves the state of training; ``None`` if the algorithm cannot be resumed.
        step: the step from which training continues; 0 for a new run.
        replaces: whether the folder may contain an interrupted run.
    """

    config: ExperimentConfig
    folder: RunFolder
    venv: VecEnv
    model: Agent
    overlay: OverlayCallback | None
    held_out: HeldOutReturn | None = None
    checkpoints: TrainingCheckpoints | None = None
    step: int = 0
    replaces: bool = False

    def close(self) -> None:
        """Close the environments."""
        self.venv.close()
        if self.held_out is not None:
            self.held_out.venv.close()


def prepare(config: ExperimentConfig, folder: RunFolder, resume: bool = False, or_anew: bool = False) -> Trial:
    """Create environment and model, so that mistakes in the configuration are found before anything is written.

    Args:
        config: the configuration.
        folder: where the run will be written.
        resume: continue from the folder's newest intact checkpoint; without one, start again.
        or_anew: also start again if the algorithm cannot be resumed, instead of raising an error.

    Raises:
        FileExistsError: the run folder exists and is not empty; or, when resuming, its training is finished, or it has
            another configuration (only ``total_timesteps`` may be larger).
        ValueError, TypeError: the environment or the agent refuses a value, or the checkpoint belongs to something
            else.
        MissingExtraError: the simulator is not installed.
        ImportError: a logger is not installed.
    """
    checkpoint = checkpoint_to_resume(folder, config, "total_timesteps") if resume else None
    if not resume:
        folder.check_free()
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device; use device=cpu or device=auto")
    _check_level_sets(config)
    check_usable(config.log.loggers)
    if config.threads:
        torch.set_num_threads(config.threads)
    overlay = overlay_callback(config)
    with ExitStack() as stack:
        held_out = held_out_callback(config)
        if held_out is not None:
            stack.callback(held_out.venv.close)
        if overlay is None and config.env.segmentation is not None:
            check_masks(config)  # the callback that draws overlays has checked them
        venv = make_training_env(config)
        stack.callback(venv.close)
        model = make_model(config, venv, folder)
        _check_maps(config, model, drawn=overlay is not None)
        checkpoints = None
        if isinstance(model, ResumableAgent):
            scheduled = [each for each in (overlay, held_out) if each is not None]
            checkpoints = TrainingCheckpoints(model, folder.checkpoints, config.log.checkpoint_keep, scheduled)
        elif resume and not or_anew:
            raise ValueError(f"training with algorithm {config.algorithm_name!r} cannot be resumed: {NOT_RESUMABLE}")
        if checkpoints is not None and checkpoint is not None:
            checkpoints.restore(checkpoint)
        stack.pop_all()
    step = 0 if checkpoint is None else checkpoint.step
    return Trial(config, folder, venv, model, overlay, held_out, checkpoints, step, resume)


def _check_level_sets(config: ExperimentConfig) -> None:
    """Raise a ValueError that names the setting if there is no such environment, or it does not have a level set."""
    try:
        level_sets(config.env.id)
    except ValueError as error:
        raise ValueError(f"env.id: {error}") from error
    for key in ("sets", "attention_sets"):
        for name in getattr(config.evaluation, key):
            try:
                level_set_options(config.env, name)
            except ValueError as error:
                raise ValueError(f"evaluation.{key}: {error}") from error


def _check_maps(config: ExperimentConfig, model: Agent, drawn: bool) -> None:
    """Raise a ValueError if maps will be needed, during or after training, but the encoder has no CAM layer."""
    wanted = config.camal.weight > 0 or config.evaluation.frames > 0 or drawn
    if not wanted and config.policy.cam_layer is None:
        return
    policy = attentive_policy(model)
    try:
        policy.cam_grid  # noqa: B018  (measured here)
    except ValueError as error:
        remedy = (
            ""
            if config.camal.weight > 0
            else "; without attention maps set evaluation.frames=0 and log.overlay_every=0"
        )
        raise ValueError(f"policy.cam_layer: {error}{remedy}") from error


def make_model(config: ExperimentConfig, venv: VecEnv, folder: RunFolder) -> Any:
    """Create the untrained agent of an experiment, an :class:`camal_rl.rl.algorithms.Agent`.

    Raises:
        TypeError: the algorithm does not return such a model.
        ValueError: the algorithm refuses a value.
    """
    spec = find_algorithm(config.algorithm_name)
    return checked_agent(spec.build(config, venv, folder), config.algorithm_name)


def overlay_callback(config: ExperimentConfig) -> OverlayCallback | None:
    """Return the callback that draws overlays on frames of the last attention set after random actions."""
    log = config.log
    if not log.overlay_every or config.env.segmentation is None:
        return None
    venv = make_level_set_env(
        config, config.evaluation.attention_sets[-1], log.overlay_frames, config.evaluation.seed, masks=True
    )
    try:
        frames = random_frames(venv, config.evaluation.frame_every, config.evaluation.seed)
    finally:
        venv.close()
    return OverlayCallback(frames.images, frames.labels, frames.relevant, log.overlay_every)


def run(
    trial: Trial, command: Sequence[str], progress: bool = False, callbacks: Sequence[BaseCallback] = ()
) -> dict[str, Any]:
    """Train and write the run folder.

    Ctrl-C and SIGTERM end training early: the current step is finished, a checkpoint and the model are saved, and
    ``train.json`` records the interruption and its signal. A second signal ends the program at once.

    Args:
        trial: from :func:`prepare`.
        command: the command line, stored in the folder.
        progress: show SB3's progress bar.
        callbacks: further callbacks.

    Returns:
        The content of ``train.json``: steps, wall time, steps per second, mean return of the last episodes, checksum of
            the
        model.

    Raises:
        FolderInUse: another training writes into the folder.
        WriteError: the disk is full, or the folder is no longer writable.
        DivergedError: numbers are not finite; checkpoints are kept, and ``diverged.pt`` reproduces the step.
        RunFailure: an environment failed. The environments are closed in every case.
    """
    try:
        with trial.folder.writing():
            return _run(trial, command, progress, callbacks)
    finally:
        trial.close()


def _run(trial: Trial, command: Sequence[str], progress: bool, callbacks: Sequence[BaseCallback]) -> dict[str, Any]:
    config, folder, model = trial.config, trial.folder, trial.model
    keep_freed_memory()
    if trial.replaces:
        folder.recreate(config, command, computing(model.policy), trial.step)
    else:
        folder.create(config, command, computing(model.policy))
    started = time.perf_counter()
    try:
        signal = _learn(trial, progress, callbacks)
    except DivergedError as error:
        error.save(folder.diverged_file)
        raise
    seconds = time.perf_counter() - started if trial.checkpoints is None else trial.checkpoints.elapsed
    save_model(model, folder.model_file)
    written = save_policy_of(model, folder.path)
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    summary = {
        "interrupted": signal is not None,
        "signal": signal,
        "timesteps": model.num_timesteps,
        "seconds": seconds,
        "steps_per_second": model.num_timesteps / seconds,
        "last_mean_return": float(np.mean(returns)) if returns else None,
        MODEL_SUM: sha256_of(folder.model_file),
        **({} if written is None else {POLICY_SUM: sha256_of(written)}),
    }
    write_record(folder.train_file, summary)
    return summary


def _learn(trial: Trial, progress: bool, callbacks: Sequence[BaseCallback]) -> int | None:
    """Train to the end and return ``None``, or until a signal and return its number; write the last checkpoint."""
    config, model, checkpoints = trial.config, trial.model, trial.checkpoints
    arguments: dict[str, Any] = {"reset_num_timesteps": False} if trial.step else {}
    logs = logging_to(config.log.loggers, trial.folder.path, config.as_dict(), trial.step)
    with logs as opened, stopping() as request:
        used = [ScalarLogCallback(opened), *_callbacks(trial), *callbacks]
        if checkpoints is None:
            used.append(StopCallback(request))
        else:
            checkpoints.model.interruption.requested = request
        try:
            model.learn(
                config.total_timesteps - trial.step, used, tb_log_name="run", progress_bar=progress, **arguments
            )
        except KeyboardInterrupt:  # in the middle of a step there is a model, but no state to resume from
            return SIGINT
        ended = model.num_timesteps >= config.total_timesteps
        if checkpoints is not None and (not ended or config.log.writes_checkpoints):
            checkpoints.write()
    return None if ended else request.signal


def replay_run(folder: RunFolder) -> dict[str, float]:
    """Repeat the step at which a run diverged, see :func:`camal_rl.agents.divergence.replay`.

    Raises:
        FileNotFoundError: the folder holds no ``diverged.pt``.
        TypeError: the algorithm is not derived from PPO with auxiliary terms.
    """
    if not folder.diverged_file.is_file():
        raise FileNotFoundError(f"{folder.path} contains no {folder.diverged_file.name}; did its training diverge?")
    config = agent_run_config(folder)
    with closing(make_training_env(config)) as venv:
        model = make_model(config, venv, folder)
        if not isinstance(model, PPOWithTerms):
            raise TypeError(
                f"only steps of a camal_rl.agents.PPOWithTerms can be repeated, got a {type(model).__name__}"
            )
        return replay(model, folder.diverged_file)


def _callbacks(trial: Trial) -> list[BaseCallback]:
    config = trial.config
    callbacks: list[BaseCallback] = [UpdateLogCallback()]
    if trial.step == 0:
        callbacks.insert(0, HParamCallback(flat_settings(config.as_dict())))
    callbacks += [each for each in (trial.overlay, trial.held_out) if each is not None]
    if trial.checkpoints is not None and config.log.writes_checkpoints:
        callbacks.append(CheckpointCallback(trial.checkpoints, config.log))
    return callbacks

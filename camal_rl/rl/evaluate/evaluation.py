"""Evaluate a trained run zero-shot on level sets: returns and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from camal_rl.envs import SegmentedVecEnv, family_of
from camal_rl.rl.algorithms import Agent, attentive_policy, checked_agent, find_algorithm
from camal_rl.rl.config import EvaluationConfig, ExperimentConfig, agent_run_config
from camal_rl.rl.environments import level_set_options, make_level_set_env
from camal_rl.rl.evaluate.attention import SUITES, Suite, attention_report
from camal_rl.rl.evaluate.counterfactuals import counterfactual_report
from camal_rl.rl.evaluate.faithfulness import check_suite_support
from camal_rl.rl.evaluate.returns import IsDuplicate, play_episodes
from camal_rl.rl.frames import sample_frames
from camal_rl.runs.run_folder import RunFolder, read_json, write_json

ACTIONS = {"stochastic": False, "deterministic": True}
OnStage = Callable[[str], None]


def evaluation_settings(config: ExperimentConfig, episodes: int | None, frames: int | None) -> EvaluationConfig:
    """Return a run's evaluation settings with the given numbers in place of its own."""
    settings = config.evaluation
    return replace(
        settings,
        episodes=settings.episodes if episodes is None else episodes,
        frames=settings.frames if frames is None else frames,
    )


def check_suite(name: str) -> Suite:
    """Return the suite of that name.

    Raises:
        ValueError: there is none.
        ImportError: it needs a package that is not installed; the message holds the install line.
    """
    if name not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {name!r}")
    if name == "full":
        check_suite_support()
    return cast(Suite, name)


def stages(settings: EvaluationConfig, suite: Suite = "quick") -> list[str]:
    """Return the names of the stages that :func:`evaluate_run` goes through, for a progress bar."""
    play = [f"returns on {name}, {actions} actions" for name in settings.sets for actions in ACTIONS]
    looks = ("attention",) if suite == "quick" else ("attention", "counterfactuals")
    seen = settings.attention_sets if settings.frames else ()
    return play + [f"{look} on {name}" for look in looks for name in seen]


def load_model(folder: RunFolder) -> Any:
    """Load a run's trained model, an :class:`camal_rl.rl.algorithms.Agent`, without an environment."""
    config = agent_run_config(folder)
    if not folder.model_file.is_file():
        raise FileNotFoundError(f"{folder.path} holds no {folder.model_file.name}; has its training ended?")
    # A run that was trained on a GPU can be evaluated where there is none.
    device = "cpu" if config.device == "cpu" else "auto"
    spec = find_algorithm(config.algorithm_name)
    return checked_agent(spec.load(folder.model_file, device=device), config.algorithm_name)


def evaluate_run(
    folder: RunFolder,
    model: Agent,
    settings: EvaluationConfig,
    on_stage: OnStage = lambda _: None,
    suite: Suite = "quick",
) -> dict[str, Any]:
    """Evaluate a run and write ``metrics.json``.

    Args:
        folder: a trained run.
        model: its model, from :func:`load_model`.
        settings: what is measured.
        on_stage: called with the name of each stage that :func:`stages` lists, when it is done.
        suite: ``quick``, or ``full`` for every faithfulness figure and the simulator's counterfactuals.

    Returns:
        What ``metrics.json`` holds: ``run``, ``suite``, ``settings``, ``returns`` by level set and kind of action,
        ``gap`` (return on ``train`` minus return on the set), ``attention`` by level set and target; in the full suite
        ``counterfactuals`` by level set, where the simulator can redraw its states.
    """
    config = agent_run_config(folder)
    if config.threads:
        torch.set_num_threads(config.threads)
    returns: dict[str, Any] = {}
    for name in settings.sets:
        returns[name] = _returns(config, settings, model, name, on_stage)
    attention: dict[str, Any] = {}
    for name in settings.attention_sets if settings.frames else ():
        attention[name] = _attention(config, settings, model, name, suite)
        on_stage(f"attention on {name}")
    counterfactuals: dict[str, Any] = {}
    for name in settings.attention_sets if settings.frames and suite == "full" else ():
        found = _counterfactuals(config, settings, model, name)
        if found is not None:
            counterfactuals[name] = found
        on_stage(f"counterfactuals on {name}")
    metrics = {
        "run": _run_facts(config, folder),
        "suite": suite,
        "settings": {**vars(settings), "sets": list(settings.sets), "attention_sets": list(settings.attention_sets)},
        "returns": returns,
        "gap": _gaps(returns),
        "attention": attention,
        "counterfactuals": counterfactuals,
    }
    write_json(folder.metrics_file, metrics)
    return read_json(folder.metrics_file)


def _run_facts(config: ExperimentConfig, folder: RunFolder) -> dict[str, Any]:
    facts = {"env": config.env.id, "name": config.experiment_name, "method": config.method_name, "seed": config.seed}
    return {**facts, "training": read_json(folder.train_file) if folder.train_file.is_file() else None}


def _returns(
    config: ExperimentConfig, settings: EvaluationConfig, model: Agent, name: str, on_stage: OnStage
) -> dict[str, Any]:
    num_envs = min(settings.num_envs, settings.episodes)
    is_duplicate = _duplicate_check(config, name)
    results = {}
    for actions, deterministic in ACTIONS.items():
        # A new environment with the same seed, so that both kinds of action meet the same levels.
        venv = make_level_set_env(config, name, num_envs, settings.seed, masks=False)
        try:
            played = play_episodes(model, venv, settings.episodes, deterministic, settings.seed, is_duplicate)
        finally:
            venv.close()
        results[actions] = {**played.summary(), **_normalized(config.env.id, played.returns)}
        on_stage(f"returns on {name}, {actions} actions")
    return results


def _attention(
    config: ExperimentConfig, settings: EvaluationConfig, model: Agent, name: str, suite: Suite
) -> dict[str, Any]:
    policy = attentive_policy(model)
    with _frames_env(config, settings, name) as venv:
        frames = sample_frames(model, venv, settings.frames, settings.frame_every, settings.seed)
    return attention_report(policy, frames, config.camal, settings.seed, suite)


def _counterfactuals(
    config: ExperimentConfig, settings: EvaluationConfig, model: Agent, name: str
) -> dict[str, Any] | None:
    with _frames_env(config, settings, name) as venv:
        return counterfactual_report(model, venv, settings.frames, settings.frame_every, config.camal, settings.seed)


@contextmanager
def _frames_env(config: ExperimentConfig, settings: EvaluationConfig, name: str) -> Iterator[SegmentedVecEnv]:
    venv = make_level_set_env(config, name, min(settings.num_envs, settings.frames), settings.seed, masks=True)
    try:
        yield venv
    finally:
        venv.close()


def _gaps(returns: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    if "train" not in returns:
        return {}
    return {
        name: {actions: returns["train"][actions]["mean"] - result[actions]["mean"] for actions in ACTIONS}
        for name, result in returns.items()
        if name != "train"
    }


def _duplicate_check(config: ExperimentConfig, set_name: str) -> IsDuplicate | None:
    """Return a check for levels that look like training levels, for held-out sets of families that can have them."""
    family, name = family_of(config.env.id)
    fingerprints, fingerprint = family.training_fingerprints, family.frame_fingerprint
    if fingerprints is None or fingerprint is None or not set_name.startswith("held_out"):
        return None
    known = fingerprints(name, level_set_options(config.env, "train"))

    def is_duplicate(frame: npt.NDArray[np.uint8]) -> bool:
        return fingerprint(frame) in known

    return is_duplicate


def _normalized(env_id: str, returns: npt.NDArray[np.float64]) -> dict[str, float]:
    family, name = family_of(env_id)
    if family.normalized_score is None or len(returns) == 0:
        return {}
    return {"normalized": float(np.mean(family.normalized_score(name, returns)))}

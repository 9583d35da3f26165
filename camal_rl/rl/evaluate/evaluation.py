"""Evaluates a trained run zero-shot on level sets: returns and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from camal_rl.envs import SegmentedVecEnv, family_of
from camal_rl.rl.algorithms import TrainedAgent, attentive_policy
from camal_rl.rl.config import EvaluationConfig, ExperimentConfig, agent_run_config
from camal_rl.rl.env_config import EnvConfig
from camal_rl.rl.environments import level_set_options, make_level_set_env
from camal_rl.rl.evaluate.attention import AttentionReport, attention_report
from camal_rl.rl.evaluate.counterfactuals import counterfactual_report
from camal_rl.rl.evaluate.returns import EpisodeReturns, IsDuplicate, play_episodes
from camal_rl.rl.frames import sample_frames
from camal_rl.runs.faithfulness_suite import check_suite
from camal_rl.runs.metrics_file import MapDescription, RunMetrics, write_metrics
from camal_rl.runs.origin import run_origin
from camal_rl.runs.results import Result, Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import OWN_SETTINGS, EvaluationOptions

ACTIONS = {"stochastic": False, "deterministic": True}
OnStage = Callable[[str], None]


def evaluation_settings(config: ExperimentConfig, options: EvaluationOptions = OWN_SETTINGS) -> EvaluationConfig:
    """Return a run's evaluation settings, with those of the options replacing its own.

    Raises:
        ValueError: there is no such suite.
        ImportError: the suite needs a package that is not installed; the message contains the install command.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    check_suite(given.get("suite", config.evaluation.suite))
    return replace(config.evaluation, **given)


def stages(settings: EvaluationConfig) -> list[str]:
    """Return the names of the stages of :func:`evaluate_run`, for a progress bar."""
    play = [f"returns on {name}, {actions} actions" for name in settings.sets for actions in ACTIONS]
    looks = ("attention",) if settings.suite == "quick" else ("attention", "counterfactuals")
    seen = settings.attention_sets if settings.frames else ()
    return play + [f"{look} on {name}" for look in looks for name in seen]


def evaluate_run(
    folder: RunFolder,
    model: TrainedAgent,
    settings: EvaluationConfig,
    on_stage: OnStage = lambda _: None,
) -> RunMetrics:
    """Evaluate a run and write ``metrics.json``.

    Args:
        folder: a trained run.
        model: its model, from :func:`load_model`.
        settings: the evaluation settings.
        on_stage: called with the name of each finished stage from :func:`stages`.

    Returns:
        The content of ``metrics.json``. Its results for each level set and kind of actions: ``return``,
        ``normalized_return`` if the game has normalization constants, the family's own figures (``score``,
        ``success_<what>``), ``episode_length``, ``excluded_episodes``, and
        ``gap`` (return on ``train`` minus return on the set). For each level set and target: those of
        :func:`camal_rl.rl.evaluate.attention.attention_report`; in the full suite also those of
        :func:`camal_rl.rl.evaluate.counterfactuals.counterfactual_report`, if the simulator can redraw its states.
    """
    config = agent_run_config(folder)
    if config.threads:
        torch.set_num_threads(config.threads)
    results = Results()
    for name in settings.sets:
        results += _returns(config, settings, model, name, on_stage)
    results += _gaps(results)
    maps: dict[str, MapDescription] = {}
    for name in settings.attention_sets if settings.frames else ():
        report = _attention(config, settings, model, name)
        results += report.results
        maps.update(report.maps)
        on_stage(f"attention on {name}")
    for name in settings.attention_sets if settings.frames and settings.suite == "full" else ():
        results += _counterfactuals(config, settings, model, name)
        on_stage(f"counterfactuals on {name}")
    asked = {**vars(settings), "sets": list(settings.sets), "attention_sets": list(settings.attention_sets)}
    metrics = RunMetrics(_run_facts(config, folder), asked.pop("suite"), asked, results, maps)
    write_metrics(folder.metrics_file, metrics)
    return metrics


def _run_facts(config: ExperimentConfig, folder: RunFolder) -> dict[str, Any]:
    facts = {"env": config.env.id, "name": config.experiment_name, "method": config.method_name, "seed": config.seed}
    return {**facts, "training": folder.training(), "provenance": run_origin(folder)}


def _returns(
    config: ExperimentConfig, settings: EvaluationConfig, model: TrainedAgent, name: str, on_stage: OnStage
) -> list[Result]:
    num_envs = min(settings.num_envs, settings.episodes)
    is_duplicate = duplicate_check(config.env, name)
    results = []
    for actions, deterministic in ACTIONS.items():
        # A new environment with the same seed, so that both kinds of actions play the same levels.
        venv = make_level_set_env(config, name, num_envs, settings.seed, masks=False)
        try:
            played = play_episodes(model, venv, settings.episodes, deterministic, settings.seed, is_duplicate)
        finally:
            venv.close()
        results += [
            *played.results(name, actions),
            *_normalized(config.env.id, played.returns, name, actions),
            *_scores(config.env.id, played, name, actions),
        ]
        on_stage(f"returns on {name}, {actions} actions")
    return results


def _attention(config: ExperimentConfig, settings: EvaluationConfig, model: TrainedAgent, name: str) -> AttentionReport:
    policy = attentive_policy(model)
    with _frames_env(config, settings, name) as venv:
        frames = sample_frames(model, venv, settings.frames, settings.frame_every, settings.seed)
    return attention_report(policy, frames, config.camal, settings.seed, settings.suite, name)


def _counterfactuals(config: ExperimentConfig, settings: EvaluationConfig, model: TrainedAgent, name: str) -> Results:
    frames, every, seed = settings.frames, settings.frame_every, settings.seed
    with _frames_env(config, settings, name) as venv:
        return counterfactual_report(model, venv, frames, every, config.camal, seed, name)


@contextmanager
def _frames_env(config: ExperimentConfig, settings: EvaluationConfig, name: str) -> Iterator[SegmentedVecEnv]:
    venv = make_level_set_env(config, name, min(settings.num_envs, settings.frames), settings.seed, masks=True)
    try:
        yield venv
    finally:
        venv.close()


def _gaps(results: Results) -> list[Result]:
    """Return how much higher the mean return is on training levels; undefined if either mean is undefined."""
    found = []
    for each in results.select(figure="return"):
        trained = results.find(each.key._replace(level_set="train"))
        if trained is not None and each.level_set != "train":
            defined = trained.value is not None and each.value is not None
            gap = trained.value - each.value if defined else None  # type: ignore[operator]
            found.append(Result(figure="gap", level_set=each.level_set, control=each.control, value=gap))
    return found


def duplicate_check(env: EnvConfig, set_name: str) -> IsDuplicate | None:
    """Return a check for held-out levels that look like training levels, for families where these occur."""
    family, name = family_of(env.id)
    fingerprints, fingerprint = family.training_fingerprints, family.frame_fingerprint
    if fingerprints is None or fingerprint is None or not set_name.startswith("held_out"):
        return None
    known = fingerprints(name, level_set_options(env, "train"))

    def is_duplicate(frame: npt.NDArray[np.uint8]) -> bool:
        return fingerprint(frame) in known

    return is_duplicate


def _normalized(env_id: str, returns: npt.NDArray[np.float64], level_set: str, actions: str) -> list[Result]:
    family, name = family_of(env_id)
    if family.normalized_score is None or len(returns) == 0:
        return []
    value = float(np.mean(family.normalized_score(name, returns)))
    return [Result(figure="normalized_return", level_set=level_set, control=actions, value=value, count=len(returns))]


def _scores(env_id: str, played: EpisodeReturns, level_set: str, actions: str) -> list[Result]:
    """Return the figures that a family has of its own."""
    family, name = family_of(env_id)
    count = len(played.last_infos)
    if family.episode_scores is None or count == 0:
        return []
    return [
        Result(figure=figure, level_set=level_set, control=actions, value=value, count=count)
        for figure, value in family.episode_scores(name, played.last_infos).items()
    ]

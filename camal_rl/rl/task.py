"""Agents as a task: the interface for comparison, report and command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from camal_rl.rl.algorithms import DEFAULT_ALGORITHM, attentive_policy, find_algorithm
from camal_rl.rl.attention_grid import attention_grid
from camal_rl.rl.config import MAP_SETTINGS, ExperimentConfig
from camal_rl.rl.environments import check_masks
from camal_rl.rl.evaluate.evaluation import evaluate_run, evaluation_settings, stages
from camal_rl.rl.evaluate.held_out import HELD_OUT_RETURN
from camal_rl.rl.export import check_export, export_agent, export_policy
from camal_rl.rl.hub_model import agent_hub_model
from camal_rl.rl.model_file import load_model
from camal_rl.rl.step_report import StepReport, mean_return_words
from camal_rl.rl.training import Trial, prepare, run
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.program_file import Exported
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.sections import chosen_name
from camal_rl.runs.task import OWN_SETTINGS, AnyRun, AttentionGrid, Evaluation, EvaluationOptions, OnSteps


class AgentTask:
    """Training and evaluation of agents, see :class:`camal_rl.runs.task.Task`."""

    name: ClassVar[str] = "agent"
    verb: ClassVar[str] = "train"
    config_type: ClassVar[type[Any]] = ExperimentConfig
    curves: ClassVar[Mapping[str, str]] = {
        "rollout/ep_rew_mean": "return on training levels",
        HELD_OUT_RETURN: "return on held-out levels",
        "camal/value/epg": "EPG of the value map",
        "camal/policy/epg": "EPG of the policy map",
        "camal/q/epg": "EPG of the Q map",
    }
    same_axis: ClassVar[tuple[frozenset[str], ...]] = (
        frozenset({"rollout/ep_rew_mean", HELD_OUT_RETURN}),
        frozenset({"camal/value/epg", "camal/policy/epg", "camal/q/epg"}),
    )
    map_settings: ClassVar[tuple[str, ...]] = MAP_SETTINGS
    report_parts: ClassVar[tuple[str, ...]] = ("returns", "alignment", "faithfulness", "counterfactuals")
    frame: ClassVar[str] = "frame"
    length: ClassVar[str | None] = "total_timesteps"
    objective: ClassVar[str] = "return@train"
    tuning_sets: ClassVar[tuple[str, ...]] = ("train",)

    def owns(self, data: Mapping[str, Any]) -> bool:
        """Return whether plain data is the configuration of an agent, which has a section ``env``."""
        return "env" in data

    def method_config(self, config: ExperimentConfig, method: str, seed: int) -> ExperimentConfig:
        """Return the configuration of a method, see :meth:`camal_rl.rl.config.ExperimentConfig.for_method`.

        Raises:
            ValueError: the method is unknown, or a part of its name has weight 0.
        """
        own = config.for_method(method)
        missing = [part for part in method.split("+") if part not in own.method_name.split("+")]
        if missing:
            where = "camal" if missing[0] == own.camal.loss else f"methods.{missing[0]}"
            raise ValueError(f"{where}.weight is 0, so {method} equals {own.method_name}; give a weight above 0")
        # One thread per process, so that results do not depend on the number of parallel runs. The settings of the
        # other methods are left out, so that this run stays valid when they change.
        return replace(own, seed=seed, threads=1)

    def prepare(self, config: ExperimentConfig, folder: RunFolder, resume: bool = False) -> Trial:
        """Create environment and model; training that cannot be resumed starts again.

        Raises:
            ValueError: as in :func:`camal_rl.rl.training.prepare`; or the subsequent evaluation needs masks that the
                environment does not have.
            ImportError: that evaluation needs a package that is not installed.
        """
        evaluation_settings(config)
        if config.env.segmentation is None and config.evaluation.frames:
            try:
                check_masks(config)
            except ValueError as error:
                raise ValueError(f"attention is measured against masks: {error}; set evaluation.frames=0") from error
        return prepare(config, folder, resume, or_anew=True)

    def why_unknown(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Return the algorithm's explanation for an unknown key, such as an argument of PPO that is not a setting."""
        return find_algorithm(chosen_name(data, "algorithm") or DEFAULT_ALGORITHM).why_unknown(key)

    def train(self, trial: Trial, command: Sequence[str], on_steps: OnSteps) -> Mapping[str, Any]:
        """Train and write the run folder; return the content of ``train.json``."""

        def told(done: int, total: int, mean: float | None) -> None:
            on_steps(done, total, "" if mean is None else mean_return_words(mean))

        return run(trial, command, callbacks=[StepReport(told)])

    def evaluation(
        self, folder: RunFolder, config: ExperimentConfig, options: EvaluationOptions = OWN_SETTINGS
    ) -> Evaluation:
        """Load a trained agent and return its evaluation, ready to start."""
        settings = evaluation_settings(config, options)
        folder.check_metrics_writable()
        model = load_model(folder)
        if settings.frames:
            attentive_policy(model)
        return Evaluation(stages(settings), lambda on_stage: evaluate_run(folder, model, settings, on_stage))

    def attention_grid(self, runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
        """Return the maps of every method's run on the same frames."""
        return attention_grid(runs, count)

    def model_file(self, folder: RunFolder) -> Path:
        """Return the file of a run's trained agent: its policy, or the whole model if there is no policy file."""
        return folder.policy_file if folder.policy_file.is_file() else folder.model_file

    def export(
        self, folder: RunFolder, config: ExperimentConfig, out: Path, file_format: str
    ) -> Callable[[], Exported]:
        """Load a trained agent and return a function that writes its policy as a file."""
        model = load_model(folder)
        policy = model.policy.cpu()
        kind = check_export(policy, out, file_format)
        return lambda: export_agent(model, out) if kind == "safetensors" else export_policy(policy, out, kind)

    def hub_model(self, folder: RunFolder, config: ExperimentConfig) -> HubModel:
        """Load a trained agent and return it in the form for sharing."""
        return agent_hub_model(folder, config)

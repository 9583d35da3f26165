"""Image classifiers as a task: the interface for comparison, report and command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.program_file import Exported, check_target
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import OWN_SETTINGS, AnyRun, AttentionGrid, Evaluation, EvaluationOptions, OnSteps
from camal_rl.supervised.attention_grid import attention_grid
from camal_rl.supervised.config import MAP_SETTINGS, SupervisedConfig
from camal_rl.supervised.evaluation import evaluate_classifier, evaluation_settings, load_trained, stages
from camal_rl.supervised.export import export_classifier
from camal_rl.supervised.hub_model import classifier_hub_model
from camal_rl.supervised.training import Trial, prepare, run


class ClassifierTask:
    """Training and evaluation of image classifiers, see :class:`camal_rl.runs.task.Task`."""

    name: ClassVar[str] = "classifier"
    verb: ClassVar[str] = "fit"
    config_type: ClassVar[type[Any]] = SupervisedConfig
    curves: ClassVar[Mapping[str, str]] = {
        "held_out/accuracy": "accuracy on held-out images",
        "camal/class/epg": "EPG of the class map",
        "camal/class/iou": "IoU of the class map",
    }
    same_axis: ClassVar[tuple[frozenset[str], ...]] = ()
    map_settings: ClassVar[tuple[str, ...]] = MAP_SETTINGS
    report_parts: ClassVar[tuple[str, ...]] = ("accuracy", "alignment", "faithfulness", "backgrounds")
    frame: ClassVar[str] = "image"
    length: ClassVar[str | None] = None
    objective: ClassVar[str] = "accuracy@validation"
    tuning_sets: ClassVar[tuple[str, ...]] = ("train", "validation")

    def owns(self, data: Mapping[str, Any]) -> bool:
        """Return whether plain data is the configuration of a classifier: it has a section ``data`` but no ``env``."""
        return "data" in data and "env" not in data

    def method_config(self, config: SupervisedConfig, method: str, seed: int) -> SupervisedConfig:
        """Return the configuration of a method, see :meth:`SupervisedConfig.for_method`."""
        return replace(config.for_method(method), seed=seed, threads=1)

    def prepare(self, config: SupervisedConfig, folder: RunFolder, resume: bool = False) -> Trial:
        """Check the evaluation settings, and create images and model."""
        evaluation_settings(config)
        return prepare(config, folder, resume)

    def why_unknown(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Return no explanation for unknown keys."""
        return None

    def train(self, trial: Trial, command: Sequence[str], on_steps: OnSteps) -> Mapping[str, Any]:
        """Train and write the run folder; return the content of ``train.json``."""
        return run(trial, command, on_step=lambda done, steps: on_steps(done, steps, ""))

    def evaluation(
        self, folder: RunFolder, config: SupervisedConfig, options: EvaluationOptions = OWN_SETTINGS
    ) -> Evaluation:
        """Load a trained classifier with its images and return its evaluation, ready to start.

        Raises:
            ValueError: options that are for agents.
        """
        if options.episodes is not None:
            raise ValueError(f"--episodes is for agents, but {folder.path} is a run on images; omit it")
        settings = evaluation_settings(config, options)
        folder.check_metrics_writable()
        trained = load_trained(folder, config)
        return Evaluation(
            stages(settings), lambda on_stage: evaluate_classifier(folder, config, trained, settings, on_stage)
        )

    def attention_grid(self, runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
        """Return the class maps of every method's run on the same images."""
        return attention_grid(runs, count)

    def model_file(self, folder: RunFolder) -> Path:
        """Return the file that holds a run's trained classifier."""
        return folder.weights_file

    def export(
        self, folder: RunFolder, config: SupervisedConfig, out: Path, file_format: str
    ) -> Callable[[], Exported]:
        """Load a trained classifier with its images and return a function that writes it as a file."""
        kind = check_target(out, file_format)
        if kind == "safetensors":
            raise ValueError(
                f"{folder.weights_file} already contains the weights in safetensors, and {folder.config_file} "
                "describes the model; give --format pt2 or onnx"
            )
        model, size = load_trained(folder, config).model.cpu(), config.data.image_size
        return lambda: export_classifier(model, size, out, kind)

    def hub_model(self, folder: RunFolder, config: SupervisedConfig) -> HubModel:
        """Load a trained classifier and return it in the form for sharing."""
        return classifier_hub_model(folder, config)

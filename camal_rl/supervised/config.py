"""The configuration of a run on images: frozen dataclasses, checked when they are created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from camal_rl.attention import CamMethod, Rectification
from camal_rl.camal_config import CamalConfig as AgentCamalConfig
from camal_rl.camal_config import Schedule
from camal_rl.losses import LOSSES
from camal_rl.mask_changes import MaskChange
from camal_rl.runs.checks import (
    Amount,
    Count,
    CountOrNone,
    Seed,
    Share,
    Workers,
    check_folder_name,
    check_section,
    with_settings,
)
from camal_rl.runs.folders import portable_name
from camal_rl.runs.scalar_logs import check_loggers
from camal_rl.runs.settings import CheckpointSettings, Device, RunSettings, Suite
from camal_rl.runs.tuning import Tuning, check_not_tuned_on
from camal_rl.spelling import did_you_mean
from camal_rl.targets import Coverage

MapTarget = Literal["true", "predicted"]
Score = Literal["logit", "log_probability"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

MAP_SETTINGS = ("target", "score", "method", "rectification", "coverage")
"""Settings of ``camal`` that define the measured maps and targets; with weight 0 only these have an effect."""

VANILLA, IFAM = "vanilla", "ifam"


@dataclass(frozen=True)
class CamalConfig:
    """Settings of the CAMAL term: what it supervises, and how strongly.

    The training loss is ``cross-entropy + weight(t) * loss(map, mask)``, where the second term is over the images with
    a mask.

    Attributes:
        weight: coefficient of the term, at least 0. With 0, training is bit-identical to plain training.
        target: the class whose map is supervised: the ``true`` or the ``predicted`` class.
        score: the differentiated score: the class's ``logit``, as in Grad-CAM, or its ``log_probability``, whose map
            also shows evidence against the other classes.
        method: the class activation map: gradcam, hirescam, layercam, gradcam++ or normgrad.
        rectification: how contributions that lower the score count: ``relu`` ignores them, ``absolute`` counts them
            like contributions that raise it.
        loss: ``camal``, ``camal_square``, or a published loss on the same maps: energy, l1, ppce, rrr, mse.
        inside_weight: coefficient of the inside part of the loss, relative to the outside part.
        schedule: ``constant``; ``warmup`` rises linearly from 0 over the first ``schedule_fraction`` of training;
            ``decay`` falls linearly to 0 over the last ``schedule_fraction``.
        schedule_fraction: share in (0, 1] of the training steps for the warm-up or the decay.
        coverage: how relevant a cell of the CAM grid is: with ``any``, fully if it contains any pixel of the mask; with
            ``soft``, its share of such pixels.
    """

    weight: float = 0.5
    target: MapTarget = "true"
    score: Score = "logit"
    method: CamMethod = "gradcam"
    rectification: Rectification = "relu"
    loss: str = "camal"
    inside_weight: float = 1.0
    schedule: Schedule = "constant"
    schedule_fraction: float = 0.25
    coverage: Coverage = "any"

    def __post_init__(self) -> None:
        """Check every setting; those shared with agents are checked by the agents' code."""
        self._shared()
        choices = {"target": MapTarget, "score": Score, "rectification": Rectification}
        for name, kind in choices.items():
            _choice(f"camal.{name}", getattr(self, name), get_args(kind))

    def _shared(self) -> AgentCamalConfig:
        names = ("weight", "method", "loss", "inside_weight", "schedule", "schedule_fraction", "coverage")
        return AgentCamalConfig(**{name: getattr(self, name) for name in names})

    def weight_at(self, progress: float) -> float:
        """Return the coefficient at ``progress`` in [0, 1], the finished share of training."""
        return self._shared().weight_at(progress)


@dataclass(frozen=True)
class DataConfig:
    """The images.

    Attributes:
        name: an image set, such as ``spurious_shapes`` or ``folder``.
        root: folder of a local copy, for sets that are not generated.
        image_size: side of the images in pixels.
        seed: seed of generated images, of splits and of the choice of images with masks; independent of the run's seed,
            so that all seeds of a comparison use the same data.
        mask_fraction: share of the training images that keep their mask; the others only train classification.
        mask_change: makes the masks of training images worse than they are, to study how exact masks have to be:
            ``none``, ``dilated``, ``eroded``, ``shifted``, ``boxes``, ``noisy``
            (:func:`camal_rl.mask_changes.changed_masks`). Validation and test keep the true masks.
        mask_amount: the amount of this change.
        augment: whether to augment training images together with their masks, or the settings of the augmentation;
            ``None``: only photographs are augmented.
        options: further options of the image set.
    """

    name: str
    root: str | None = None
    image_size: Annotated[int, Field(ge=8, le=4096)] = 64
    seed: Seed = 0
    mask_fraction: Share = 1.0
    mask_change: MaskChange = "none"
    mask_amount: Share = 0.0
    augment: bool | Mapping[str, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "data")
        if self.root == "":
            raise ValueError("data.root must name a folder, got ''; omit it for a generated image set")


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        name: name of a model, see ``camal_rl.supervised.models.build_model``.
        cam_layer: name of the layer of the maps; ``None`` uses the model's default.
        options: options of the model.
    """

    name: str = "compact"
    cam_layer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizationConfig:
    """AdamW with a linear warm-up and a cosine decay to 0.

    Attributes:
        epochs: passes over the training images.
        steps: optimizer steps; overrides ``epochs`` if given.
        batch_size: images per step.
        learning_rate: the maximum learning rate.
        weight_decay: weight decay of AdamW.
        warmup_fraction: share of the steps over which the learning rate rises from 0.
        max_grad_norm: maximum norm of gradients, by clipping; 0 disables it.
        precision: ``auto`` is bfloat16 on CUDA and float32 elsewhere; ``float16`` needs CUDA.
        workers: number of processes that load images; 0 loads in the training process.
    """

    epochs: Count = 10
    steps: Count | None = None
    batch_size: Count = 64
    learning_rate: Amount = 1e-3
    weight_decay: Amount = 0.01
    warmup_fraction: Share = 0.05
    max_grad_norm: Amount = 0.0
    precision: Precision = "auto"
    workers: Workers = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "optimization")
        _choice("optimization.precision", self.precision, get_args(Precision))


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation after training.

    Attributes:
        sets: splits of the image set on which accuracy and attention are measured.
        images: number of evenly spaced images of each split on which attention is measured; 0 measures none. Accuracy
            and background swaps use all images.
        grid: cells per side of the grid on which every model's maps are compared with the masks.
        seed: seed of control maps, of the order of ties and of redrawn backgrounds.
        suite: ``quick``, or ``full`` for every faithfulness figure and maps that no method is trained on. ``full``
            takes much longer per image and needs the extra ``explain``.
    """

    sets: tuple[str, ...] = ("test",)
    images: CountOrNone = 256
    grid: Annotated[int, Field(ge=1, le=1024)] = 16
    seed: Seed = 10_000
    suite: Suite = "quick"

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.sets or len(set(self.sets)) != len(self.sets):
            raise ValueError(f"evaluation.sets must name at least one set, each once, got {list(self.sets)}")
        check_section(self, "evaluation")


@dataclass(frozen=True)
class LogConfig(CheckpointSettings):
    """What is written during training.

    Attributes:
        every: steps between entries of the training figures; 0 writes none.
        images: number of held-out images whose accuracy and alignment are logged after every epoch; 0 logs none.
        overlays: number of these images that are drawn with their maps, at the start and the end; 0 draws none.
        checkpoint_every: epochs between checkpoints; 0 disables this trigger.
        checkpoint_minutes: minutes between checkpoints; 0 disables this trigger. If both are 0, a checkpoint is written
            only when a signal ends training.
        checkpoint_keep: number of newest checkpoints to keep; 0 keeps all.
        loggers: loggers of figures besides TensorBoard: ``csv``, ``wandb``, or your own
            (:class:`camal_rl.runs.scalar_logs.ScalarLog`) by name or path.
    """

    every: CountOrNone = 20
    images: CountOrNone = 128
    overlays: Annotated[int, Field(ge=0, le=64)] = 6
    checkpoint_every: CountOrNone = 0
    checkpoint_minutes: Amount = 10.0
    checkpoint_keep: CountOrNone = 3
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges, and that the loggers exist."""
        check_section(self, "log")
        check_loggers(self.loggers)


@dataclass(frozen=True)
class SupervisedConfig(RunSettings):
    """One training run on images and its evaluation.

    Attributes:
        data: the images.
        name: name of the run folder; ``None`` derives it from the data.
        seed: seed of the network and of the order of the images.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: torch threads; 0 leaves torch's choice.
        model: the network.
        optimization: the optimization.
        camal: settings of the CAMAL term, which supervises the attention.
        methods: settings for single methods of a comparison, by method: settings of ``camal``, and under ``model`` and
            ``optimization`` those of these sections.
        evaluation: the evaluation after training.
        log: what is written during training.
        imports: modules to import before anything is checked, also in worker processes, so that they can register
            losses and metrics.
        tuning: the sweep that found these settings, if any; its seeds are refused.
    """

    data: DataConfig
    name: str | None = None
    seed: Seed = 0
    device: Device = "auto"
    threads: Workers = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    camal: CamalConfig = field(default_factory=CamalConfig)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log: LogConfig = field(default_factory=LogConfig)
    imports: tuple[str, ...] = ()
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        """Check ranges and that every method's settings exist."""
        check_section(self, "")
        check_folder_name("name", self.name)
        check_not_tuned_on(self.seed, self.tuning)
        for method in self.methods:
            self.for_method(method)
        if self.camal.weight > 0 and self.data.mask_fraction == 0:
            raise ValueError("camal.weight above 0 needs masks: set data.mask_fraction above 0, or camal.weight=0")

    def for_method(self, method: str) -> SupervisedConfig:
        """Return the configuration of a method of a comparison, without the settings of the others.

        ``vanilla`` is weight 0; ``ifam`` is weight 0 with the model ``ifam``; any other name is an attention loss.

        Raises:
            ValueError: the method or a setting is unknown, or the weight of a method with an attention loss is 0.
        """
        if ":" not in method:
            _choice("methods", method, (VANILLA, IFAM, *LOSSES))
        settings = dict(self.methods.get(method, {}))
        # The options of another model do not apply to iFAM.
        own = ModelConfig(IFAM) if method == IFAM and self.model.name != IFAM else self.model
        model = with_settings(own, settings.pop("model", {}), f"methods.{method}.model")
        optimization = with_settings(
            self.optimization, settings.pop("optimization", {}), f"methods.{method}.optimization"
        )
        if method in (VANILLA, IFAM):
            camal = CamalConfig(weight=0.0, **{name: getattr(self.camal, name) for name in MAP_SETTINGS})
            with_settings(camal, settings, f"methods.{method}")
        else:
            camal = with_settings(replace(self.camal, loss=method), settings, f"methods.{method}")
            if camal.weight == 0:
                raise ValueError(f"camal.weight is 0, so {method} equals vanilla; give a weight above 0")
        return replace(self, model=model, optimization=optimization, camal=camal, methods={})

    @property
    def experiment_name(self) -> str:
        """The name of the experiment, without method and seed."""
        return self.name if self.name is not None else portable_name(self.data.name)

    @property
    def task(self) -> str:
        """The key by which reports group runs."""
        return self.data.name

    @property
    def length(self) -> str:
        """Length of training in words."""
        steps, epochs = self.optimization.steps, self.optimization.epochs
        return f"{epochs:,} epochs" if steps is None else f"{steps:,} steps"

    @property
    def counts_steps(self) -> bool:
        """Whether the length of training is a number of steps; it may be in epochs, see ``length``."""
        return False

    @property
    def baseline(self) -> str:
        """The method with which others are compared."""
        return VANILLA

    @property
    def step_name(self) -> str:
        """The unit of the steps of learning curves."""
        return "optimizer steps"

    @property
    def method_name(self) -> str:
        """``ifam`` for that model, ``vanilla`` for weight 0, otherwise the name of the attention loss."""
        if self.camal.weight > 0:
            return self.camal.loss
        return IFAM if self.model.name == IFAM else VANILLA


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = f"; {did_you_mean(value, choices)}".rstrip("; ")
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}")


def supervised_config(config: object) -> SupervisedConfig:
    """Return a configuration if it is for a run on images, otherwise raise a ValueError."""
    if not isinstance(config, SupervisedConfig):
        raise ValueError("the configuration has no section data, so it is for agents; use camal-rl train")
    return config

"""The interface of a kind of training to the other subpackages: one task for agents, one for image classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from camal_rl.overlays import RGBImage

if TYPE_CHECKING:
    from camal_rl.runs.hub_model import HubModel
    from camal_rl.runs.metrics_file import RunMetrics
    from camal_rl.runs.program_file import Exported
    from camal_rl.runs.run_folder import RunFolder

OnSteps = Callable[[int, int, str], None]
"""Called with the finished training steps, all training steps, and details in words, which may be empty."""
OnStage = Callable[[str], None]
"""Called with the name of each finished stage of an evaluation."""

_TASKS = {"agent": "camal_rl.rl.task:AgentTask", "classifier": "camal_rl.supervised.task:ClassifierTask"}


class RunConfig(Protocol):
    """The common interface of the configurations of all tasks."""

    @property
    def seed(self) -> int:
        """Seed of everything random in training."""

    @property
    def experiment_name(self) -> str:
        """The name of the experiment, without method and seed."""

    @property
    def task(self) -> str:
        """The key by which reports group runs: id of the environment, or name of the image set."""

    @property
    def length(self) -> str:
        """Length of training in words."""

    @property
    def counts_steps(self) -> bool:
        """Whether the length of training is a number of steps; otherwise ``length`` describes it."""

    @property
    def baseline(self) -> str:
        """The method with which others are compared."""

    @property
    def step_name(self) -> str:
        """The unit of the steps of learning curves."""

    @property
    def method_name(self) -> str:
        """The method that this configuration trains."""

    @property
    def acting_note(self) -> str:
        """What the method receives beside images when it acts, in a few words; empty if nothing."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as in YAML and JSON."""


class Trial(Protocol):
    """A run that is ready to start: everything exists in memory, nothing is on disk yet."""

    @property
    def step(self) -> int:
        """The step from which training continues; 0 for a new run."""

    def close(self) -> None:
        """Free simulators and files if the run is not started."""


class AnyRun(Protocol):
    """The interface of a run to the other subpackages."""

    @property
    def label(self) -> str:
        """Name of the run in tables."""

    @property
    def config(self) -> RunConfig:
        """Its configuration."""

    @property
    def folder(self) -> RunFolder:
        """Its folder."""


@dataclass(frozen=True)
class AttentionGrid:
    """Attention maps of every method on the same frames: titled columns of small pictures, one row per frame.

    Attributes:
        columns: title to pictures ``uint8 (H, W, 3)``.
        caption: which frames these are, and how they were chosen.
        legend: class name to color, ``#rrggbb``; relevant classes are marked with ``*``.
        sheets: whole pictures by name, for pages that cannot lay out columns.
    """

    columns: Mapping[str, Sequence[RGBImage]]
    caption: str
    legend: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, RGBImage] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationOptions:
    """Options that override a run's own evaluation settings; ``None`` keeps them.

    Attributes:
        episodes: episodes for each level set and kind of action.
        frames: frames or images on which attention is measured; 0 measures none.
        suite: ``quick`` or ``full``.
    """

    episodes: int | None = None
    frames: int | None = None
    suite: str | None = None


OWN_SETTINGS = EvaluationOptions()


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is ready to start.

    Attributes:
        stages: names of its stages.
        run: measures, writes ``metrics.json``, and returns its content.
    """

    stages: list[str]
    run: Callable[[OnStage], RunMetrics]


class Task(Protocol):
    """One kind of training; comparison, report and command line use this interface and do not distinguish kinds.

    Attributes:
        name: ``agent`` or ``classifier``.
        verb: the command that trains it, ``train`` or ``fit``.
        config_type: the class of its configurations.
        curves: tags and titles of the learning curves in a report.
        same_axis: which of these tags share an axis.
        map_settings: keys of the section ``camal`` that define which maps are measured; at weight 0 only these have
            an effect.
        report_parts: the parts of a report, in order: ``returns``, ``accuracy``, ``alignment``, ``faithfulness``,
            ``counterfactuals``, ``backgrounds``.
        frame: name of one picture, ``frame`` or ``image``.
        length: key of the setting by which a finished run can be extended; ``None`` if there is none.
        objective: default objective of a sweep, ``<figure>@<level set>``.
        tuning_sets: level sets or splits on which settings may be chosen, since they are not reserved for testing.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    config_type: ClassVar[type[Any]]
    curves: ClassVar[Mapping[str, str]]
    same_axis: ClassVar[tuple[frozenset[str], ...]]
    map_settings: ClassVar[tuple[str, ...]]
    report_parts: ClassVar[tuple[str, ...]]
    frame: ClassVar[str]
    length: ClassVar[str | None]
    objective: ClassVar[str]
    tuning_sets: ClassVar[tuple[str, ...]]

    def owns(self, data: Mapping[str, Any]) -> bool:
        """Return whether plain data from YAML is a configuration of this task."""

    def method_config(self, config: Any, method: str, seed: int) -> Any:
        """Return the configuration of one method of a comparison; raise a ValueError for an unknown method."""

    def prepare(self, config: Any, folder: RunFolder, resume: bool = False) -> Trial:
        """Create everything that training needs, so that mistakes are found before anything is written.

        Args:
            config: the configuration.
            folder: where the run will be written.
            resume: continue from the newest checkpoint of an unfinished run; without a checkpoint, start again.
        """

    def why_unknown(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Return an explanation for an unknown dotted key if there is a specific one."""

    def train(self, trial: Any, command: Sequence[str], on_steps: OnSteps) -> Mapping[str, Any]:
        """Train and write the run folder; return the content of ``train.json``."""

    def evaluation(self, folder: RunFolder, config: Any, options: EvaluationOptions = OWN_SETTINGS) -> Evaluation:
        """Load a trained run's model and return its evaluation, ready to start.

        Raises:
            ValueError: an option does not apply to this task, or a value is out of range.
            FileNotFoundError, ImportError: there is no model, or a package is missing.
        """

    def attention_grid(self, runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
        """Return attention maps of every method's run on the same ``count`` frames.

        Raises:
            FileNotFoundError: no run has a saved model.
            ImportError, OSError, ValueError: frames cannot be rendered or models cannot be loaded here.
        """

    def model_file(self, folder: RunFolder) -> Path:
        """Return the file that holds a run's trained model."""

    def export(self, folder: RunFolder, config: Any, out: Path, file_format: str) -> Callable[[], Exported]:
        """Load a trained run's model and return a function that writes it as a file that runs without this package.

        Raises:
            ValueError: the format is unknown, or the model cannot be written in it.
            FileExistsError: there is such a file.
            FileNotFoundError, ImportError: there is no model, or a package is missing.
        """

    def hub_model(self, folder: RunFolder, config: Any) -> HubModel:
        """Load a trained run's model and return it in the form for sharing, with the texts for its card.

        Raises:
            ValueError: the model cannot be stored without code.
            FileNotFoundError, ImportError: there is no model, or a package is missing.
        """


def tasks() -> tuple[Task, ...]:
    """Return every task."""
    return tuple(_task(name) for name in _TASKS)


def task_of(config: object) -> Task:
    """Return the task that a configuration belongs to."""
    for task in tasks():
        if isinstance(config, task.config_type):
            return task
    kinds = ", ".join(task.config_type.__name__ for task in tasks())
    raise TypeError(f"expected a configuration ({kinds}), got {type(config).__name__}")


def task_for(data: Mapping[str, Any]) -> Task:
    """Return the task whose configuration the plain data is; the first task if none recognizes it."""
    known = tasks()
    return next((task for task in known if task.owns(data)), known[0])


def _task(name: str) -> Task:
    module, _, attribute = _TASKS[name].partition(":")
    return cast(Task, getattr(import_module(module), attribute)())

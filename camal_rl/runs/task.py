"""What is trained, as the other rooms see it: one task for agents, one for image classifiers."""

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
"""Called with the training steps that are done, those of all, and details in words, perhaps none."""
OnStage = Callable[[str], None]
"""Called with the name of each stage of an evaluation when it is done."""

_TASKS = {"agent": "camal_rl.rl.task:AgentTask", "classifier": "camal_rl.supervised.task:ClassifierTask"}


class RunConfig(Protocol):
    """What the configurations of all tasks have in common."""

    @property
    def seed(self) -> int:
        """Seed of everything random in training."""

    @property
    def experiment_name(self) -> str:
        """The name of the experiment, without method and seed."""

    @property
    def task(self) -> str:
        """What reports group runs by: the environment's id, or the name of the images."""

    @property
    def length(self) -> str:
        """How long training is, in words."""

    @property
    def counts_steps(self) -> bool:
        """Whether training is as long as so many steps; if not, ``length`` says it better."""

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""

    @property
    def step_name(self) -> str:
        """What the steps of learning curves are."""

    @property
    def method_name(self) -> str:
        """The method that this configuration trains."""

    @property
    def acting_note(self) -> str:
        """What is given to the method when it acts, beside images; a few words, empty where that is nothing."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as YAML and JSON hold them."""


class Trial(Protocol):
    """A run that is ready to start: nothing on disk yet, but everything that is needed exists."""

    @property
    def step(self) -> int:
        """The step from which training goes on; 0 begins it."""

    def close(self) -> None:
        """Free simulators and files, if the run is not to start."""


class AnyRun(Protocol):
    """A run as the other rooms know it."""

    @property
    def label(self) -> str:
        """What tables call the run."""

    @property
    def config(self) -> RunConfig:
        """Its configuration."""

    @property
    def folder(self) -> RunFolder:
        """Its folder."""


@dataclass(frozen=True)
class AttentionGrid:
    """What every method looks at, on the same frames: titled columns of small pictures, one row a frame.

    Attributes:
        columns: title to pictures ``uint8 (H, W, 3)``.
        caption: which frames these are, and how they were taken.
        legend: class name to color, ``#rrggbb``; relevant classes are marked with ``*``.
        sheets: whole pictures by name, for pages that cannot lay out columns.
    """

    columns: Mapping[str, Sequence[RGBImage]]
    caption: str
    legend: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, RGBImage] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationOptions:
    """What may differ from a run's own evaluation settings; ``None`` leaves them.

    Attributes:
        episodes: episodes for each level set and kind of action.
        frames: frames or images on which attention is measured; 0 measures none.
        suite: ``quick`` or ``full``.
    """

    episodes: int | None = None
    frames: int | None = None
    suite: str = "quick"


OWN_SETTINGS = EvaluationOptions()


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is ready to start.

    Attributes:
        stages: the names of what it goes through.
        run: measures, writes ``metrics.json``, and returns what it holds.
    """

    stages: list[str]
    run: Callable[[OnStage], RunMetrics]


class Task(Protocol):
    """One kind of thing that is trained; comparison, report and command line ask it, never what it is.

    Attributes:
        name: ``agent`` or ``classifier``.
        verb: the command that trains it, ``train`` or ``fit``.
        config_type: the class of its configurations.
        curves: tags of the learning curves that a report shows, with their titles.
        same_axis: which of these tags share an axis.
        map_settings: keys of the section ``camal`` that define which maps are measured; at weight 0 only these have
            an effect.
        report_parts: the parts of a report, in order: ``returns``, ``accuracy``, ``alignment``, ``faithfulness``,
            ``counterfactuals``, ``backgrounds``.
        frame: what one picture is called, ``frame`` or ``image``.
        length: the key of the setting by which a run that has ended can be made longer; ``None`` where none can.
        objective: what a sweep optimizes by default, ``<figure>@<level set>``.
        tuning_sets: level sets or parts of the images on which settings may be chosen without spending a test.
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
        """Say whether plain data, as YAML holds it, is a configuration of this task."""

    def method_config(self, config: Any, method: str, seed: int) -> Any:
        """Return the configuration of one method of a comparison; a ValueError says that there is none."""

    def prepare(self, config: Any, folder: RunFolder, resume: bool = False) -> Trial:
        """Make everything that training needs, so that mistakes show before anything is written.

        Args:
            config: the configuration.
            folder: where the run will be written.
            resume: go on from the newest checkpoint of a run that did not end; where there is none, begin anew.
        """

    def why_unknown(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Return what to say of a dotted key of plain data that is no setting, where more is known than that."""

    def train(self, trial: Any, command: Sequence[str], on_steps: OnSteps) -> Mapping[str, Any]:
        """Train and fill the run folder; return what ``train.json`` holds."""

    def evaluation(self, folder: RunFolder, config: Any, options: EvaluationOptions = OWN_SETTINGS) -> Evaluation:
        """Load a trained run's model and return its evaluation, ready to start.

        Raises:
            ValueError: an option that means nothing for this task, or a value out of its range.
            FileNotFoundError, ImportError: there is no model, or a package is missing.
        """

    def attention_grid(self, runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
        """Return what every method's run looks at, on the same ``count`` frames.

        Raises:
            FileNotFoundError: no run has a model.
            ImportError, OSError, ValueError: frames or models cannot be made here.
        """

    def model_file(self, folder: RunFolder) -> Path:
        """Return the file that holds a run's trained model."""

    def export(self, folder: RunFolder, config: Any, out: Path, file_format: str) -> Callable[[], Exported]:
        """Load a trained run's model and return what writes it as a file that runs without this package.

        Raises:
            ValueError: a format that there is not, or a model that cannot be written in it.
            FileExistsError: there is such a file.
            FileNotFoundError, ImportError: there is no model, or a package is missing.
        """

    def hub_model(self, folder: RunFolder, config: Any) -> HubModel:
        """Load a trained run's model and return it as it is shared, with what its card says.

        Raises:
            ValueError: a model that cannot be written without code.
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
    """Return the task that plain data is a configuration of; the first one where none claims it."""
    known = tasks()
    return next((task for task in known if task.owns(data)), known[0])


def _task(name: str) -> Task:
    module, _, attribute = _TASKS[name].partition(":")
    return cast(Task, getattr(import_module(module), attribute)())

"""The configuration of an experiment: frozen dataclasses, checked when they are created."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from camal_rl.agents.cam_encoder import Precision
from camal_rl.agents.config import CamalConfig
from camal_rl.agents.encoders import encoder_class
from camal_rl.agents.initialization import Initialization
from camal_rl.envs.registry import is_function
from camal_rl.foreign_code import ForeignCode, no_code_from, of_this_project
from camal_rl.rl.algorithms import DEFAULT_ALGORITHM, find_algorithm, settings_of
from camal_rl.rl.env_config import EnvConfig
from camal_rl.rl.methods import Method, check_terms, parse_method, weight_of
from camal_rl.runs.checks import (
    Amount,
    Copies,
    Count,
    CountOrNone,
    Frames,
    Seed,
    Workers,
    check_folder_name,
    check_section,
    with_settings,
)
from camal_rl.runs.folders import portable_name
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.scalar_logs import check_loggers
from camal_rl.runs.sections import KEY, check_keys, known_keys, read_section
from camal_rl.runs.settings import NAME, CheckpointSettings, Device, RunSettings, Suite
from camal_rl.runs.tuning import Tuning, check_not_tuned_on


@dataclass(frozen=True)
class PolicyConfig:
    """The network.

    Attributes:
        encoder: ``nature``, ``impala``, ``compact``, ``patch``, a name of :func:`camal_rl.agents.register_encoder`, or
            the path of a class, ``package.module:name``.
        precision: floating-point precision of the encoder; ``auto`` is bfloat16 where it is fast.
        cam_layer: dotted name of the layer inside the encoder from whose output maps are computed, such as ``cnn.4``;
            ``null`` is ``cnn`` for a CamEncoder, such as those named above, and the last ``Conv2d`` for any other.
        initialization: of the encoder's weights: ``stock`` is SB3's, ``glorot`` that of TensorFlow's layers (Glorot and
            Bengio 2010), with which published PPO on Procgen was trained.
    """

    encoder: str = "compact"
    precision: Precision = "float32"
    cam_layer: str | None = None
    initialization: Initialization = "stock"

    def __post_init__(self) -> None:
        """Check that the encoder exists."""
        try:
            encoder_class(self.encoder)
        except ValueError as error:
            raise ValueError(f"policy.encoder: {error}") from error


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation after training.

    Attributes:
        sets: level sets of the environment on which returns are measured; gaps are relative to ``train``.
        attention_sets: level sets on which attention is measured.
        episodes: episodes for each level set and kind of action.
        frames: frames of each level set on which attention is measured; 0 measures none.
        frame_every: steps between those frames.
        num_envs: number of parallel environments.
        seed: seed of the levels and actions, different from the training seed.
        suite: ``quick``, or ``full`` for every faithfulness figure, maps that no method is trained on, and the
            simulator's counterfactuals. ``full`` takes much longer per frame and needs the extra ``explain``.
    """

    sets: tuple[str, ...] = ("train", "held_out")
    attention_sets: tuple[str, ...] = ("train", "held_out")
    episodes: Count = 256
    frames: Frames = 512
    frame_every: Count = 7
    num_envs: Copies = 64
    seed: Seed = 10_000
    suite: Suite = "quick"

    def __post_init__(self) -> None:
        """Check ranges."""
        for key, sets in (("sets", self.sets), ("attention_sets", self.attention_sets)):
            if not sets or len(set(sets)) != len(sets):
                raise ValueError(f"evaluation.{key} must name at least one level set, each once, got {list(sets)}")
        check_section(self, "evaluation")


@dataclass(frozen=True)
class LogConfig(CheckpointSettings):
    """What is written during training.

    Attributes:
        checkpoint_every: environment steps between checkpoints, rounded up to whole rollouts; 0 disables this trigger.
        checkpoint_minutes: minutes between checkpoints, rounded up to whole rollouts; 0 disables this trigger. If both
            are 0, a checkpoint is written only when a signal ends training.
        checkpoint_keep: number of newest checkpoints to keep; 0 keeps all.
        overlay_every: environment steps between overlay pictures in TensorBoard; 0 writes none.
        overlay_frames: number of frames on an overlay picture.
        held_out_every: environment steps between measurements of the return on the first held-out set of
            ``evaluation.sets``; 0 measures none. Training is not affected.
        held_out_episodes: number of episodes per measurement.
        loggers: loggers of figures besides TensorBoard: ``csv``, ``wandb``, or your own
            (:class:`camal_rl.runs.scalar_logs.ScalarLog`) by name or path.
    """

    checkpoint_every: CountOrNone = 250_000
    checkpoint_minutes: Amount = 10.0
    checkpoint_keep: CountOrNone = 3
    overlay_every: CountOrNone = 100_000
    overlay_frames: Annotated[int, Field(ge=1, le=64)] = 6
    held_out_every: CountOrNone = 0
    held_out_episodes: Count = 64
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges, and that the loggers exist."""
        check_section(self, "log")
        check_loggers(self.loggers)


SEES_MASKS = "sees masks"
MAP_SETTINGS = ("targets", "method", "coverage", "value_rectification", "policy_rectification")
"""Settings of ``camal`` that define the measured maps and targets; with weight 0 only these have an effect."""


@dataclass(frozen=True)
class ExperimentConfig(RunSettings):
    """One training run and its evaluation.

    Attributes:
        env: the training environment.
        name: name of the run folder; ``None`` derives it from the environment.
        seed: seed of the network, the actions and the levels.
        total_timesteps: number of environment steps of training.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: torch threads; 0 leaves torch's choice.
        algorithm: the algorithm's settings, an object of its dataclass (:class:`camal_rl.rl.ppo.PPOConfig`); a mapping
            of some of them, as in YAML, is accepted too.
        policy: the network.
        camal: settings of the CAMAL term, which supervises the attention.
        terms: auxiliary terms besides CAMAL's, by name (``drac``) or path, with their settings.
        methods: settings for single methods of a comparison, by attention loss (settings of ``camal``, since losses
            differ in scale) or by auxiliary term.
        evaluation: the evaluation after training.
        log: what is written during training.
        imports: modules to import before anything is checked, also in worker processes, so that they can register
            encoders, losses, environments, metrics and algorithms.
        tuning: the sweep that found these settings, if any; its seeds are refused.
        algorithm_name: name of the algorithm, or its path ``package.module:name``; ``algorithm.name`` in plain data.
    """

    sections_by_name: ClassVar[Mapping[str, Callable[[str | None], type[Any]]]] = MappingProxyType(
        {"algorithm": lambda name: find_algorithm(DEFAULT_ALGORITHM if name is None else name).settings}
    )

    env: EnvConfig
    name: str | None = None
    seed: Seed = 0
    total_timesteps: Count = 1_000_000
    device: Device = "auto"
    threads: Workers = 0
    algorithm: Any = field(default_factory=dict)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    camal: CamalConfig = field(default_factory=CamalConfig)
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log: LogConfig = field(default_factory=LogConfig)
    imports: tuple[str, ...] = ()
    tuning: Tuning | None = None
    algorithm_name: str = field(default=DEFAULT_ALGORITHM, metadata={KEY: f"algorithm.{NAME}"})

    def __post_init__(self) -> None:
        """Check ranges, and conditions that involve several sections."""
        check_section(self, "")
        check_folder_name("name", self.name)
        check_not_tuned_on(self.seed, self.tuning)
        self._make_algorithm_settings()
        spec = find_algorithm(self.algorithm_name)
        object.__setattr__(self, "camal", self.camal.for_targets(spec.targets))
        spec.check(self)
        check_terms(self.terms)
        for method, own in self.methods.items():
            parsed = parse_method(method, spec.baseline)
            self._joined_by(parsed)
            if parsed.masking is not None and own:
                raise ValueError(f"methods.{method}: a masking has no settings, got {', '.join(own)}; remove them")
        if self.camal.weight > 0 and self.env.segmentation is None:
            raise ValueError("camal.weight above 0 needs masks: set env.segmentation=default")

    def _make_algorithm_settings(self) -> None:
        """Replace plain data by the settings dataclass, and check it."""
        given = self.algorithm
        if isinstance(given, Mapping):
            given = {NAME: self.algorithm_name, **given}
            spec = find_algorithm(given[NAME])
            data = {"algorithm": given}
            check_keys(data, dict(known_keys(type(self), data)), spec.why_unknown)
            # The plain data behind this frozen object is not kept.
            object.__setattr__(self, "algorithm_name", given[NAME])
            own = {key: value for key, value in given.items() if key != NAME}
            object.__setattr__(self, "algorithm", read_section(spec.settings, own, "algorithm"))
        elif not is_dataclass(given):
            read_section(find_algorithm(self.algorithm_name).settings, given, "algorithm")
        check_section(settings_of(self.algorithm_name, self.algorithm), "algorithm")

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as in YAML and JSON."""
        data = super().as_dict()
        data["algorithm"] = {NAME: data.pop("algorithm_name"), **data["algorithm"]}
        return data

    def for_method(self, method: str) -> ExperimentConfig:
        """Return the configuration of a method of a comparison, without the settings of the others.

        :attr:`baseline` is the algorithm alone: weight 0 and no terms.
        :func:`camal_rl.rl.methods.parse_method` explains other names. Without CAMAL's term, only the settings that
        define the measured maps are kept in ``camal``, so that these runs can be reused for all its other settings.

        Raises:
            ValueError: unknown method or setting.
        """
        parsed = parse_method(method, self.baseline)
        camal, terms = self._joined_by(parsed)
        return replace(self, camal=camal, terms=terms, methods={}, env=replace(self.env, masking=parsed.masking))

    def _joined_by(self, parsed: Method) -> tuple[CamalConfig, dict[str, dict[str, Any]]]:
        """Return the additions to the loss in a method: CAMAL's settings and those of the other terms."""
        camal = CamalConfig(weight=0.0, **{name: getattr(self.camal, name) for name in MAP_SETTINGS})
        if parsed.loss is not None:
            own = self.methods.get(parsed.loss, {})
            camal = with_settings(replace(self.camal, loss=parsed.loss), own, f"methods.{parsed.loss}")
        terms = {name: {**self.terms.get(name, {}), **self.methods.get(name, {})} for name in parsed.terms}
        check_terms(terms)
        return camal, terms

    @property
    def experiment_name(self) -> str:
        """The name of the experiment, without method and seed."""
        return self.name if self.name is not None else portable_name(self.env.id)

    @property
    def task(self) -> str:
        """The key by which reports group runs."""
        return self.env.id

    @property
    def length(self) -> str:
        """Length of training in words."""
        return f"{self.total_timesteps:,} steps"

    @property
    def counts_steps(self) -> bool:
        """Whether the length of training is a number of steps: environment steps, in whole rollouts."""
        return True

    @property
    def baseline(self) -> str:
        """The method with which others are compared."""
        return find_algorithm(self.algorithm_name).baseline

    @property
    def step_name(self) -> str:
        """The unit of the steps of learning curves."""
        return "environment steps"

    @property
    def method_name(self) -> str:
        """The baseline, or the attention loss and the auxiliary terms whose weight is above 0, joined by ``+``."""
        loss = [self.camal.loss] if self.camal.weight > 0 else []
        terms = [name for name, settings in self.terms.items() if weight_of(name, settings) > 0]
        masking = [] if self.env.masking is None else [self.env.masking]
        return "+".join([*loss, *terms, *masking]) or self.baseline

    @property
    def acting_note(self) -> str:
        """What the agent receives beside images when it acts, in words; empty if nothing."""
        return "" if self.env.masking is None else SEES_MASKS


def agent_config(config: object) -> ExperimentConfig:
    """Return a configuration if it is for an agent, otherwise raise a ValueError."""
    if not isinstance(config, ExperimentConfig):
        raise ValueError(
            "the configuration has a section data, so it is for image classifiers, but this command is for agents; "
            "use camal-rl fit"
        )
    return config


def agent_run_config(folder: RunFolder) -> ExperimentConfig:
    """Return the configuration of an agent's run.

    Raises:
        ValueError: the run is of an image classifier; or, in an untrusted folder, it names code in the folder or a
            function as environment.
    """
    config = folder.config()
    if not isinstance(config, ExperimentConfig):
        raise ValueError(
            f"{folder.path} is the run of an image classifier, but this command is for agents; camal-rl evaluate, "
            "export and report accept both"
        )
    if not folder.trust:
        with no_code_from(folder.path):
            _check_env(folder, config.env.id)
    return config


def _check_env(folder: RunFolder, env_id: str) -> None:
    try:
        function = is_function(env_id)
    except ForeignCode:
        raise
    except ValueError:  # reported when the environment is created; export needs none
        return
    # Functions of Python and of packages can do anything, such as os:system. Functions in the user's project are meant
    # as environments.
    if function and not of_this_project(env_id.partition(":")[0]):
        raise ForeignCode(
            f"{folder.config_file} has a function as env.id, {env_id!r}, which would be called with options from that "
            "file; give --trust (trust=True) if the folder is your own, or use a class derived from gymnasium.Env"
        )

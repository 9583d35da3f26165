"""What an experiment is: frozen dataclasses, checked when they are made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from camal_rl.agents.config import CamalConfig
from camal_rl.agents.encoders import Precision

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Device = Literal["auto", "cpu", "cuda"]
Encoder = Literal["nature", "impala", "compact"]
Section = TypeVar("Section", bound="DataclassInstance")


def at_least(name: str, value: float, low: float) -> None:
    """Raise a ValueError that names the setting unless its value is at least ``low``."""
    if not value >= low:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def share(name: str, value: float) -> None:
    """Raise a ValueError that names the setting unless its value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def with_settings(section: Section, settings: Any, name: str) -> Section:
    """Return a section with some settings replaced; an unknown one is an error that names the nearest known."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name} must be a mapping of keys to values, got {settings!r}")
    known = [each.name for each in fields(section)]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown key '{name}.{key}'; did you mean '{name}.{near}'?")
    return replace(section, **settings)


@dataclass(frozen=True)
class EnvConfig:
    """The environment that is trained on.

    Attributes:
        id: environment id, for example ``toy_grid/default`` or ``procgen/starpilot``.
        num_envs: copies that step together.
        options: what the simulator takes, over those of the level set ``train``.
        segmentation: ``default`` (the environment's own), ``silhouette`` or ``box``; ``None`` switches masks off
            (only for weight 0).
        relevant: class names that matter for the decision; ``None`` keeps the environment's own.
        normalize_reward: divide rewards by the running standard deviation of the discounted return.
    """

    id: str
    num_envs: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Literal["default", "silhouette", "box"] | None = "default"
    relevant: tuple[str, ...] | None = None
    normalize_reward: bool = False

    def __post_init__(self) -> None:
        """Check ranges and that no setting is given twice."""
        at_least("env.num_envs", self.num_envs, 1)
        for key in ("segmentation", "relevant"):
            if key in self.options:
                raise ValueError(f"set env.{key}, not env.options.{key}")


@dataclass(frozen=True)
class AlgorithmConfig:
    """PPO's settings, named as in Stable-Baselines3.

    ``anneal_learning_rate`` lowers the learning rate linearly to 0 over training.
    """

    n_steps: int = 256
    batch_size: int = 2048
    n_epochs: int = 3
    learning_rate: float = 5e-4
    anneal_learning_rate: bool = False
    gamma: float = 0.999
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in (("n_steps", 1), ("batch_size", 2), ("n_epochs", 1)):
            at_least(f"algorithm.{name}", getattr(self, name), low)
        for name in ("learning_rate", "ent_coef", "vf_coef", "max_grad_norm", "clip_range"):
            at_least(f"algorithm.{name}", getattr(self, name), 0)
        share("algorithm.gamma", self.gamma)
        share("algorithm.gae_lambda", self.gae_lambda)


@dataclass(frozen=True)
class PolicyConfig:
    """The network: encoder and the arithmetic inside it."""

    encoder: Encoder = "compact"
    precision: Precision = "float32"


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured after training.

    Attributes:
        sets: level sets of the environment on which returns are measured; gaps are against ``train``.
        attention_sets: level sets on which attention is measured.
        episodes: episodes for each level set and kind of action.
        frames: frames of each level set on which attention is measured; 0 measures none.
        frame_every: steps between those frames.
        num_envs: copies that step together.
        seed: seed of the levels and actions, other than the training seed.
    """

    sets: tuple[str, ...] = ("train", "held_out")
    attention_sets: tuple[str, ...] = ("train", "held_out")
    episodes: int = 256
    frames: int = 512
    frame_every: int = 7
    num_envs: int = 64
    seed: int = 10_000

    def __post_init__(self) -> None:
        """Check ranges."""
        for key, sets in (("sets", self.sets), ("attention_sets", self.attention_sets)):
            if not sets or len(set(sets)) != len(sets):
                raise ValueError(f"evaluation.{key} must name at least one level set, each once, got {list(sets)}")
        for name, low in (("episodes", 1), ("frames", 0), ("frame_every", 1), ("num_envs", 1), ("seed", 0)):
            at_least(f"evaluation.{name}", getattr(self, name), low)


@dataclass(frozen=True)
class LogConfig:
    """What is written while training runs.

    Attributes:
        checkpoint_every: environment steps between checkpoints; 0 writes none.
        overlay_every: environment steps between overlay pictures in TensorBoard; 0 writes none.
        overlay_frames: frames on an overlay picture.
    """

    checkpoint_every: int = 250_000
    overlay_every: int = 100_000
    overlay_frames: int = 6

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in (("checkpoint_every", 0), ("overlay_every", 0), ("overlay_frames", 1)):
            at_least(f"log.{name}", getattr(self, name), low)


MAP_SETTINGS = ("targets", "method", "coverage", "value_rectification", "policy_rectification")
"""What of ``camal`` says which maps are measured and against what; at weight 0 nothing else means anything."""


@dataclass(frozen=True)
class ExperimentConfig:
    """One training run and its evaluation.

    Attributes:
        env: the environment that is trained on.
        name: names the run folder; ``None`` derives it from the environment.
        seed: seed of the network, the actions and the levels.
        total_timesteps: environment steps of training.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: torch threads; 0 leaves torch's choice.
        algorithm: PPO's settings.
        policy: the network.
        camal: what of the attention is supervised, and how strongly.
        methods: settings of ``camal`` for single methods of a comparison, by attention loss: losses differ in scale.
        evaluation: what is measured after training.
        log: what is written while training runs.
    """

    env: EnvConfig
    name: str | None = None
    seed: int = 0
    total_timesteps: int = 1_000_000
    device: Device = "auto"
    threads: int = 0
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    camal: CamalConfig = field(default_factory=CamalConfig)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        """Check ranges and what depends on more than one section."""
        for name, low in (("seed", 0), ("total_timesteps", 1), ("threads", 0)):
            at_least(name, getattr(self, name), low)
        if self.name is not None and (not self.name or "/" in self.name or self.name.startswith(".")):
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")
        rollout = self.env.num_envs * self.algorithm.n_steps
        if rollout % self.algorithm.batch_size:
            raise ValueError(
                f"algorithm.batch_size must divide env.num_envs * algorithm.n_steps = {rollout}, "
                f"got {self.algorithm.batch_size}"
            )
        for method in self.methods:
            self.camal_for(method)
        if self.camal.weight > 0 and self.env.segmentation is None:
            raise ValueError("camal.weight above 0 needs masks: set env.segmentation=default")

    def camal_for(self, method: str) -> CamalConfig:
        """Return ``camal`` for a method of a comparison: ``ppo`` is weight 0, any other name is an attention loss.

        For ``ppo`` only what says which map is measured stays, so that its runs serve every setting of the term.
        """
        if method == "ppo":
            return CamalConfig(weight=0.0, **{name: getattr(self.camal, name) for name in MAP_SETTINGS})
        return with_settings(replace(self.camal, loss=method), self.methods.get(method, {}), f"methods.{method}")

    @property
    def experiment_name(self) -> str:
        """The name of the experiment, without method and seed."""
        return self.name if self.name is not None else self.env.id.replace("/", "-")

    @property
    def task(self) -> str:
        """What reports group runs by."""
        return self.env.id

    @property
    def length(self) -> str:
        """How long training is, in words."""
        return f"{self.total_timesteps:,} steps"

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""
        return "ppo"

    @property
    def step_name(self) -> str:
        """What the steps of learning curves are."""
        return "environment steps"

    @property
    def method_name(self) -> str:
        """``ppo`` for weight 0, otherwise the name of the attention loss."""
        return "ppo" if self.camal.weight == 0 else self.camal.loss

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, as YAML and JSON hold them."""
        return plain(asdict(self))


def plain(value: Any) -> Any:
    """Return nested settings as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value

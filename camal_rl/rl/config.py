"""What an experiment is: frozen dataclasses, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from camal_rl.agents.config import CamalConfig
from camal_rl.agents.encoders import Precision
from camal_rl.runs.checks import (
    Amount,
    Copies,
    Count,
    CountOrNone,
    PositiveAmount,
    Seed,
    Share,
    Workers,
    check_folder_name,
    check_section,
    with_settings,
)

Device = Literal["auto", "cpu", "cuda"]
Encoder = Literal["nature", "impala", "compact"]


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
    num_envs: Copies = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Literal["default", "silhouette", "box"] | None = "default"
    relevant: tuple[str, ...] | None = None
    normalize_reward: bool = False

    def __post_init__(self) -> None:
        """Check ranges and that no setting is given twice."""
        check_section(self, "env")
        for key in ("segmentation", "relevant"):
            if key in self.options:
                raise ValueError(f"set env.{key}, not env.options.{key}")


@dataclass(frozen=True)
class AlgorithmConfig:
    """PPO's settings, named as in Stable-Baselines3, whose documentation says what each does.

    Attributes:
        n_steps: steps of each environment in a rollout.
        batch_size: observations in a minibatch; divides the rollout, ``env.num_envs * n_steps``.
        n_epochs: passes over each rollout.
        learning_rate: Adam's.
        anneal_learning_rate: lower the learning rate linearly to 0 over training; SB3 has a schedule for that.
        gamma: discount.
        gae_lambda: of generalized advantage estimation.
        clip_range: of the ratio of probabilities.
        clip_range_vf: of the change of the value, above 0; ``None`` does not clip it.
        normalize_advantage: standardize the advantages of each minibatch.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: gradients are scaled down to this norm.
        target_kl: an update ends when its KL divergence is above 1.5 times this, above 0; ``None`` never ends it.
        adam_epsilon: Adam's epsilon, above 0; in SB3 it is one of ``optimizer_kwargs``.
        stats_window_size: episodes whose mean return and length are logged.
    """

    n_steps: Count = 256
    batch_size: Annotated[int, Field(ge=2, le=10**12)] = 2048
    n_epochs: Count = 3
    learning_rate: Amount = 5e-4
    anneal_learning_rate: bool = False
    gamma: Share = 0.999
    gae_lambda: Share = 0.95
    clip_range: Amount = 0.2
    clip_range_vf: PositiveAmount | None = None
    normalize_advantage: bool = True
    ent_coef: Amount = 0.01
    vf_coef: Amount = 0.5
    max_grad_norm: Amount = 0.5
    target_kl: PositiveAmount | None = None
    adam_epsilon: PositiveAmount = 1e-5
    stats_window_size: Count = 100

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "algorithm")


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
    episodes: Count = 256
    frames: CountOrNone = 512
    frame_every: Count = 7
    num_envs: Copies = 64
    seed: Seed = 10_000

    def __post_init__(self) -> None:
        """Check ranges."""
        for key, sets in (("sets", self.sets), ("attention_sets", self.attention_sets)):
            if not sets or len(set(sets)) != len(sets):
                raise ValueError(f"evaluation.{key} must name at least one level set, each once, got {list(sets)}")
        check_section(self, "evaluation")


@dataclass(frozen=True)
class LogConfig:
    """What is written while training runs.

    Attributes:
        checkpoint_every: environment steps between checkpoints; 0 writes none.
        overlay_every: environment steps between overlay pictures in TensorBoard; 0 writes none.
        overlay_frames: frames on an overlay picture.
        held_out_every: environment steps between measurements of the return on the first held-out set of
            ``evaluation.sets``; 0 measures none. Training is the same with and without.
        held_out_episodes: episodes of each of them.
    """

    checkpoint_every: CountOrNone = 250_000
    overlay_every: CountOrNone = 100_000
    overlay_frames: Annotated[int, Field(ge=1, le=64)] = 6
    held_out_every: CountOrNone = 0
    held_out_episodes: Count = 64

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "log")


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
    seed: Seed = 0
    total_timesteps: Count = 1_000_000
    device: Device = "auto"
    threads: Workers = 0
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    camal: CamalConfig = field(default_factory=CamalConfig)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        """Check ranges and what depends on more than one section."""
        check_section(self, "")
        check_folder_name("name", self.name)
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

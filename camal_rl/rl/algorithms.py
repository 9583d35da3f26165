"""Algorithms by name: whose settings a section ``algorithm`` holds, and what is asked of the models that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from camal_rl.agents import AttentivePolicy
from camal_rl.agents.config import ACTOR_CRITIC_TARGETS, AttentionTarget
from camal_rl.registry import Registry
from camal_rl.rl.methods import PPO_METHOD
from camal_rl.runs.settings import NAME

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from camal_rl.rl.config import ExperimentConfig
    from camal_rl.runs.run_folder import RunFolder

DEFAULT_ALGORITHM = "ppo"


class TrainedAgent(Protocol):
    """A trained model, as evaluation, explanation and export know it."""

    @property
    def num_timesteps(self) -> int:
        """Environment steps of training so far."""

    @property
    def policy(self) -> Any:
        """The network. Attention maps need a :class:`camal_rl.agents.AttentivePolicy`."""

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """Return actions for observations as environments give them, and the state of a recurrent network."""


class Agent(TrainedAgent, Protocol):
    """A model that an algorithm makes, as training knows it.

    Models of Stable-Baselines3 have all of it; their callbacks, which training uses, expect such a model.
    """

    ep_info_buffer: Any
    """The last episodes of training, ``{"r": return, ...}`` each; ``None`` before the first."""

    def learn(
        self, total_timesteps: int, callback: Any = None, *, tb_log_name: str = "run", progress_bar: bool = False
    ) -> Any:
        """Train for at least so many environment steps, with callbacks of Stable-Baselines3's."""

    def save(self, path: Path) -> None:
        """Write the model as one file, which the algorithm's ``load`` reads."""


AGENT_MEMBERS = ("learn", "save", "predict", "num_timesteps", "ep_info_buffer", "policy")


def _nothing(_: Any) -> None:
    """Have nothing to say."""


def _unchanged(settings: Any) -> Any:
    return settings


@dataclass(frozen=True)
class AlgorithmSpec:
    """An algorithm: ``algorithm.name`` of a configuration.

    Attributes:
        settings: frozen dataclass of the other keys of the section ``algorithm``. Annotations
            such as those of :mod:`camal_rl.runs.checks` bound numbers. A setting ``gamma`` is the discount that
            ``env.normalize_reward`` divides by.
        build: makes the untrained model, an :class:`Agent`, of configuration, training environment and run folder.
            What ``policy``, ``camal``, ``terms``, ``seed`` and ``device`` of the configuration say is its to follow.
        load: reads the file that the model's ``save`` wrote, ``load(path, device="cpu")``. It is called only for a run
            folder that the user trusts: such a file may run code. A model whose policy is a
            :class:`camal_rl.agents.AttentivePolicy` is loaded without it, see :mod:`camal_rl.rl.policy_file`.
        check: raises a ValueError for settings that do not go together, also with those of other sections.
        why_unknown: says more of a dotted key that is no setting, or ``None``.
        without_schedules: the settings with everything constant over training, for ``camal-rl bench``.
        targets: the attention targets of its policies, for which the default of ``camal.targets`` stands.
        baseline: what comparisons call the algorithm alone, with weight 0 and without auxiliary terms.
    """

    settings: type[Any]
    build: Callable[[ExperimentConfig, VecEnv, RunFolder], Any]
    load: Callable[..., Any]
    check: Callable[[ExperimentConfig], None] = _nothing
    why_unknown: Callable[[str], str | None] = _nothing
    without_schedules: Callable[[Any], Any] = _unchanged
    targets: tuple[AttentionTarget, ...] = ACTOR_CRITIC_TARGETS
    baseline: str = PPO_METHOD

    def __post_init__(self) -> None:
        """Check what can be known before a model is made."""
        kind: Any = self.settings
        if not isinstance(kind, type) or not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise TypeError(f"settings of an algorithm must be a class with @dataclass(frozen=True), got {kind!r}")
        if NAME in {item.name for item in fields(kind)}:
            raise TypeError(f"{kind.__name__} has a setting {NAME!r}, which is the algorithm's own: algorithm.{NAME}")
        for member in ("build", "load", "check", "why_unknown", "without_schedules"):
            if not callable(getattr(self, member)):
                raise TypeError(f"{member} of an algorithm must be a function, got {getattr(self, member)!r}")

    def discount(self, settings: Any) -> float:
        """Return the discount of returns, the setting ``gamma``.

        Raises:
            ValueError: there is no such setting.
        """
        if "gamma" not in {item.name for item in fields(self.settings)}:
            raise ValueError(
                "env.normalize_reward needs the discount of returns, a setting algorithm.gamma, and the algorithm has "
                "none; set env.normalize_reward=false"
            )
        return float(settings.gamma)


ALGORITHMS: Registry[AlgorithmSpec] = Registry(
    "algorithm",
    {DEFAULT_ALGORITHM: "camal_rl.rl.ppo:PPO_ALGORITHM", "dqn": "camal_rl.rl.dqn:DQN_ALGORITHM"},
    "camal_rl.algorithms",
)


@overload
def register_algorithm(name: str) -> Callable[[AlgorithmSpec], AlgorithmSpec]: ...


@overload
def register_algorithm(name: str, spec: AlgorithmSpec) -> AlgorithmSpec: ...


def register_algorithm(name: str, spec: AlgorithmSpec | None = None) -> Any:
    """Make an algorithm known by a name, ``algorithm.name: NAME`` in configurations.

    Args:
        name: the name.
        spec: the algorithm; without it, what is returned takes it.

    Raises:
        TypeError: ``spec`` is no :class:`AlgorithmSpec`.
        ValueError: a name that is taken, or that could be a path.
    """
    if spec is None:
        return lambda given: register_algorithm(name, given)
    return ALGORITHMS.register(name, _checked_spec(spec, name))


def find_algorithm(name: str) -> AlgorithmSpec:
    """Return an algorithm by its name or its path ``package.module:name``.

    Raises:
        ValueError: there is none, or what lies there is none; the message is one line.
    """
    try:
        return _checked_spec(ALGORITHMS.find(name), name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"algorithm.{NAME}: {error}") from error


def settings_of(name: str, settings: object) -> Any:
    """Return settings if they are those of an algorithm, otherwise raise a ValueError."""
    kind = find_algorithm(name).settings
    if type(settings) is not kind:
        raise ValueError(
            f"algorithm of a configuration must be a mapping or the {kind.__name__} of algorithm {name!r}, got "
            f"{settings!r}; algorithm_name chooses another algorithm"
        )
    return settings


def checked_agent(model: Any, name: str) -> Agent:
    """Return what an algorithm made, if it has all that is asked of a model.

    Raises:
        TypeError: something is missing; the message names it.
    """
    missing = [member for member in AGENT_MEMBERS if not hasattr(model, member)]
    if missing:
        raise TypeError(
            f"algorithm {name!r} made a {type(model).__name__}, which has no {', '.join(missing)}; derive it from "
            "camal_rl.agents.CAMALPPO or CAMALDQN, or see camal_rl.rl.algorithms.Agent for what a model must have"
        )
    return cast(Agent, model)


def attentive_policy(model: TrainedAgent) -> AttentivePolicy:
    """Return a model's policy, of which attention maps can be asked.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(model.policy, AttentivePolicy):
        raise TypeError(
            f"attention maps need a camal_rl.agents.CamPolicy, the model's policy is a {type(model.policy).__name__} "
            "(that of DQN is a CamQPolicy); set evaluation.frames=0, log.overlay_every=0 and camal.weight=0 to do "
            "without maps"
        )
    return model.policy


def _checked_spec(found: object, name: str) -> AlgorithmSpec:
    if not isinstance(found, AlgorithmSpec):
        raise TypeError(
            f"the algorithm {name!r} must be a camal_rl.rl.algorithms.AlgorithmSpec(settings, build, load), "
            f"got {found!r}"
        )
    return found

"""Algorithms by name: their settings (section ``algorithm``), and the required interface of their models."""

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
    """The interface of a trained model for evaluation, explanation and export."""

    @property
    def num_timesteps(self) -> int:
        """Environment steps of training so far."""

    @property
    def policy(self) -> Any:
        """The network. Attention maps need a :class:`camal_rl.agents.AttentivePolicy`."""

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """Return actions for observations from environments, and the state of a recurrent network."""


class Agent(TrainedAgent, Protocol):
    """The interface of an algorithm's model for training.

    Models of Stable-Baselines3 have this interface; its callbacks, which training uses, expect it.
    """

    ep_info_buffer: Any
    """The latest training episodes, each ``{"r": return, ...}``; ``None`` before the first."""

    def learn(
        self, total_timesteps: int, callback: Any = None, *, tb_log_name: str = "run", progress_bar: bool = False
    ) -> Any:
        """Train for at least ``total_timesteps`` environment steps, with callbacks of Stable-Baselines3."""

    def save(self, path: Path) -> None:
        """Write the model as one file, which the algorithm's ``load`` reads."""


AGENT_MEMBERS = ("learn", "save", "predict", "num_timesteps", "ep_info_buffer", "policy")


def _nothing(_: Any) -> None:
    """Return no explanation."""


def _unchanged(settings: Any) -> Any:
    return settings


@dataclass(frozen=True)
class AlgorithmSpec:
    """An algorithm: ``algorithm.name`` of a configuration.

    Attributes:
        settings: frozen dataclass of the other keys of the section ``algorithm``. Annotations
            such as those of :mod:`camal_rl.runs.checks` bound numbers. A setting ``gamma`` is the discount that
            ``env.normalize_reward`` divides by.
        build: creates the untrained model, an :class:`Agent`, from configuration, training environment and run folder.
            It must apply ``policy``, ``camal``, ``terms``, ``seed`` and ``device`` of the configuration.
        load: reads the file that the model's ``save`` wrote, ``load(path, device="cpu")``. It is called only for a run
            folder that the user trusts: such a file may run code. A model whose policy is a
            :class:`camal_rl.agents.AttentivePolicy` is loaded without it, see :mod:`camal_rl.rl.policy_file`.
        check: raises a ValueError for incompatible settings, including those of other sections.
        why_unknown: returns an explanation for a dotted key that is not a setting, or ``None``.
        without_schedules: returns the settings without schedules, for ``camal-rl bench``.
        targets: the attention targets of its policies, the default of ``camal.targets``.
        baseline: name of the plain algorithm in comparisons, with weight 0 and without auxiliary terms.
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
        """Check everything that can be known before a model is created."""
        kind: Any = self.settings
        if not isinstance(kind, type) or not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise TypeError(f"settings of an algorithm must be a class with @dataclass(frozen=True), got {kind!r}")
        if NAME in {item.name for item in fields(kind)}:
            raise TypeError(
                f"{kind.__name__} has a setting {NAME!r}, which is reserved for the algorithm's name: algorithm.{NAME}"
            )
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
                "env.normalize_reward needs the discount of returns, a setting algorithm.gamma, which the algorithm "
                "does not have; set env.normalize_reward=false"
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
    """Register an algorithm under a name, ``algorithm.name: NAME`` in configurations.

    Args:
        name: the name.
        spec: the algorithm; without it, the function returns a decorator.

    Raises:
        TypeError: ``spec`` is not an :class:`AlgorithmSpec`.
        ValueError: the name is taken, or could be a path.
    """
    if spec is None:
        return lambda given: register_algorithm(name, given)
    return ALGORITHMS.register(name, _checked_spec(spec, name))


def find_algorithm(name: str) -> AlgorithmSpec:
    """Return an algorithm by its name or its path ``package.module:name``.

    Raises:
        ValueError: there is none, or the object is not an algorithm; the message is one line.
    """
    try:
        return _checked_spec(ALGORITHMS.find(name), name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"algorithm.{NAME}: {error}") from error


def settings_of(name: str, settings: object) -> Any:
    """Return settings if they belong to the algorithm, otherwise raise a ValueError."""
    kind = find_algorithm(name).settings
    if type(settings) is not kind:
        raise ValueError(
            f"algorithm of a configuration must be a mapping or the {kind.__name__} of algorithm {name!r}, got "
            f"{settings!r}; set algorithm_name for another algorithm"
        )
    return settings


def checked_agent(model: Any, name: str) -> Agent:
    """Return the model of an algorithm after checking its interface.

    Raises:
        TypeError: a member is missing; the message names it.
    """
    missing = [member for member in AGENT_MEMBERS if not hasattr(model, member)]
    if missing:
        raise TypeError(
            f"algorithm {name!r} made a {type(model).__name__}, which has no {', '.join(missing)}; derive it from "
            "camal_rl.agents.CAMALPPO or CAMALDQN, or see camal_rl.rl.algorithms.Agent for the required interface"
        )
    return cast(Agent, model)


def attentive_policy(model: TrainedAgent) -> AttentivePolicy:
    """Return a model's policy if it provides attention maps.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(model.policy, AttentivePolicy):
        raise TypeError(
            "attention maps need a camal_rl.agents.CamPolicy, but the model's policy is a "
            f"{type(model.policy).__name__} (that of DQN is a CamQPolicy); set evaluation.frames=0, "
            "log.overlay_every=0 and camal.weight=0 to do without maps"
        )
    return model.policy


def _checked_spec(found: object, name: str) -> AlgorithmSpec:
    if not isinstance(found, AlgorithmSpec):
        raise TypeError(
            f"the algorithm {name!r} must be a camal_rl.rl.algorithms.AlgorithmSpec(settings, build, load), "
            f"got {found!r}"
        )
    return found

"""Auxiliary terms of PPO's loss: their interface and registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import MethodType
from typing import Any, ClassVar, Protocol, TypeVar

import numpy.typing as npt
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer, CamalRolloutSamples
from camal_rl.random_states import own_random_states, restore_own_random_states
from camal_rl.registry import Registry
from camal_rl.spelling import check_settings


@dataclass(frozen=True)
class TermLoss:
    """The contribution of a term to the loss of one minibatch.

    Attributes:
        total: scalar with a graph, not yet multiplied by the term's weight; logged as ``<term>/loss``.
        parts: scalars without a graph by name; logged as ``<term>/<name>``, as means over the update.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class AuxiliaryTerm(Protocol):
    """An additional term of PPO's loss: CAMAL, DrAC, or your own method.

    A term is created as ``Term(config, seed)``. The loss of a minibatch is PPO's plus ``weight_at(progress) * total``
    of every term. The loss of a term with weight 0 is not computed; if every weight is 0, training is bit-identical to
    stock PPO. A term with a weight above 0 needs :class:`camal_rl.agents.CamPolicy`. A derived class must define
    ``name``, ``config_type`` and :meth:`loss`; everything else has a default.

    Attributes:
        name: prefix of logged figures.
        config_type: frozen dataclass of the term's settings, plain data with a ``weight`` of at least 0. They are saved
            with the model.
        config: the settings.
        seed: seed for the term's own random numbers, which must not use torch's and NumPy's global generators.
        module: a module that the term trains besides the policy, created in :meth:`setup`. It has an optimizer of the
            policy's kind, with the same learning rate, and gradients clipped to the same norm; it is saved with the
            model.
        logs_at_weight_zero: whether :meth:`setup`, :meth:`rollout_columns`, :meth:`update_starts` and
            :meth:`diagnostics` are also called with weight 0 (with CamPolicy).
    """

    name: ClassVar[str]
    config_type: ClassVar[type[Any]]
    logs_at_weight_zero: ClassVar[bool] = False
    config: Any
    seed: int
    module: nn.Module | None = None

    def __init__(self, config: Any, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def weight_at(self, progress: float) -> float:
        """Return the coefficient at ``progress`` in [0, 1], the finished share of training."""
        return float(self.config.weight)

    def num_attention_frames(self, batch_size: int) -> int:
        """Return the number of first frames of a minibatch for which :meth:`loss` needs attention maps."""
        return 0

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check policy and environment before training; raise a ValueError that says what is missing."""

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[Any]]:
        """Return the data to store with the current observations: name to array ``(num_envs, ...)``.

        Each name may be used by only one term.
        """
        return {}

    def update_starts(self, rollout: CamalRolloutBuffer) -> None:
        """Process a complete rollout, with returns and advantages, before the first minibatch of its update.

        An interrupted update is repeated, so state that changes here belongs in :meth:`training_state`.
        """
        return

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the term's loss for a minibatch.

        Args:
            minibatch: samples of the rollout, with the data of :meth:`rollout_columns` in ``minibatch.columns``.
            evaluation: the policy's evaluation of them, with a graph. Maps are available for at least
                :meth:`num_attention_frames` frames, or more if another term needs more.
            progress: the finished share of training in [0, 1].
        """
        ...

    def diagnostics(self, minibatch: CamalRolloutSamples, policy: ActorCriticPolicy) -> Mapping[str, float]:
        """Return metrics of the updated policy on some samples of the rollout; logged as ``<term>/<name>``."""
        return {}

    def training_state(self) -> Any:
        """Return the state of this term for checkpoints, besides its module: a tree of plain data, arrays, tensors.

        A derived class whose only state is torch and NumPy generators in attributes need not override this method.
        """
        return own_random_states(self)

    def restore_training_state(self, state: Any) -> None:
        """Restore a result of :meth:`training_state` in a term that was set up with the same settings."""
        restore_own_random_states(self, state)


AnyTerm = TypeVar("AnyTerm", bound=type)
Terms = Mapping[str, Any] | Sequence["str | tuple[str, Any] | AuxiliaryTerm"]
"""Ways to specify terms: names, pairs of name and settings, terms; or a mapping of names to settings."""

TERMS: Registry[type[Any]] = Registry(
    "auxiliary term",
    {
        "drac": "camal_rl.agents.drac:DrACTerm",
        "ucb_drac": "camal_rl.agents.ucb_drac:UCBDrACTerm",
        "background_mix": "camal_rl.agents.background_mix:BackgroundMixTerm",
        "input_gradients": "camal_rl.agents.input_gradients:InputGradientsTerm",
        "sgqn": "camal_rl.agents.sgqn:SGQNTerm",
        "sgfd": "camal_rl.agents.sgfd:SGFDTerm",
    },
    group="camal_rl.terms",
)
"""The terms by name. CAMAL's own is not among them: :class:`camal_rl.agents.CAMALPPO` has it, as ``camal``."""

_MEMBERS = (
    *("name", "config_type", "logs_at_weight_zero", "module", "weight_at", "num_attention_frames", "setup"),
    *("rollout_columns", "loss", "diagnostics"),
)
_LATER_MEMBERS = ("update_starts", "training_state", "restore_training_state")
"""Members that a term not derived from :class:`AuxiliaryTerm` may omit; it gets the defaults."""


def register_term(name: str) -> Callable[[AnyTerm], AnyTerm]:
    """Return a decorator that registers a term by its name."""
    return TERMS.register(name)  # type: ignore[return-value]


def make_terms(asked: Terms | None, seed: int) -> dict[str, AuxiliaryTerm]:
    """Create terms, by the names under which they can be created again.

    Args:
        asked: for example ``["drac"]``, ``{"drac": {"weight": 0.2}}``, ``[("mypackage.terms:Mine", None)]``.
        seed: seed of each term.

    Raises:
        TypeError: the argument has another type, or a class is not a term.
        ValueError: a term or setting is unknown, a setting is out of range, or a term is repeated.
    """
    made: dict[str, AuxiliaryTerm] = {}
    for name, settings in _pairs(asked):
        term = settings if name is None else _made(name, settings, seed)
        for member in _LATER_MEMBERS:
            if not hasattr(term, member):
                setattr(term, member, MethodType(getattr(AuxiliaryTerm, member), term))
        key = _name_of(term) if name is None else name
        if key in made:
            raise ValueError(f"term {key!r} is repeated")
        made[key] = term
    return made


def term_settings(terms: Mapping[str, AuxiliaryTerm]) -> dict[str, dict[str, Any]]:
    """Return terms as plain data, from which :func:`make_terms` can create them again."""
    return {name: asdict(term.config) for name, term in terms.items()}


def term_config(term: type[Any], settings: Any = None, name: str | None = None) -> Any:
    """Return the configuration of a term made from ``settings``.

    Args:
        term: the term's class.
        settings: a mapping of some settings, the others keep their defaults; a configuration; or ``None``.
        name: name in messages; by default the term's own name.

    Raises:
        TypeError: ``settings`` is something else.
        ValueError: a setting is unknown, with the nearest known name in the message; or a value is out of range.
    """
    kind, label = term.config_type, name or term.name
    if settings is None or isinstance(settings, kind):
        return kind() if settings is None else settings
    if not isinstance(settings, Mapping):
        raise TypeError(
            f"the settings of term {label!r} must be a {kind.__name__} or a mapping, for example {{'weight': 0.1}}, "
            f"got {settings!r}"
        )
    check_settings(settings, [each.name for each in fields(kind)], label)
    return kind(**settings)


def term_class(name: str) -> type[Any]:
    """Return the class of a term by its registered name or its path ``module:attribute``.

    Raises:
        ValueError: there is none.
        TypeError: the object is not a term.
    """
    found = TERMS.find(name)
    _check_members(found, name)
    return found


def _pairs(asked: Terms | None) -> list[tuple[str | None, Any]]:
    """Return name and settings of every term; a term object has no name."""
    if asked is None or isinstance(asked, Mapping):
        return list((asked or {}).items())
    if not isinstance(asked, Sequence) or isinstance(asked, str | bytes):
        raise TypeError(
            "terms must be a list such as ['drac'] or a mapping of names to settings such as "
            f"{{'drac': {{'weight': 0.1}}}}, got {asked!r}"
        )
    pairs: list[tuple[str | None, Any]] = []
    for each in asked:
        if isinstance(each, str):
            pairs.append((each, None))
        elif isinstance(each, tuple | list):
            if len(each) != 2 or not isinstance(each[0], str):
                raise TypeError(f"a term with settings is a pair such as ('drac', {{'weight': 0.1}}), got {each!r}")
            pairs.append((each[0], each[1]))
        else:
            _check_members(each, type(each).__name__)
            pairs.append((None, each))
    return pairs


def _made(name: str, settings: Any, seed: int) -> AuxiliaryTerm:
    kind = term_class(name)
    made: AuxiliaryTerm = kind(term_config(kind, settings, name), seed)
    return made


def _name_of(term: AuxiliaryTerm) -> str:
    """Return the registered name of a term's class, or its path."""
    kind = type(term)
    if term.name in TERMS and TERMS.find(term.name) is kind:
        return term.name
    return f"{kind.__module__}:{kind.__qualname__}"


def _check_members(term: Any, label: str) -> None:
    missing = [member for member in _MEMBERS if not hasattr(term, member)]
    if missing:
        raise TypeError(
            f"{label!r} is not an auxiliary term, it has no {', '.join(missing)}; derive the class from "
            "camal_rl.agents.AuxiliaryTerm, which has defaults"
        )
    if not is_dataclass(term.config_type) or "weight" not in {each.name for each in fields(term.config_type)}:
        raise TypeError(f"config_type of term {label!r} must be a dataclass with a `weight`, got {term.config_type!r}")

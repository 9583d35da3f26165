"""Methods of a comparison by name: additions to the algorithm's loss, and masking of observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camal_rl.agents.terms import TERMS, term_class, term_config
from camal_rl.envs.masking import MASKINGS, Masking
from camal_rl.losses import LOSSES
from camal_rl.registry import Registry, load_object
from camal_rl.spelling import did_you_mean

PPO_METHOD = "ppo"
_KINDS = ("loss", "term", "masking")


@dataclass(frozen=True)
class Method:
    """The parts of a method's name.

    Attributes:
        loss: the attention loss of the CAMAL term; ``None`` without that term.
        terms: names of further auxiliary terms.
        masking: how images are masked if the agent sees only objects; ``None`` for unmodified images.
    """

    loss: str | None
    terms: tuple[str, ...]
    masking: str | None = None


def parse_method(name: str, baseline: str = PPO_METHOD) -> Method:
    """Parse the name of a method.

    The baseline's name, ``ppo`` for PPO, is the plain algorithm. Any other name is an attention loss (the CAMAL term
    with this loss), an auxiliary term or a masking, or the path ``package.module:name`` of one. Several are joined by
    ``+``: ``camal+drac``.

    Args:
        name: the method's name.
        baseline: name of the plain algorithm (:class:`camal_rl.rl.algorithms.AlgorithmSpec`).

    Raises:
        ValueError: a part is unknown or repeated, or there are two attention losses or two maskings.
    """
    if name == baseline:
        return Method(None, ())
    parts, alone = name.split("+"), baseline.upper()
    if baseline in parts:
        raise ValueError(
            f"method {name!r}: {baseline} is plain {alone} and cannot be combined; every other method is {alone} with "
            "an addition"
        )
    if len(set(parts)) != len(parts):
        raise ValueError(f"method {name!r} repeats a part")
    kinds = {part: _kind_of(part, baseline) for part in parts}
    losses, terms, maskings = ([part for part, kind in kinds.items() if kind == each] for each in _KINDS)
    if len(losses) > 1:
        raise ValueError(
            f"method {name!r} has the attention losses {' and '.join(losses)}, but CAMAL's term takes only one"
        )
    if len(maskings) > 1:
        raise ValueError(f"method {name!r} has the maskings {' and '.join(maskings)}, but an agent can use only one")
    return Method(losses[0] if losses else None, tuple(terms), maskings[0] if maskings else None)


def known_methods(baseline: str = PPO_METHOD) -> tuple[str, ...]:
    """Return the names that :func:`parse_method` accepts, without combinations and paths."""
    return (baseline, *LOSSES, *TERMS, *MASKINGS)


def check_terms(terms: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a ValueError for an unknown term, or an unknown or invalid setting of a term."""
    for name, settings in terms.items():
        try:
            term_config(term_class(name), settings, name)
        except (TypeError, ValueError) as error:
            raise ValueError(f"terms.{name}: {error}") from error


def weight_of(name: str, settings: Mapping[str, Any]) -> float:
    """Return the weight of a term with these settings."""
    return float(term_config(term_class(name), settings, name).weight)


def _kind_of(part: str, baseline: str) -> str:
    if ":" in part:
        found = load_object(part, "method")
        return "masking" if isinstance(found, Masking) else "term" if hasattr(found, "config_type") else "loss"
    known: tuple[Registry[Any], ...] = (LOSSES, TERMS, MASKINGS)
    for kind, names in zip(_KINDS, known, strict=True):
        if part in names:
            return kind
    every = known_methods(baseline)
    hint = did_you_mean(part, every)
    raise ValueError(
        f"unknown method {part!r}; {hint}methods are {', '.join(every)}, your own as package.module:name, "
        "and several joined by +"
    )

"""Methods of a comparison: what joins the algorithm's loss, and what the agent sees, by name."""

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
    """What a method's name says.

    Attributes:
        loss: the attention loss of the CAMAL term; ``None`` without that term.
        terms: names of further auxiliary terms.
        masking: what the agent sees where it sees objects only; ``None`` where it sees images as they are.
    """

    loss: str | None
    terms: tuple[str, ...]
    masking: str | None = None


def parse_method(name: str, baseline: str = PPO_METHOD) -> Method:
    """Return what a method's name stands for.

    The baseline's name, ``ppo`` for PPO, is the algorithm alone. Any other name is that of an attention loss (the CAMAL
    term with this loss), of an auxiliary term or of a masking, or the path ``package.module:name`` of one; several are
    joined by ``+``: ``camal+drac``.

    Args:
        name: the method's name.
        baseline: what the algorithm alone is called (:class:`camal_rl.rl.algorithms.AlgorithmSpec`).

    Raises:
        ValueError: a part that is unknown or stands twice, two attention losses or two maskings.
    """
    if name == baseline:
        return Method(None, ())
    parts, alone = name.split("+"), baseline.upper()
    if baseline in parts:
        raise ValueError(
            f"method {name!r}: {baseline} is {alone} alone, every other method is {alone} with something more"
        )
    if len(set(parts)) != len(parts):
        raise ValueError(f"method {name!r} names a part twice")
    kinds = {part: _kind_of(part, baseline) for part in parts}
    losses, terms, maskings = ([part for part, kind in kinds.items() if kind == each] for each in _KINDS)
    if len(losses) > 1:
        raise ValueError(f"method {name!r} has the attention losses {' and '.join(losses)}; CAMAL's term has one")
    if len(maskings) > 1:
        raise ValueError(f"method {name!r} has the maskings {' and '.join(maskings)}; an agent sees one")
    return Method(losses[0] if losses else None, tuple(terms), maskings[0] if maskings else None)


def known_methods(baseline: str = PPO_METHOD) -> tuple[str, ...]:
    """Return the names that :func:`parse_method` takes, without combinations and paths."""
    return (baseline, *LOSSES, *TERMS, *MASKINGS)


def check_terms(terms: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a ValueError for a term or a setting of a term that does not exist or cannot be."""
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

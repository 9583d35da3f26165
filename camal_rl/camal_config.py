"""The settings of CAMAL for an agent, including the weight schedule; usable in any training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, Literal, get_args

from camal_rl.attention import CAM_METHODS, CamMethod, Rectification
from camal_rl.losses import attention_loss
from camal_rl.mask_changes import MASK_CHANGES, MaskChange
from camal_rl.spelling import check_settings
from camal_rl.targets import Coverage

AttentionTarget = Literal["value", "policy", "q"]
Schedule = Literal["constant", "warmup", "decay"]

ATTENTION_TARGETS: tuple[AttentionTarget, ...] = get_args(AttentionTarget)
"""Names of all targets; the ``attention_targets`` of a policy are those that it has."""
ACTOR_CRITIC_TARGETS: tuple[AttentionTarget, ...] = ("value", "policy")
MAX_WEIGHT = 1e9
"""Products with larger weights may overflow float32."""


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"camal.{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"camal.{name} must be a number, got {value!r}")


def _check_targets(targets: object) -> tuple[Any, ...]:
    """Return the targets as a tuple; YAML files give a list."""
    if not isinstance(targets, list | tuple):
        raise TypeError(f"camal.targets must be a list, for example [value, policy], got {targets!r}")
    if not targets:
        raise ValueError("camal.targets must name at least one of value, policy, q; use weight 0 to train without")
    for target in targets:
        _check_choice("targets", target, ATTENTION_TARGETS)
    if len(set(targets)) != len(targets):
        raise ValueError(f"camal.targets must not contain duplicates, got {list(targets)}")
    return tuple(targets)


@dataclass(frozen=True)
class CamalConfig:
    """Settings of the CAMAL term: what it supervises, and how strongly.

    The training loss is ``PPO loss + weight(t) * sum over targets of loss(map, mask)``. For a Q-network, the
    temporal-difference loss replaces the PPO loss.

    Attributes:
        weight: coefficient of the term, at least 0. With 0, training is bit-identical to stock PPO or DQN.
        targets: the heads whose maps are supervised: ``value`` (score: V(s)) and ``policy`` (score: log pi(a|s) of
            the action that was taken; with continuous actions :func:`camal_rl.agents.policy_score.gaussian_score`) of
            an actor-critic policy, ``q`` (score: Q(s, a) of the greedy action) of a Q-network. The default is every
            target that the policy has.
        method: the class activation map: gradcam, hirescam, layercam, gradcam++ or normgrad.
        loss: ``camal``; ``camal_square``, which squares the attention outside; a published loss on the same maps:
            energy, l1, ppce, rrr, mse; a name from :func:`camal_rl.losses.register_loss`; or a path
            ``package.module:name``.
        inside_weight: coefficient of the inside part of the loss, relative to the outside part. A value below 1
            suppresses attention outside without requiring full attention on every relevant object.
        schedule: ``constant``; ``warmup`` rises linearly from 0 over the first ``schedule_fraction`` of training;
            ``decay`` falls linearly to 0 over the last ``schedule_fraction``.
        schedule_fraction: share in (0, 1] of the training steps for the warm-up or the decay.
        frame_fraction: share in (0, 1] of the randomly drawn frames of each minibatch for which the term computes maps.
            A smaller share reduces the cost of the term in proportion and does not change its expected value.
        coverage: how relevant a cell of the CAM grid is: with ``any``, fully relevant if it contains any relevant
            pixel, so that small objects do not vanish; with ``soft``, its share of relevant pixels.
        value_rectification: how contributions that lower the value V(s) or Q(s, a) count: ``relu`` ignores them, as in
            Grad-CAM for classes; ``absolute`` counts them like contributions that raise it.
        policy_rectification: the same for contributions that lower the action's log-probability. The contributions of a
            cell, averaged over the actions by their probability, cancel. With ``relu``, therefore, no cell can have
            attention for all actions, which is what the loss asks for.
        mask_change: makes the masks of training worse than they are, to study how exact masks have to be: ``none``,
            ``dilated``, ``eroded``, ``shifted``, ``boxes``, ``noisy`` (:func:`camal_rl.mask_changes.changed_masks`).
            Evaluation uses the true masks.
        mask_amount: the amount of this change, in [0, 1].
        mask_fraction: share in (0, 1] of the frames that have a mask in training; frames without a mask add nothing to
            the term.
    """

    weight: float = 0.1
    targets: tuple[AttentionTarget, ...] = ACTOR_CRITIC_TARGETS
    method: CamMethod = "gradcam"
    loss: str = "camal"
    inside_weight: float = 1.0
    schedule: Schedule = "constant"
    schedule_fraction: float = 0.25
    frame_fraction: float = 1.0
    coverage: Coverage = "any"
    value_rectification: Rectification = "relu"
    policy_rectification: Rectification = "absolute"
    mask_change: MaskChange = "none"
    mask_amount: float = 0.0
    mask_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        for name in ("weight", "inside_weight", "schedule_fraction", "frame_fraction", "mask_amount", "mask_fraction"):
            _check_number(name, getattr(self, name))
        for name in ("weight", "inside_weight"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"camal.{name} must be a finite number of at least 0, got {value}")
            if value > MAX_WEIGHT:
                raise ValueError(f"camal.{name} must be at most {MAX_WEIGHT:.0e}, got {value}")
        object.__setattr__(self, "targets", _check_targets(self.targets))
        _check_choice("method", self.method, CAM_METHODS)
        if not isinstance(self.loss, str):
            raise TypeError(f"camal.loss must be the name of a loss, got {self.loss!r}")
        attention_loss(self.loss)
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("mask_change", self.mask_change, MASK_CHANGES)
        if not 0 <= self.mask_amount <= 1:
            raise ValueError(f"camal.mask_amount must be in [0, 1], got {self.mask_amount}")
        for name in ("schedule_fraction", "frame_fraction", "mask_fraction"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"camal.{name} must be in (0, 1], got {value}")
        _check_choice("coverage", self.coverage, get_args(Coverage))
        for name in ("value_rectification", "policy_rectification"):
            _check_choice(name, getattr(self, name), get_args(Rectification))

    @classmethod
    def of(cls, settings: CamalConfig | Mapping[str, Any] | None) -> CamalConfig:
        """Return a configuration made from ``settings``.

        Args:
            settings: a configuration; a mapping of some settings, as in YAML files, with defaults for the others; or
                ``None`` for all defaults.

        Raises:
            TypeError: ``settings`` or one of them has the wrong type.
            ValueError: an unknown setting, with the nearest known name in the message; or a value out of range.
        """
        if settings is None or isinstance(settings, CamalConfig):
            return cls() if settings is None else settings
        if not isinstance(settings, Mapping):
            raise TypeError(
                "camal must be a CamalConfig or a mapping of its settings, for example {'weight': 0.1}, "
                f"got {settings!r}"
            )
        check_settings(settings, [each.name for each in fields(cls)], "camal")
        return cls(**settings)

    @property
    def rectification(self) -> dict[AttentionTarget, Rectification]:
        """The rectification of the map of each target."""
        if "q" in self.targets:
            return {"q": self.value_rectification}
        return {"value": self.value_rectification, "policy": self.policy_rectification}

    def for_targets(self, known: tuple[AttentionTarget, ...]) -> CamalConfig:
        """Return the configuration for a policy with these attention targets.

        Raises:
            ValueError: a target is not among those of the policy.
        """
        if set(self.targets) <= set(known):
            return self
        if self.targets == ACTOR_CRITIC_TARGETS:
            return replace(self, targets=known)
        raise ValueError(
            f"camal.targets must be among the attention targets of the policy, {', '.join(known)}, got "
            f"{', '.join(self.targets)}; omit it to use all of them"
        )

    def num_attention_frames(self, minibatch: int) -> int:
        """Return the number of frames of a minibatch for which the term computes maps, at least 1."""
        return max(1, round(self.frame_fraction * minibatch))

    def weight_at(self, progress: float) -> float:
        """Return the coefficient at ``progress`` in [0, 1], the finished share of training."""
        if self.schedule == "warmup":
            return self.weight * min(1.0, progress / self.schedule_fraction)
        if self.schedule == "decay":
            return self.weight * min(1.0, (1.0 - progress) / self.schedule_fraction)
        return self.weight

"""The settings of CAMAL for an agent, with its schedule; plain Python, for any training loop."""

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
"""Every target by name; which of them a policy has, its ``attention_targets`` say."""
ACTOR_CRITIC_TARGETS: tuple[AttentionTarget, ...] = ("value", "policy")
MAX_WEIGHT = 1e9
"""Products of larger weights may not be finite in float32."""


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"camal.{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"camal.{name} must be a number, got {value!r}")


def _check_targets(targets: object) -> tuple[Any, ...]:
    """Return the targets as a tuple, which a list of a YAML file is not."""
    if not isinstance(targets, list | tuple):
        raise TypeError(f"camal.targets must be a list, for example [value, policy], got {targets!r}")
    if not targets:
        raise ValueError("camal.targets must name at least one of value, policy, q; use weight 0 to train without")
    for target in targets:
        _check_choice("targets", target, ATTENTION_TARGETS)
    if len(set(targets)) != len(targets):
        raise ValueError(f"camal.targets must not repeat itself, got {list(targets)}")
    return tuple(targets)


@dataclass(frozen=True)
class CamalConfig:
    """What the CAMAL term supervises and how strongly.

    The training loss is ``PPO loss + weight(t) * sum over targets of loss(map, mask)``, for a Q-network the loss of its
    temporal differences in the place of PPO's.

    Attributes:
        weight: coefficient of the term, at least 0; 0 is stock PPO or DQN, bit for bit.
        targets: the heads whose maps are supervised: ``value`` (score: V(s)) and ``policy`` (score: log pi(a|s) of
            the action that was taken; with continuous actions :func:`camal_rl.agents.policy_score.gaussian_score`) of
            an actor-critic policy, ``q`` (score: Q(s, a) of the greedy action) of a Q-network. The default stands for
            every target that the policy has.
        method: the class activation map: gradcam, hirescam, layercam, gradcam++ or normgrad.
        loss: ``camal``; ``camal_square``, which squares attention outside; a peer's loss on the same maps: energy,
            l1, ppce, rrr, mse; a name of :func:`camal_rl.losses.register_loss`, or the path ``package.module:name``.
        inside_weight: coefficient of the loss's part inside the target, relative to that outside. Below 1, attention
            outside is suppressed without asking for the same attention on every relevant object.
        schedule: ``constant``; ``warmup`` rises linearly from 0 over the first ``schedule_fraction`` of training;
            ``decay`` falls linearly to 0 over the last ``schedule_fraction``.
        schedule_fraction: share of the training steps in (0, 1] that the warm-up or the decay takes.
        frame_fraction: share in (0, 1] of each minibatch's frames, drawn at random as the minibatch is, whose maps make
            up the term. Its mean stays the same, and it costs that much less.
        coverage: when a cell of the CAM grid is relevant: ``any`` relevant pixel falls in it (small objects do not
            vanish), or ``soft``, the share of relevant pixels.
        value_rectification: how contributions that lower the value, V(s) or Q(s, a), count: ``relu``, not at all, as in
            Grad-CAM for classes; ``absolute``, as much as those that raise it.
        policy_rectification: the same for contributions that lower the action's log-probability. Over the actions,
            weighted by their probability, the contributions of a cell cancel: with ``relu`` no cell can be attended
            to whatever the action, which is what the loss asks of it.
        mask_change: makes the masks of training worse than they are, to study how exact masks have to be: ``none``,
            ``dilated``, ``eroded``, ``shifted``, ``boxes``, ``noisy`` (:func:`camal_rl.mask_changes.changed_masks`).
            Evaluation compares with the true masks.
        mask_amount: how much worse, in [0, 1].
        mask_fraction: share in (0, 1] of the frames that have a mask in training; frames without one add nothing to
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
        """Check every setting; a ValueError or TypeError names it, what was expected and what came."""
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
        """Return the configuration that ``settings`` stands for.

        Args:
            settings: a configuration; a mapping of some settings, as YAML files hold them, the others keep their
                defaults; or ``None``, all defaults.

        Raises:
            TypeError: something else, or a setting of the wrong type.
            ValueError: an unknown setting, the message names the nearest known one; or a value out of range.
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
        """The rectification of each target's map, of every target of a policy that has these."""
        if "q" in self.targets:
            return {"q": self.value_rectification}
        return {"value": self.value_rectification, "policy": self.policy_rectification}

    def for_targets(self, known: tuple[AttentionTarget, ...]) -> CamalConfig:
        """Return the configuration for a policy with these attention targets.

        Raises:
            ValueError: targets that the policy does not have.
        """
        if set(self.targets) <= set(known):
            return self
        if self.targets == ACTOR_CRITIC_TARGETS:
            return replace(self, targets=known)
        raise ValueError(
            f"camal.targets must be among the attention targets of the policy, {', '.join(known)}, got "
            f"{', '.join(self.targets)}; leave it out for all of them"
        )

    def num_attention_frames(self, minibatch: int) -> int:
        """Return how many frames of a minibatch the term looks at, at least 1."""
        return max(1, round(self.frame_fraction * minibatch))

    def weight_at(self, progress: float) -> float:
        """Return the coefficient at ``progress`` in [0, 1], the share of training that is done."""
        if self.schedule == "warmup":
            return self.weight * min(1.0, progress / self.schedule_fraction)
        if self.schedule == "decay":
            return self.weight * min(1.0, (1.0 - progress) / self.schedule_fraction)
        return self.weight

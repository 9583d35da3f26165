"""The default maps of a model: those with which it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from camal_rl.agents.config import ACTOR_CRITIC_TARGETS, ATTENTION_TARGETS, AttentionTarget, CamalConfig
from camal_rl.attention import CamMethod, Rectification


@dataclass(frozen=True)
class MapSettings:
    """Settings of a policy's maps; the attributes are those of :class:`camal_rl.agents.CamalConfig`."""

    targets: tuple[AttentionTarget, ...] = ACTOR_CRITIC_TARGETS
    method: CamMethod = "gradcam"
    value_rectification: Rectification = "relu"
    policy_rectification: Rectification = "absolute"

    def __post_init__(self) -> None:
        """Check every setting, as :class:`camal_rl.agents.CamalConfig` does."""
        CamalConfig(**asdict(self))

    @classmethod
    def of(
        cls,
        settings: MapSettings | CamalConfig | Mapping[str, Any] | None,
        known: tuple[AttentionTarget, ...] = ACTOR_CRITIC_TARGETS,
    ) -> MapSettings:
        """Return the map settings of a training term, or from plain data.

        Args:
            settings: ``None`` means the defaults.
            known: the attention targets of the policy, which are also the default.

        Raises:
            ValueError: an unknown key or value, or a target that the policy does not have.
        """
        found = cls._of(settings, known)
        for target in found.targets:
            if target not in known:
                raise ValueError(f"camal.targets must be one of {', '.join(known)}, got {target!r}")
        return found

    @classmethod
    def _of(
        cls,
        settings: MapSettings | CamalConfig | Mapping[str, Any] | None,
        known: tuple[AttentionTarget, ...],
    ) -> MapSettings:
        if isinstance(settings, MapSettings):
            return settings
        names = [field.name for field in fields(cls)]
        if isinstance(settings, CamalConfig):
            return cls(**{name: getattr(settings, name) for name in names})
        given = {"targets": known, **(settings or {})}
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"unknown map setting {unknown[0]!r}; choose from {', '.join(names)}")
        given["targets"] = tuple(given["targets"])
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for saving with a model."""
        return {**asdict(self), "targets": list(self.targets)}

    def rectification(
        self, given: Rectification | Mapping[AttentionTarget, Rectification] | None = None
    ) -> dict[AttentionTarget, Rectification]:
        """Return the rectification of each target's map: the given one, or else that of these settings."""
        own: dict[AttentionTarget, Rectification] = {
            "value": self.value_rectification,
            "policy": self.policy_rectification,
            "q": self.value_rectification,
        }
        if isinstance(given, str):
            return dict.fromkeys(own, given)
        check_targets(given or ())
        return {**own, **(given or {})}


def check_targets(targets: Any, known: tuple[AttentionTarget, ...] = ATTENTION_TARGETS) -> tuple[AttentionTarget, ...]:
    """Return targets of maps as a tuple; raise a ValueError for an unknown one."""
    chosen = (targets,) if isinstance(targets, str) else tuple(targets)
    for target in chosen:
        if target not in known:
            raise ValueError(f"unknown target {target!r}; choose one of {', '.join(known)}")
    return chosen

"""Which maps are meant where nothing is said: a model's own, as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from camal_rl.agents.config import ACTOR_CRITIC_TARGETS, ATTENTION_TARGETS, AttentionTarget, CamalConfig
from camal_rl.attention import CamMethod, Rectification


@dataclass(frozen=True)
class MapSettings:
    """The maps of a policy; the attributes mean what they mean in :class:`camal_rl.agents.CamalConfig`."""

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
        """Return the maps that a training term or plain data mean.

        Args:
            settings: ``None`` means the defaults.
            known: the attention targets of the policy; all of them where nothing is said.

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
        """Return plain data, as a saved model holds it."""
        return {**asdict(self), "targets": list(self.targets)}

    def rectification(
        self, given: Rectification | Mapping[AttentionTarget, Rectification] | None = None
    ) -> dict[AttentionTarget, Rectification]:
        """Return the rectification of each target's map: what is given, and these settings for the rest."""
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
    """Return targets of maps as a tuple; a ValueError names one that is not known."""
    chosen = (targets,) if isinstance(targets, str) else tuple(targets)
    for target in chosen:
        if target not in known:
            raise ValueError(f"unknown target {target!r}; choose one of {', '.join(known)}")
    return chosen

"""Which maps are meant where nothing is said: a model's own, as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget, CamalConfig
from camal_rl.attention import CamMethod, Rectification


@dataclass(frozen=True)
class MapSettings:
    """The maps of a policy; the attributes mean what they mean in :class:`camal_rl.agents.CamalConfig`."""

    targets: tuple[AttentionTarget, ...] = ATTENTION_TARGETS
    method: CamMethod = "gradcam"
    value_rectification: Rectification = "relu"
    policy_rectification: Rectification = "absolute"

    def __post_init__(self) -> None:
        """Check every setting, as :class:`camal_rl.agents.CamalConfig` does."""
        CamalConfig(**asdict(self))

    @classmethod
    def of(cls, settings: CamalConfig | Mapping[str, Any] | None) -> MapSettings:
        """Return the maps that a training term or plain data mean; ``None`` means the defaults.

        Raises:
            ValueError: an unknown key or value.
        """
        names = [field.name for field in fields(cls)]
        if isinstance(settings, CamalConfig):
            return cls(**{name: getattr(settings, name) for name in names})
        given = dict(settings or {})
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"unknown map setting {unknown[0]!r}; choose from {', '.join(names)}")
        if "targets" in given:
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
        }
        if isinstance(given, str):
            return dict.fromkeys(own, given)
        check_targets(given or ())
        return {**own, **(given or {})}


def check_targets(targets: Any) -> tuple[AttentionTarget, ...]:
    """Return targets of maps as a tuple; a ValueError names one that is unknown."""
    chosen = (targets,) if isinstance(targets, str) else tuple(targets)
    for target in chosen:
        if target not in ATTENTION_TARGETS:
            raise ValueError(f"unknown target {target!r}; choose one of {', '.join(ATTENTION_TARGETS)}")
    return chosen

"""The environment of an experiment: which one, how many copies, and what of it the agent sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from camal_rl.envs.masking import find_masking
from camal_rl.runs.checks import Copies, check_section


@dataclass(frozen=True)
class EnvConfig:
    """The environment that is trained on.

    Attributes:
        id: environment id, for example ``toy_grid/default`` or ``procgen/starpilot``.
        num_envs: copies that step together.
        options: what the simulator takes, over those of the level set ``train``.
        segmentation: ``default`` (the environment's own), ``silhouette`` or ``box``; ``None`` switches masks off
            (only for weight 0).
        relevant: class names that matter for the decision; ``None`` keeps the environment's own.
        normalize_reward: divide rewards by the running standard deviation of the discounted return.
        masking: what the agent sees of each image where it sees objects only, in training and whenever it acts: a name
            of :data:`camal_rl.envs.MASKINGS` or a path; ``None`` shows images as they are.
    """

    id: str
    num_envs: Copies = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Literal["default", "silhouette", "box"] | None = "default"
    relevant: tuple[str, ...] | None = None
    normalize_reward: bool = False
    masking: str | None = None

    def __post_init__(self) -> None:
        """Check ranges, that no setting is given twice, and that there is such a masking, with masks for it."""
        check_section(self, "env")
        if self.masking is not None:
            try:
                find_masking(self.masking)
            except (TypeError, ValueError) as error:
                raise ValueError(f"env.masking: {error}") from error
            if self.segmentation is None:
                raise ValueError(f"env.masking={self.masking} needs masks: set env.segmentation=default")
        for key in ("segmentation", "relevant", "masking"):
            if key in self.options:
                raise ValueError(f"set env.{key}, not env.options.{key}")

"""The environment of an experiment: its id, the number of copies, and what the agent sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from camal_rl.envs.masking import find_masking
from camal_rl.runs.checks import Copies, Share, check_section


@dataclass(frozen=True)
class EnvConfig:
    """The training environment.

    Attributes:
        id: environment id, for example ``toy_grid/default`` or ``procgen/starpilot``.
        num_envs: number of parallel environments.
        options: simulator options, which override those of the level set ``train``.
        segmentation: ``default`` (the environment's own), ``silhouette`` or ``box``; ``None`` switches masks off
            (only for weight 0).
        relevant: names of the classes that are relevant for the decision; ``None`` uses the environment's default.
        normalize_reward: divide rewards by the running standard deviation of the discounted return.
        normalize_reward_gamma: the discount of that return; ``None`` is the algorithm's own, ``algorithm.gamma``.
        masking: how images are masked for an agent that sees only objects, in training and whenever it acts: a name
            from :data:`camal_rl.envs.MASKINGS` or a path; ``None`` leaves images unmodified.
    """

    id: str
    num_envs: Copies = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Literal["default", "silhouette", "box"] | None = "default"
    relevant: tuple[str, ...] | None = None
    normalize_reward: bool = False
    normalize_reward_gamma: Share | None = None
    masking: str | None = None

    def __post_init__(self) -> None:
        """Check ranges, that no setting is given twice, and that the masking exists and has masks."""
        check_section(self, "env")
        if self.normalize_reward_gamma is not None and not self.normalize_reward:
            raise ValueError("env.normalize_reward_gamma needs env.normalize_reward=true")
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

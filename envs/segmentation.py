"""The contract between simulators and the rest of the house: an image and its ground-truth segmentation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

LabelMap = npt.NDArray[np.uint8]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class SegmentationSpec:
    """What the ids of a label map mean.

    Attributes:
        names: ``names[id]`` is the name of class ``id``; ``names[0]`` is the background.
        relevant: names of the classes that matter for the decision.
    """

    names: tuple[str, ...]
    relevant: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the names are unique and that every relevant class has one."""
        if not 1 <= len(self.names) <= 256:
            raise ValueError(f"a label map holds 1 to 256 classes, got {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"class names must be unique, got {list(self.names)}")
        unknown = [name for name in self.relevant if name not in self.names]
        if unknown:
            raise ValueError(f"unknown relevant class {unknown[0]!r}; the classes are {', '.join(self.names)}")

    @property
    def id(self) -> None:
        """Nothing: SB3's ``VecMonitor`` takes every ``env.spec`` for Gymnasium's and writes its ``id`` to its log."""

    def with_relevant(self, relevant: Sequence[str] | None) -> SegmentationSpec:
        """Return this spec with another relevant set (``None`` keeps the present one)."""
        return self if relevant is None else replace(self, relevant=tuple(relevant))

    def relevant_lookup(self) -> npt.NDArray[np.bool_]:
        """Return ``bool[256]``: ``lookup[label]`` says whether the class is relevant (unnamed ids are not)."""
        lookup = np.zeros(256, dtype=bool)
        lookup[[self.names.index(name) for name in self.relevant]] = True
        return lookup


class SegmentedVecEnv(VecEnv):
    """A Stable-Baselines3 vectorised environment that knows the segmentation of its current observations."""

    spec: SegmentationSpec

    @property
    def has_segmentation(self) -> bool:
        """Whether masks are switched on; where they are off, ``segmentation`` raises."""
        return True

    @abstractmethod
    def segmentation(self) -> LabelMap:
        """Return the label maps ``uint8[num_envs, H, W]`` of the CURRENT observations.

        The current observations are those that the last ``reset`` or ``step`` returned: for an environment that
        has just been reset automatically, the first frame of the new episode.
        """


def find_segmented(env: VecEnv) -> SegmentedVecEnv | None:
    """Return the outermost :class:`SegmentedVecEnv` in a chain of SB3 wrappers, or ``None`` if there is none."""
    return find_wrapped(env, SegmentedVecEnv)  # type: ignore[type-abstract]


def find_wrapped(env: VecEnv, kind: type[Kind]) -> Kind | None:
    """Return the outermost environment of a kind in a chain of SB3 wrappers, or ``None`` if there is none."""
    current: VecEnv = env
    while True:
        if isinstance(current, kind):
            return current
        if not isinstance(current, VecEnvWrapper):
            return None
        current = current.venv

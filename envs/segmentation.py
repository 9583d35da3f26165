"""The contract between simulators and the rest of the package: an image and its ground-truth segmentation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from camal_rl.spelling import did_you_mean

LabelMap = npt.NDArray[np.uint8]
Kind = TypeVar("Kind")
TERMINAL_KEY = "terminal_segmentation"
"""The key of ``info`` for the label map of a ``terminal_observation``."""


class ImageStack(NamedTuple):
    """The frames that an observation stacks along its channels, the newest last.

    Attributes:
        frames: number of frames; 1 without a stack.
        labels: the label map that comes with the observation: that of the ``newest`` frame, or the ``union`` of all.
    """

    frames: int = 1
    labels: Literal["newest", "union"] = "newest"


@dataclass(frozen=True)
class SegmentationSpec:
    """What the ids of a label map mean.

    Lists of names become tuples.

    Attributes:
        names: ``names[id]`` is the name of class ``id``; ``names[0]`` is the background.
        relevant: names of the classes that matter for the decision.

    Raises:
        TypeError: ``names`` or ``relevant`` is not a list of strings.
        ValueError: no names or more than 256, a name twice, or a relevant class without a name.
    """

    names: tuple[str, ...]
    relevant: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the names are unique and that every relevant class has one."""
        for key in ("names", "relevant"):
            object.__setattr__(self, key, _names(key, getattr(self, key)))
        if not 1 <= len(self.names) <= 256:
            raise ValueError(f"a label map must have 1 to 256 classes, got {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"class names must be unique, got {list(self.names)}")
        unknown = [name for name in self.relevant if name not in self.names]
        if unknown:
            raise ValueError(f"unknown relevant class {unknown[0]!r}; the classes are {', '.join(self.names)}")

    @property
    def id(self) -> None:
        """Always ``None``; SB3's ``VecMonitor`` takes every ``env.spec`` for Gymnasium's and logs its ``id``."""

    def with_relevant(self, relevant: Sequence[str] | None) -> SegmentationSpec:
        """Return this spec with another relevant set (``None`` keeps the present one)."""
        return self if relevant is None else replace(self, relevant=_names("relevant", relevant))

    def relevant_lookup(self) -> npt.NDArray[np.bool_]:
        """Return ``bool[256]``: ``lookup[label]`` says whether the class is relevant (unnamed ids are not)."""
        lookup = np.zeros(256, dtype=bool)
        lookup[[self.names.index(name) for name in self.relevant]] = True
        return lookup


def _names(key: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{key} must be a list of class names, got {given!r}")
    return tuple(given)


def as_spec(given: object) -> SegmentationSpec:
    """Return a spec, also from a mapping ``{"names": [...], "relevant": [...]}``, as in a YAML file.

    Raises:
        TypeError: neither of these, missing or unknown keys, or values that are not lists of strings.
        ValueError: as for :class:`SegmentationSpec`.
    """
    if isinstance(given, SegmentationSpec):
        return given
    known = [item.name for item in fields(SegmentationSpec)]
    if not isinstance(given, Mapping):
        raise TypeError(
            "a spec must be a SegmentationSpec(names, relevant), or a dictionary with the keys names and relevant, "
            f"got {given!r}"
        )
    for key in given:
        if key not in known:
            raise TypeError(f"unknown key {key!r} in a spec; {did_you_mean(key, known)}the keys are {', '.join(known)}")
    missing = [key for key in known if key not in given]
    if missing:
        raise TypeError(f"a spec needs the keys {' and '.join(known)}; {missing[0]} is missing in {dict(given)!r}")
    return SegmentationSpec(**given)


class SegmentedVecEnv(VecEnv):
    """A Stable-Baselines3 vectorized environment that knows the segmentation of its current observations.

    A value that is assigned to ``spec`` is checked immediately, by :func:`as_spec`.
    """

    spec: SegmentationSpec

    def __init_subclass__(cls, **given: Any) -> None:
        """Check a spec that is a class attribute."""
        super().__init_subclass__(**given)
        if "spec" in vars(cls) and not hasattr(vars(cls)["spec"], "__get__"):
            cls.spec = as_spec(vars(cls)["spec"])

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a spec becomes a :class:`SegmentationSpec`."""
        super().__setattr__(name, as_spec(value) if name == "spec" else value)

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """Names of the actions, or of the components of a continuous action; a wrapper has those of what it wraps."""
        wrapped = find_segmented(self.venv) if isinstance(self, VecEnvWrapper) else None
        return None if wrapped is None else wrapped.action_names

    @property
    def masking(self) -> str | None:
        """The name of the masking if an agent sees only objects (:mod:`camal_rl.envs.masking`); otherwise ``None``."""
        wrapped = find_segmented(self.venv) if isinstance(self, VecEnvWrapper) else None
        return None if wrapped is None else wrapped.masking

    @property
    def image_stack(self) -> ImageStack:
        """The frame stack of the observations; a wrapper has that of what it wraps."""
        wrapped = find_segmented(self.venv) if isinstance(self, VecEnvWrapper) else None
        return ImageStack() if wrapped is None else wrapped.image_stack

    @property
    def has_segmentation(self) -> bool:
        """Whether masks are switched on; if they are off, ``segmentation`` raises."""
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


def masking_of(env: VecEnv | None) -> str | None:
    """Return the name of the masking if an agent sees only objects, or ``None`` if it sees unmodified images."""
    segmented = None if env is None else find_segmented(env)
    return None if segmented is None else segmented.masking


def find_wrapped(env: VecEnv, kind: type[Kind]) -> Kind | None:
    """Return the outermost environment of a kind in a chain of SB3 wrappers, or ``None`` if there is none."""
    current: VecEnv = env
    while True:
        if isinstance(current, kind):
            return current
        if not isinstance(current, VecEnvWrapper):
            return None
        current = current.venv

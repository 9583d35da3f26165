"""The contract for simulators that can redraw the current state with one thing changed.

An intervention changes only the image: the background, the appearance, or which objects are shown. If an agent decides
differently on the frame and on its counterfactual, the changed pixels are the cause. An attention map alone cannot show
causes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.segmentation import LabelMap, find_wrapped

Images = npt.NDArray[np.uint8]
InterventionKind = Literal["identity", "background", "theme", "change", "remove"]
KINDS: tuple[str, ...] = get_args(InterventionKind)


@dataclass(frozen=True)
class Intervention:
    """One way to draw the current state differently.

    Attributes:
        name: unique within an environment.
        kind: ``background`` (another one, or none), ``theme`` (the same objects with another appearance), ``change``
            (one object shown in another state), ``remove`` (all objects of a class, or one object), ``identity``
            (nothing).
        class_name: the class that is removed or changed; ``None`` if the intervention does not concern one class.
        description: one sentence for reports.
    """

    name: str
    kind: InterventionKind
    class_name: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        """Check the kind."""
        if self.kind not in KINDS:
            raise ValueError(f"the kind of an intervention must be one of {', '.join(KINDS)}, got {self.kind!r}")


IDENTITY = Intervention("identity", "identity", None, "Draw the current state again, unchanged.")
"""Every environment supports it. It must reproduce the current frames bit for bit, to show that redraws are exact."""


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """The current frames under an intervention.

    Attributes:
        images: ``uint8[num_envs, H, W, 3]``.
        changed: ``bool[num_envs, H, W]``, the pixels that differ from the current frame.
        applies: ``bool[num_envs]``, whether any pixel differs; ``False`` if, for example, the object is not in sight.
    """

    images: Images
    changed: npt.NDArray[np.bool_]
    applies: npt.NDArray[np.bool_]

    @classmethod
    def between(cls, current: Images, images: Images) -> Counterfactual:
        """Compare redrawn frames with the current ones, both ``uint8[num_envs, H, W, 3]``.

        Raises:
            TypeError: not uint8.
            ValueError: different shapes.
        """
        if images.dtype != np.uint8:
            raise TypeError(f"redrawn frames must be uint8, got {images.dtype}")
        if images.shape != current.shape or images.ndim != 4:
            raise ValueError(f"expected redrawn frames of shape {current.shape}, got {images.shape}")
        changed = (images != current).any(axis=3)
        return cls(images, changed, changed.any(axis=(1, 2)))


class CounterfactualEnv(ABC):
    """A vectorized environment that can redraw its current state; use this class beside ``SegmentedVecEnv``.

    A redraw must not affect the running game: its state, its random streams and all later frames stay the same.

    Attributes:
        labels_redrawn: whether :meth:`redrawn_labels` is implemented. Agents that see only objects need it.
    """

    labels_redrawn: ClassVar[bool] = False

    @abstractmethod
    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions that this environment can draw, without :data:`IDENTITY`."""

    @abstractmethod
    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the CURRENT observations redrawn under an intervention (or :data:`IDENTITY`).

        The images have the layout of this environment's own observations, channels last. Before a policy sees them,
        they need the same changes that wrappers make to observations (transposing, stacking).

        Raises:
            ValueError: not one of this environment's interventions.
        """

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps ``uint8[num_envs, H, W]`` of the images from :meth:`counterfactual`.

        Raises:
            ValueError: not one of this environment's interventions, or masks are switched off.
            NotImplementedError: the environment has no label maps of redrawn images.
        """
        raise NotImplementedError(f"a {type(self).__name__} has no label maps of redrawn images")


def find_counterfactual(env: VecEnv) -> CounterfactualEnv | None:
    """Return the outermost :class:`CounterfactualEnv` in a chain of SB3 wrappers, or ``None`` if there is none."""
    return find_wrapped(env, CounterfactualEnv)  # type: ignore[type-abstract]


def require_known(intervention: Intervention, known: tuple[Intervention, ...]) -> None:
    """Raise a ValueError for an intervention that is neither known nor the identity."""
    if intervention not in known and intervention != IDENTITY:
        names = ", ".join(item.name for item in known) or "none"
        raise ValueError(f"unknown intervention {intervention.name!r}; this environment has: {names}")


def check_counterfactual_env(env: CounterfactualEnv, observations: Images) -> None:
    """Check the contract on the current state; for your own simulator, call this in several states.

    Args:
        env: the environment.
        observations: its current observations, ``uint8[num_envs, H, W, 3]``.

    Raises:
        ValueError: two interventions share a name, the identity differs from the observations (before or after the
            other interventions were drawn), or ``changed`` and ``applies`` do not match the images.
    """
    known = env.interventions()
    if len({item.name for item in known}) != len(known):
        raise ValueError(f"names of interventions must be unique, got {[item.name for item in known]}")
    for intervention in (IDENTITY, *known, IDENTITY):
        drawn = env.counterfactual(intervention)
        expected = Counterfactual.between(observations, drawn.images)
        if intervention == IDENTITY and expected.applies.any():
            count, pixels = int(expected.applies.sum()), int(expected.changed.sum())
            raise ValueError(f"the identity changed {pixels} pixels in {count} frames; the redraw is not exact")
        same = np.array_equal(drawn.changed, expected.changed) and np.array_equal(drawn.applies, expected.applies)
        if not same:
            raise ValueError(f"changed or applies of {intervention.name!r} do not match its images")

"""Vectorized Gymnasium environments that can redraw their own states as counterfactuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import gymnasium
import numpy as np

from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, make_segmented_vec
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec


class RedrawnOptions(Protocol):
    """The options that :class:`RedrawnGymVecEnv` reads."""

    @property
    def segmentation(self) -> str | None:
        """How masks are drawn, ``None`` for none."""

    @property
    def subproc(self) -> bool:
        """Whether each copy runs in its own process."""

    def spec(self) -> SegmentationSpec:
        """Return the classes and the relevant set."""


class RedrawnGymVecEnv(SegmentedGymVecEnv, CounterfactualEnv):
    """Copies of an environment with the methods ``interventions``, ``redraw`` and ``redrawn_labels``.

    Args:
        make_env: makes one copy; must be picklable if ``options.subproc`` is true.
        num_envs: number of copies.
        seed: copy ``i`` draws its levels with ``seed + i``.
        options: the options of the environments that ``make_env`` makes.
    """

    labels_redrawn = True

    def __init__(
        self, make_env: Callable[[], gymnasium.Env], num_envs: int, seed: int, options: RedrawnOptions
    ) -> None:
        masks = options.segmentation is not None
        made = make_segmented_vec(make_env, num_envs, options.spec(), seed, options.subproc, masks)
        super().__init__(made.venv, made.spec, masks)

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions that these environments support."""
        found: tuple[Intervention, ...] = self.venv.env_method("interventions", indices=0)[0]
        return found

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the current observations redrawn under an intervention; the games themselves do not change.

        Raises:
            ValueError: not one of :meth:`interventions`, or called before the first reset.
        """
        current, drawn = zip(*self.venv.env_method("redraw", intervention), strict=True)
        return Counterfactual.between(np.stack(current), np.stack(drawn))

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps ``uint8[num_envs, H, W]`` of the images from :meth:`counterfactual`.

        Raises:
            ValueError: not one of :meth:`interventions`, or masks are switched off.
        """
        return np.stack(self.venv.env_method("redrawn_labels", intervention))

"""Vectorized Gymnasium environments that redraw their own states: counterfactuals of each, in its own process."""

from __future__ import annotations

import numpy as np

from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv
from camal_rl.envs.segmentation import LabelMap


class RedrawnGymVecEnv(SegmentedGymVecEnv, CounterfactualEnv):
    """Copies of an environment that has ``interventions``, ``redraw`` and ``redrawn_labels`` for its own state."""

    labels_redrawn = True

    def interventions(self) -> tuple[Intervention, ...]:
        """Return what can be redrawn of these environments."""
        found: tuple[Intervention, ...] = self.venv.env_method("interventions", indices=0)[0]
        return found

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the current observations redrawn under an intervention; the games themselves are not touched.

        Raises:
            ValueError: not one of :meth:`interventions`, or before the first reset.
        """
        current, drawn = zip(*self.venv.env_method("redraw", intervention), strict=True)
        return Counterfactual.between(np.stack(current), np.stack(drawn))

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps ``uint8[num_envs, H, W]`` of what :meth:`counterfactual` gives.

        Raises:
            ValueError: not one of :meth:`interventions`, or masks are switched off.
        """
        return np.stack(self.venv.env_method("redrawn_labels", intervention))

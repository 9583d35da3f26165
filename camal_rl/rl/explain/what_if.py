"""An episode redrawn by its simulator with one thing changed, and the agent's decisions on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camal_rl.agents import AttentivePolicy, CamalConfig
from camal_rl.envs import CounterfactualEnv, Intervention, SegmentedVecEnv, find_counterfactual
from camal_rl.rl.policy_outputs import Actions, PolicyOutputs, policy_outputs


@dataclass(frozen=True)
class Redrawn:
    """The K frames of an episode that an intervention changes, at least one.

    Attributes:
        intervention: the intervention.
        steps: ``int64 (K,)``, the steps of these frames, in order.
        images: ``uint8 (K, H, W, 3)``, the redrawn frames.
        outputs: the policy's outputs for them, for the actions that were taken.
    """

    intervention: Intervention
    steps: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    outputs: PolicyOutputs


class Witness:
    """Records the label map and the redrawn frames at every step of an episode of one environment.

    Args:
        venv: a single environment.
        with_labels: whether it provides label maps.

    Attributes:
        labels: a label map ``uint8 (H, W)`` for each step so far; none where it gives none.
    """

    def __init__(self, venv: SegmentedVecEnv, with_labels: bool) -> None:
        self._venv, self._with_labels = venv, with_labels
        self._env: CounterfactualEnv | None = find_counterfactual(venv)
        self.labels: list[npt.NDArray[np.uint8]] = []
        self._drawn: dict[Intervention, dict[int, npt.NDArray[np.uint8]]] = {}
        if self._env is not None:
            self._drawn = {each: {} for each in self._env.interventions()}

    def __call__(self, step: int) -> None:
        """Record the current frame of the environment, which is that of this step."""
        if self._with_labels:
            self.labels.append(self._venv.segmentation()[0].copy())
        for intervention, images in self._drawn.items():
            assert self._env is not None
            found = self._env.counterfactual(intervention)
            if found.applies[0]:
                images[step] = found.images[0].copy()

    def redrawn(self, policy: AttentivePolicy, actions: Actions, camal: CamalConfig | None = None) -> list[Redrawn]:
        """Return the interventions that change any frame, with the policy's outputs for the changed frames.

        Args:
            policy: the agent's policy.
            actions: the actions of the T steps, which the policy maps explain.
            camal: defines the maps; by default the policy's own.
        """
        found = []
        for intervention, images in self._drawn.items():
            if not images:
                continue
            steps, pictures = np.array(list(images)), np.stack(list(images.values()))
            found.append(
                Redrawn(intervention, steps, pictures, policy_outputs(policy, pictures, camal, actions[steps]))
            )
        return found

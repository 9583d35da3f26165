"""A task of the DeepMind Control Suite vectorized, with masks and counterfactuals."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention
from camal_rl.envs.dm_control.engine import import_suite
from camal_rl.envs.dm_control.env import make_env
from camal_rl.envs.dm_control.options import parse_options
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, make_segmented_vec
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.segmentation import LabelMap


class DmControlVecEnv(SegmentedGymVecEnv, CounterfactualEnv):
    """Copies of one task, in this process or in one each.

    Args:
        name: which task.
        num_envs: number of copies.
        seed: copy ``i`` draws its levels with ``seed + i``.
        render_mode: ``rgb_array`` for large pictures when asked for, or ``None``.
        **options: see :class:`~camal_rl.envs.dm_control.options.DmControlOptions`.
    """

    labels_redrawn = True

    def __init__(
        self, name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
    ) -> None:
        check_render_mode(render_mode)
        self.options = parse_options(name, options)
        import_suite()
        masks = self.options.segmentation is not None
        maker = partial(make_env, name, render_mode, **options)
        made = make_segmented_vec(maker, num_envs, self.options.spec(), seed, self.options.subproc, masks)
        super().__init__(made.venv, made.spec, masks)

    def interventions(self) -> tuple[Intervention, ...]:
        """Return what can be redrawn: other skies, grounds, colors and lights, and pictures without a class."""
        found: tuple[Intervention, ...] = self.venv.env_method("interventions", indices=0)[0]
        return found

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the current observations redrawn under an intervention; the simulation itself is not touched.

        Raises:
            ValueError: not one of :meth:`interventions`, or before the first reset.
        """
        current, drawn = zip(*self.venv.env_method("redraw", intervention), strict=True)
        return Counterfactual.between(np.stack(current), np.stack(drawn))

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps ``uint8[num_envs, size, size]`` of what :meth:`counterfactual` gives.

        Raises:
            ValueError: not one of :meth:`interventions`, or masks are switched off.
        """
        return np.stack(self.venv.env_method("redrawn_labels", intervention))

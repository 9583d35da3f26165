"""A vectorized task of the DeepMind Control Suite with masks and counterfactuals."""

from __future__ import annotations

from functools import partial
from typing import Any

from camal_rl.envs.dm_control.engine import import_suite
from camal_rl.envs.dm_control.env import make_env
from camal_rl.envs.dm_control.options import parse_options
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.redrawn_vec import RedrawnGymVecEnv


class DmControlVecEnv(RedrawnGymVecEnv):
    """Copies of one task, all in this process or each in its own.

    Args:
        name: name of the task.
        num_envs: number of copies.
        seed: copy ``i`` draws its levels with ``seed + i``.
        render_mode: ``rgb_array`` if ``render`` is to return large images, or ``None``.
        **options: see :class:`~camal_rl.envs.dm_control.options.DmControlOptions`.
    """

    def __init__(
        self, name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
    ) -> None:
        check_render_mode(render_mode)
        self.options = parse_options(name, options)
        import_suite()
        super().__init__(partial(make_env, name, render_mode, **options), num_envs, seed, self.options)

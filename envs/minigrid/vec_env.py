"""Vectorized MiniGrid with masks and counterfactuals."""

from __future__ import annotations

from functools import partial
from typing import Any

from camal_rl.envs.minigrid.env import make_env
from camal_rl.envs.minigrid.options import parse_options
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.redrawn_vec import RedrawnGymVecEnv


class MiniGridVecEnv(RedrawnGymVecEnv):
    """Copies of one MiniGrid environment, all in this process or each in its own.

    Args:
        name: name of the environment.
        num_envs: number of copies.
        seed: copy ``i`` draws its levels with ``seed + i``.
        render_mode: ``rgb_array`` if ``render`` is to return MiniGrid's own large images, or ``None``.
        **options: see :class:`~camal_rl.envs.minigrid.options.MiniGridOptions`.
    """

    def __init__(
        self, name: str, num_envs: int, seed: int, render_mode: str | None = "rgb_array", **options: Any
    ) -> None:
        check_render_mode(render_mode)
        self.options = parse_options(name, options)
        super().__init__(partial(make_env, name, render_mode, **options), num_envs, seed, self.options)

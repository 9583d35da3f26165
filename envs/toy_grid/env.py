"""The toy grid as a single Gymnasium environment; rules and drawing are those of the vectorized one."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from camal_rl.envs.copies import Copyable
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.envs.toy_grid.art import Image
from camal_rl.envs.toy_grid.game import ToyGridGames
from camal_rl.envs.toy_grid.layout import MOVE_NAMES
from camal_rl.envs.toy_grid.options import MAX_LEVEL
from camal_rl.envs.toy_grid.variants import variant_options
from camal_rl.envs.toy_grid.vec_env import RENDER_FPS, action_space, observation_space

_FIRST = np.zeros(1, dtype=np.int64)


class ToyGridEnv(AttributeState, Copyable, gymnasium.Env[Any, np.int64]):
    """One toy grid, with the label map of each observation as ``info["segmentation"]``.

    ``reset(options={"level": 7})`` plays the level of seed 7; without it the level is drawn from the level set.

    Attributes:
        action_names: names of the actions.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": RENDER_FPS}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, variant: str = "default", render_mode: str | None = None, **options: Any) -> None:
        """Make a variant with options of :class:`~camal_rl.envs.toy_grid.options.ToyGridOptions`."""
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.options = variant_options(variant, options)
        self.segmentation_spec: SegmentationSpec = self.options.spec()
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.action_names = MOVE_NAMES
        self._episode = EpisodeOrder()
        self._games = ToyGridGames(1, self.options)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode in the level ``options["level"]``, or in a random level of the level set."""
        super().reset(seed=seed)
        pick = int(self.np_random.integers(self.options.level_count()))
        level = (options or {}).get("level", self.options.start_level + pick)
        if not isinstance(level, (int, np.integer)) or not 0 <= level <= MAX_LEVEL:
            raise ValueError(f"the level must be an integer in [0, {MAX_LEVEL}], got {level!r}")
        self._games.place(_FIRST, np.array([level], dtype=np.int64))
        self._episode.start()
        return self._games.images[0].copy(), self._info()

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Move: 0 up, 1 right, 2 down, 3 left.

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: not an action.
        """
        self._episode.require()
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be in [0, 3], got {action}")
        outcome = self._games.step(np.array([action], dtype=np.int64))
        ended, cut = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        self._episode.end(ended or cut)
        info = self._info()
        if ended or cut:
            info["is_success"] = bool(outcome.success[0])
        return self._games.images[0].copy(), float(outcome.rewards[0]), ended, cut, info

    def get_state(self) -> dict[str, Any]:
        """Return the game's state; Gymnasium's generator, which draws levels, is not part of it."""
        started = int(self._games.levels[0]) >= 0
        return {"game": self._games.get_state(0) if started else None, "running": self._episode.running}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`get_state`."""
        if state["game"] is not None:
            self._games.set_state(0, state["game"])
        self._episode.running = state["running"]

    def render(self) -> Image | None:
        """Return the current image with ``render_mode="rgb_array"``; otherwise ``None``."""
        return self._games.images[0].copy() if self.render_mode == "rgb_array" else None

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"level": int(self._games.levels[0])}
        if self.options.segmentation is not None:
            info["segmentation"] = self._games.labels[0].copy()
        return info

"""Crafter as a single Gymnasium environment with images and their label maps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.envs.copies import Copyable
from camal_rl.envs.counterfactual import IDENTITY, Intervention, require_known
from camal_rl.envs.crafter.classes import ACTION_NAMES
from camal_rl.envs.crafter.counterfactual import THEME, crafter_interventions, edited
from camal_rl.envs.crafter.options import THEMES, CrafterOptions, parse_options
from camal_rl.envs.crafter.scene import Scene
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.levels import EVERY_LEVEL, SeededLevels
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.registry import MissingExtraError
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec

if TYPE_CHECKING:
    from camal_rl.envs.crafter.game import Game
    from camal_rl.envs.crafter.painter import Painter

Image = npt.NDArray[np.uint8]
_LARGE = 512


class CrafterEnv(AttributeState, Copyable, gymnasium.Env[Image, np.int64]):
    """One game of Crafter, with the label map of each observation as ``info["segmentation"]``.

    The seed of ``reset`` is the level: level n is the world of the first episode of ``crafter.Env(seed=n)``.
    Observations are ``uint8[size, size, 3]``. ``info`` also contains Crafter's ``inventory`` and ``achievements`` (how
    often each was reached in the episode). An episode terminates with the player's death and is truncated after
    ``length`` steps.

    Args:
        options: see :class:`~camal_rl.envs.crafter.options.CrafterOptions`; the level range is not used here.
        render_mode: ``rgb_array`` for an enlarged image, or ``None``.

    Attributes:
        action_names: readable names of the actions.

    Raises:
        MissingExtraError: Crafter is not installed.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, options: CrafterOptions, render_mode: str | None = None) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.options = options
        self.segmentation_spec: SegmentationSpec = options.spec()
        self._game = _game(options)
        self._interventions = crafter_interventions(options)
        self.observation_space = spaces.Box(0, 255, (options.size, options.size, 3), np.uint8)
        self.action_space = spaces.Discrete(len(ACTION_NAMES))
        self.action_names = ACTION_NAMES
        self._episode = EpisodeOrder()
        self._image: Image | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start the level of a seed; without a seed, draw a level from the environment's generator."""
        super().reset(seed=seed)
        self._game.start(int(self.np_random.integers(EVERY_LEVEL)) if seed is None else seed)
        self._episode.start()
        return self._show()

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Take an action: an index of :attr:`action_names`, which is in Crafter's order.

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: the action is not in the action space.
        """
        self._episode.require()
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be in [0, {len(ACTION_NAMES) - 1}], got {action}")
        reward = self._game.play(int(action))
        terminated = self._game.dead
        truncated = self._game.over and not terminated
        self._episode.end(terminated or truncated)
        image, info = self._show()
        return image, reward if self.options.rewarded else 0.0, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Return the state of the game (map, creatures, player, generator, noise) and the current image."""
        if self._image is None:
            return {"game": None, "running": False, "image": None}
        return {"game": self._game.get_state(), "running": self._episode.running, "image": self._image}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`.

        Raises:
            ValueError: the state comes from another version of Crafter.
        """
        if state["game"] is not None:
            self._game.set_state(state["game"])
        self._episode.running = state["running"]
        self._image = state["image"]

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions under which the current observation can be redrawn."""
        return self._interventions

    def redraw(self, intervention: Intervention) -> tuple[Image, Image]:
        """Return the current observation, and the same state redrawn under an intervention (or the identity).

        Raises:
            ValueError: unknown intervention, or nothing to redraw before the first reset.
        """
        image, scene = self._current(), self._edited(intervention)
        return image.copy(), self._painter(intervention).paint(scene, self.options.size)

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label map ``uint8[size, size]`` of the image that :meth:`redraw` returns.

        Raises:
            ValueError: unknown intervention, nothing to redraw before the first reset, or masks are switched off.
        """
        if self.options.segmentation is None:
            raise ValueError("masks are switched off; make the environment with segmentation='silhouette'")
        self._current()
        return self._painter(intervention).label(self._edited(intervention), self.options.size)

    def render(self) -> Image | None:
        """Return the image enlarged by a whole factor, to at most 512 pixels, or ``None`` without a render mode.

        An image that is too large for that keeps its size.
        """
        if self.render_mode is None:
            return None
        factor = max(1, _LARGE // self.options.size)
        scene = Scene.of(self._game).enlarged(factor)
        return self._painter(IDENTITY, factor).paint(scene, self.options.size * factor)

    def _show(self) -> tuple[Image, dict[str, Any]]:
        scene, painter = Scene.of(self._game), self._painter(IDENTITY)
        self._image = painter.paint(scene, self.options.size)
        player = self._game.player
        info: dict[str, Any] = {"inventory": dict(player.inventory), "achievements": dict(player.achievements)}
        if self.options.segmentation is not None:
            info["segmentation"] = painter.label(scene, self.options.size)
        return self._image.copy(), info

    def _current(self) -> Image:
        if self._image is None:
            raise ValueError("there is nothing to redraw yet; call reset first")
        return self._image

    def _edited(self, intervention: Intervention) -> Scene:
        require_known(intervention, self._interventions)
        return edited(Scene.of(self._game), intervention, self.segmentation_spec.relevant)

    def _painter(self, intervention: Intervention, factor: int = 1) -> Painter:
        from camal_rl.envs.crafter.painter import painter  # Needs Crafter, which _game() has found.

        own = self.options.theme
        theme = next(name for name in THEMES if name != own) if intervention == THEME else own
        return painter(self.options.tile * factor, theme, self.options.segmentation == "box")


def make_env(name: str, render_mode: str | None = None, **options: Any) -> SeededLevels:
    """Make one environment that plays the levels of its range, for example ``make_env("Reward", num_levels=200)``.

    Raises:
        TypeError: unknown option.
        ValueError: unknown environment or a wrong value.
        MissingExtraError: Crafter is not installed.
    """
    parsed = parse_options(name, options)
    return SeededLevels(CrafterEnv(parsed, render_mode), parsed.start_level, parsed.num_levels)


# Gymnasium reads the render modes from this attribute, and opens a window for render_mode="human" itself.
setattr(make_env, "metadata", CrafterEnv.metadata)  # noqa: B010


def _game(options: CrafterOptions) -> Game:
    try:
        importlib.import_module("crafter")
    except ImportError as error:
        raise MissingExtraError("Crafter", "crafter") from error
    from camal_rl.envs.crafter.game import Game

    return Game(options)

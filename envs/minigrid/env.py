"""MiniGrid as a single Gymnasium environment with images and their label maps."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from camal_rl.envs.copies import Copyable
from camal_rl.envs.counterfactual import IDENTITY, Intervention, require_known
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.levels import SeededLevels
from camal_rl.envs.minigrid.counterfactual import edited, minigrid_interventions
from camal_rl.envs.minigrid.layouts import simulator_id
from camal_rl.envs.minigrid.options import MiniGridOptions, parse_options
from camal_rl.envs.minigrid.scene import Scene
from camal_rl.envs.object_graphs import PackageClasses, graph_of, graph_tree
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.registry import MissingExtraError
from camal_rl.envs.saved_values import AttributeState, frozen, thawed
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec

if TYPE_CHECKING:
    from minigrid.minigrid_env import MiniGridEnv as Game

Image = npt.NDArray[np.uint8]
_CLASSES = PackageClasses("minigrid")
# In MiniGrid's order; some environments have only the first three.
ACTION_NAMES = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
_OF_THE_WINDOW = ("window", "clock", "render_size", "render_mode")


class MiniGridEnv(AttributeState, Copyable, gymnasium.Env[Image, np.int64]):
    """One MiniGrid game, with the label map of each observation as ``info["segmentation"]``.

    The seed of ``reset`` is the level. Observations are ``uint8[side, side, 3]``; a grid that does not fill them is
    centered on black.

    Args:
        options: see :class:`~camal_rl.envs.minigrid.options.MiniGridOptions`; the level range is not used here.
        render_mode: ``rgb_array`` for MiniGrid's own large image of the same view, or ``None``.

    Attributes:
        action_names: readable names of the actions.

    Raises:
        MissingExtraError: MiniGrid is not installed.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, options: MiniGridOptions, render_mode: str | None = None) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.options = options
        self.segmentation_spec: SegmentationSpec = options.spec()
        self._game = _start(options.played)
        # The simulator's symbolic observation is not used; computing it takes as long as everything else together.
        self._game.gen_obs = dict  # type: ignore[method-assign]
        from camal_rl.envs.minigrid.tiles import atlas  # Needs MiniGrid, which _start() has found.

        self._tiles = atlas(options.drawn_tile_size, options.segmentation or "silhouette")
        self._interventions = minigrid_interventions(options)
        self.observation_space = spaces.Box(0, 255, (options.side, options.side, 3), np.uint8)
        self.action_space = spaces.Discrete(options.group.num_actions)
        self.action_names = ACTION_NAMES[: options.group.num_actions]
        self._episode = EpisodeOrder()
        self._image: Image | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start the level of a seed; without a seed, draw a level from the game's generator."""
        super().reset(seed=seed)
        self._game.reset(seed=seed)
        self._episode.start()
        return self._show()

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Take an action: 0 left, 1 right, 2 forward, 3 pick up, 4 drop, 5 toggle, 6 done (MiniGrid's own order).

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: the action is not in the action space.
        """
        self._episode.require()
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be in [0, {self.options.group.num_actions - 1}], got {action}")
        _, reward, terminated, truncated, _ = self._game.step(int(action))
        self._episode.end(terminated or truncated)
        image, info = self._show()
        return image, float(reward), bool(terminated), bool(truncated), info

    def get_state(self) -> dict[str, Any]:
        """Return the state of the game (grid, agent, what it carries, steps, generator) and the current image."""
        return {
            "game": graph_tree({key: vars(self._game)[key] for key in _changing(self._game)}, _CLASSES),
            "np_random": frozen(self._game._np_random),
            "running": self._episode.running,
            "image": self._image,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`.

        Raises:
            ValueError: the state comes from another version of MiniGrid.
        """
        vars(self._game).update(graph_of(state["game"], _CLASSES))
        self._game._np_random = thawed(state["np_random"], self._game._np_random)
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
        if self._image is None:
            raise ValueError("there is nothing to redraw yet; call reset first")
        return self._image.copy(), self._centered(self._tiles.paint(self._laid(intervention)))

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label map ``uint8[side, side]`` of the image that :meth:`redraw` returns.

        Raises:
            ValueError: unknown intervention, nothing to redraw before the first reset, or masks are switched off.
        """
        if self.options.segmentation is None:
            raise ValueError("masks are switched off; make the environment with segmentation='silhouette'")
        if self._image is None:
            raise ValueError("there is nothing to redraw yet; call reset first")
        return self._centered(self._tiles.label(self._laid(intervention)))

    def _laid(self, intervention: Intervention) -> npt.NDArray[Any]:
        require_known(intervention, self._interventions)
        return self._tiles.lay(edited(self._scene(), intervention, self.options))

    def render(self) -> Image | None:
        """Return MiniGrid's own image of the same view, 32 pixels per cell, or ``None`` without a render mode."""
        if self.render_mode is None:
            return None
        frame: Image = self._game.get_frame(self.options.highlight, agent_pov=self.options.view == "partial")
        return frame

    def close(self) -> None:
        """End the game; calling it again changes nothing."""
        self._game.close()

    def _show(self) -> tuple[Image, dict[str, Any]]:
        numbers = self._laid(IDENTITY)
        self._image = self._centered(self._tiles.paint(numbers))
        info: dict[str, Any] = {}
        if self.options.segmentation is not None:
            info["segmentation"] = self._centered(self._tiles.label(numbers))
        return self._image.copy(), info

    def _scene(self) -> Scene:
        if self.options.view == "partial":
            return Scene.partial(self._game)
        return Scene.full(self._game, self.options.highlight)

    def _centered(self, drawn: Image | LabelMap) -> Image | LabelMap:
        side, (height, width) = self.options.side, drawn.shape[:2]
        if (height, width) == (side, side):
            return drawn
        top, left = (side - height) // 2, (side - width) // 2
        framed = np.zeros((side, side, *drawn.shape[2:]), dtype=np.uint8)
        framed[top : top + height, left : left + width] = drawn
        return framed


def make_env(name: str, render_mode: str | None = None, **options: Any) -> SeededLevels:
    """Make one environment that plays the levels of its range: ``make_env("DoorKey-6x6", num_levels=200)``.

    Raises:
        TypeError: unknown option.
        ValueError: unknown environment or a wrong value.
        MissingExtraError: MiniGrid is not installed.
    """
    parsed = parse_options(name, options)
    return SeededLevels(MiniGridEnv(parsed, render_mode), parsed.start_level, parsed.num_levels)


# Gymnasium reads the render modes from this attribute, and opens a window for render_mode="human" itself.
setattr(make_env, "metadata", MiniGridEnv.metadata)  # noqa: B010


def _changing(game: Game) -> list[str]:
    """Return the names of a game's attributes, except spaces, classes, generator and window."""
    constant = (type, gymnasium.Space, EnvSpec, np.random.Generator)
    return [
        name for name, value in vars(game).items() if name not in _OF_THE_WINDOW and not isinstance(value, constant)
    ]


def _start(layout: str) -> Game:
    # Without this, pygame, which MiniGrid imports, prints a line.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        importlib.import_module("minigrid")
    except ImportError as error:
        raise MissingExtraError("MiniGrid", "minigrid") from error
    return cast("Game", gymnasium.make(simulator_id(layout), disable_env_checker=True).unwrapped)

"""A ViZDoom scenario as a single Gymnasium environment with segmentation."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import gymnasium
import numpy as np

from camal_rl.envs.copies import CopyableUntilStarted
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.levels import EVERY_LEVEL, SeededLevels
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.vizdoom.engine import configured_game, start
from camal_rl.envs.vizdoom.labels import LabelPainter
from camal_rl.envs.vizdoom.options import ENGINE_SIZE, VizdoomOptions, parse_options
from camal_rl.envs.wrappers import Image, resize_image


class VizdoomEnv(AttributeState, CopyableUntilStarted, gymnasium.Env[Image, np.int64]):
    """One ViZDoom scenario; ``info["segmentation"]`` is the label map uint8[H, W] of each observation.

    Observations are RGB images uint8[H, W, 3]. An episode is determined by the seed of ``reset`` and the actions. It is
    truncated at the scenario's time limit, with the frame after the last action. If it terminates (the player is dead,
    or the scenario has ended it), the engine draws no further frame, so ``step`` returns the last frame and its label
    map again.

    Attributes:
        action_names: the buttons of each action.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, scenario: str, options: VizdoomOptions, render_mode: str | None = None) -> None:
        """Set a scenario up; the engine starts with the first ``reset``."""
        check_render_mode(render_mode)
        self.remember("a ViZDoom environment", scenario, options, render_mode)
        self.render_mode = render_mode
        self.options = options
        self.segmentation_spec = options.spec(scenario)
        self._game = configured_game(scenario, options)
        self._last_tic = _take_over_time_limit(self._game)
        self._painter = LabelPainter(self.segmentation_spec, options.size)
        self._presses = _button_presses(self._game.get_available_buttons(), options.max_buttons_pressed)
        self.action_names = tuple(self._presses)
        self.observation_space = gymnasium.spaces.Box(0, 255, (*options.size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(self._presses))
        self._screen: Image = np.zeros((*ENGINE_SIZE, 3), dtype=np.uint8)
        self._label_map: LabelMap = np.zeros(options.size, dtype=np.uint8)
        self._episode = EpisodeOrder()

    def started(self) -> bool:
        """Return whether the engine was started."""
        return bool(self._game.is_running())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start the episode of a seed, or of one drawn at random."""
        super().reset(seed=seed)
        level = int(self.np_random.integers(EVERY_LEVEL)) if seed is None else seed
        self._game.set_seed(level)
        if self._game.is_running():
            self._game.new_episode()
        else:
            start(self._game, self.options.appearance)
        self._episode.start()
        self._look()
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Press an action's buttons for ``frame_skip`` tics, or for those that are left of the episode.

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: not an action.
        """
        self._episode.require()
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be in [0, {len(self.action_names) - 1}], got {action}")
        tics_left = self._last_tic - self._game.get_episode_time()
        buttons = self._presses[self.action_names[int(action)]]
        reward = self._game.make_action(buttons, int(min(self.options.frame_skip, tics_left)))
        terminated = bool(self._game.is_episode_finished())
        truncated = not terminated and self._game.get_episode_time() >= self._last_tic
        self._episode.end(terminated or truncated)
        if not terminated:
            self._look()
        return self._observation(), float(reward), terminated, truncated, self._info()

    def render(self) -> Image | None:
        """Return the engine's image, uint8[120, 160, 3], with ``render_mode="rgb_array"``; otherwise ``None``."""
        return None if self.render_mode is None else self._screen.copy()

    def close(self) -> None:
        """End the engine; the files that it wrote are removed."""
        self._episode.end(True)
        self._game.close()

    def _look(self) -> None:
        """Take the image and its labels from the engine, both from the same render."""
        state = self._game.get_state()
        self._screen = state.screen_buffer
        if self.options.segmentation is not None:
            self._label_map = self._painter.paint(state.labels_buffer, state.labels)

    def _observation(self) -> Image:
        return resize_image(self._screen, *self.options.size)

    def _info(self) -> dict[str, Any]:
        return {} if self.options.segmentation is None else {"segmentation": self._label_map.copy()}


def make_env(scenario: str, render_mode: str | None = None, **options: Any) -> gymnasium.Env[Image, np.int64]:
    """Make one environment that plays the level set of its options; the entry point of the Gymnasium ids."""
    parsed = parse_options(scenario, options)
    return SeededLevels(VizdoomEnv(scenario, parsed, render_mode), parsed.start_level, parsed.num_levels)


# Gymnasium reads the supported render modes here; for render_mode="human" it opens a window itself.
setattr(make_env, "metadata", VizdoomEnv.metadata)  # noqa: B010


def _take_over_time_limit(game: Any) -> float:
    """Return the tic at which an episode is truncated, and switch the engine's own limit off.

    The engine's own limit would end the episode without its last frame.
    """
    tics = game.get_episode_timeout()
    game.set_episode_timeout(0)
    return float(game.get_episode_start_time() + tics) if tics else math.inf


def _button_presses(buttons: list[Any], most: int) -> dict[str, list[float]]:
    """Return the button presses of every action by its name: all sets of at most ``most`` buttons, the empty one first.

    Buttons for turning by an angle are never pressed: actions are discrete.
    """
    binary = [index for index, button in enumerate(buttons) if not button.name.endswith("_DELTA")]
    presses = {}
    for count in range(most + 1):
        for chosen in combinations(binary, count):
            name = "+".join(buttons[index].name.lower() for index in chosen) or "none"
            presses[name] = [float(index in chosen) for index in range(len(buttons))]
    return presses

"""Atari games with the usual preprocessing, as single Gymnasium environments with label maps."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import TransformReward

from camal_rl.envs.atari.episodes import EpisodicLife, FireOnReset
from camal_rl.envs.atari.options import parse_options
from camal_rl.envs.atari.raw_env import RawAtariEnv
from camal_rl.envs.copies import Copyable
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.levels import SeededLevels
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.saved_values import AttributeState, NotSavableError
from camal_rl.envs.saved_wrappers import restore_chain, save_chain
from camal_rl.envs.segmentation import ImageStack
from camal_rl.envs.wrappers import SegmentedFrameStack, SegmentedResize

Image = npt.NDArray[np.uint8]


class AtariEnv(AttributeState, Copyable, gymnasium.Env[Image, np.int64]):
    """One Atari game, with the label map of each observation as ``info["segmentation"]``.

    Observations are ``uint8[84, 84, 4]`` by default: four grayscale frames, the newest last. ``info`` also contains
    ``lives``, ``frame_number`` (raw frames since the start of the game) and ``level_seed``.

    Args:
        game: the game's name, spelled as in ALE, for example ``MsPacman``.
        render_mode: ``rgb_array`` for the raw screen in color, or ``None``.
        **options: see :class:`~camal_rl.envs.atari.options.AtariOptions`.

    Attributes:
        action_names: readable names of the actions.

    Raises:
        TypeError: unknown option, or one of the wrong type.
        ValueError: a value that the game does not support, or masks that were not checked.
        MissingExtraError: ALE is not installed, or masks are on and OCAtari is not installed.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, game: str, render_mode: str | None = None, **options: Any) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.options = parse_options(game, options)
        self.segmentation_spec = self.options.spec()
        self._frames = RawAtariEnv(self.options)
        self._env = self._wrap(self._frames)
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space
        self.action_names = tuple(name.lower() for name in self._frames.action_meanings)
        self._episode = EpisodeOrder()

    def _wrap(self, frames: RawAtariEnv) -> SegmentedFrameStack:
        chosen = self.options
        env: gymnasium.Env[Any, Any] = SegmentedResize(frames, chosen.size)
        env = SeededLevels(env, chosen.start_level, chosen.num_levels)
        if chosen.episodic_life:
            env = EpisodicLife(env)
        if chosen.fire_on_reset and frames.action_meanings[1:2] == ("FIRE",):
            env = FireOnReset(env)
        if chosen.clip_reward:
            env = TransformReward(env, _sign)
        return SegmentedFrameStack(env, chosen.frame_stack, chosen.stack_labels)

    @property
    def image_stack(self) -> ImageStack:
        """Number of frames in an observation, and which of them its label map describes."""
        return self._env.image_stack

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode; a seed makes this level and the following ones reproducible."""
        super().reset(seed=seed)
        self._episode.start()
        return self._env.reset(seed=seed, options=options)

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Take an action.

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: the action is not in the action space.
        """
        self._episode.require()
        observation, reward, terminated, truncated, info = self._env.step(action)
        self._episode.end(terminated or truncated)
        return observation, float(reward), terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Return the state of the game and of its wrappers.

        Raises:
            NotSavableError: the object detector holds something that cannot be saved.
        """
        game = save_chain(self._env)
        if game["why_inexact"] is not None:
            raise NotSavableError(game["why_inexact"])
        return {"game": game, "running": self._episode.running}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`.

        Raises:
            ValueError: the state belongs to a game with other options.
        """
        restore_chain(self._env, state["game"], exact=True)
        self._episode.running = state["running"]

    def render(self) -> Image | None:
        """Return the current raw screen ``uint8[H, 160, 3]`` in color, or ``None`` without a render mode."""
        return None if self.render_mode is None else self._frames.render()


def _sign(reward: Any) -> float:
    return float(np.sign(float(reward)))

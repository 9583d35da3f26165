"""Procgen as a single Gymnasium environment; the simulator and the masks are those of the vectorized one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from camal_rl.envs.copies import Copyable
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.procgen.options import MAX_SEED
from camal_rl.envs.procgen.vec_env import FRAME_SHAPE, NUM_ACTIONS, RENDER_FPS, ProcgenVecEnv
from camal_rl.envs.segmentation import LabelMap

Frame = npt.NDArray[np.uint8]


class ProcgenEnv(Copyable, gymnasium.Env[Frame, np.int64]):
    """One Procgen game, with the label map of each observation as ``info["segmentation"]``.

    Procgen resets itself and never shows an episode's last frame. A ``step`` that terminates therefore returns the
    previous frame again, with that frame's label map. The next ``reset`` returns the first frame of the episode that
    the simulator has already started. A ``reset`` within an episode ends that episode and starts the next one. Every
    end is a termination, because the simulator does not report its time limit.

    ``reset(seed=...)`` makes the simulator again, so that the same seed gives the same levels.

    Args:
        game: one of the 16 games.
        segmentation: ``"box"``, ``"silhouette"``, or ``None`` for no masks in ``info``.
        relevant: class names that replace the game's default relevant set.
        render_mode: ``rgb_array`` for frames of 512 x 512, or ``None``.
        **options: see :class:`~camal_rl.envs.procgen.options.ProcgenOptions`.

    Attributes:
        action_names: names of the actions.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": RENDER_FPS}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(
        self,
        game: str,
        segmentation: str | None = "box",
        relevant: Sequence[str] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.render_mode = render_mode
        options = {"num_threads": 0, **options, "render_mode": render_mode}
        self._venv = ProcgenVecEnv(game, 1, 0, segmentation=segmentation, relevant=relevant, **options)
        self.segmentation_spec = self._venv.spec
        self.observation_space = self._venv.observation_space
        self.action_space = self._venv.action_space
        self.action_names = self._venv.action_names
        self._seeded = False
        self._episode_is_new = False
        self._episode = EpisodeOrder()
        self._frame: Frame = np.zeros(FRAME_SHAPE, dtype=np.uint8)
        self._picture: Frame = self._frame
        self._labels: LabelMap | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frame, dict[str, Any]]:
        """Start an episode; with a seed, or the first time, the simulator starts anew."""
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self._venv.seed(int(self.np_random.integers(MAX_SEED)))
        if seed is not None or not self._seeded or not self._episode_is_new:
            self._venv.reset()
        self._seeded, self._episode_is_new = True, False
        self._episode.start()
        self._look()
        return self._frame.copy(), self._info(self._venv.reset_infos[0]["level_seed"])

    def step(self, action: np.int64) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Take one of the 15 actions.

        Raises:
            ValueError: not an action.
            NoEpisodeError: the episode is over, or none was started.
        """
        self._episode.require()
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be an integer in [0, {NUM_ACTIONS - 1}], got {action!r}")
        _, rewards, dones, infos = self._venv.step(np.array([action]))
        terminated = bool(dones[0])
        self._episode_is_new = terminated
        self._episode.end(terminated)
        if not terminated:
            self._look()
        info = self._info(infos[0]["prev_level_seed" if terminated else "level_seed"])
        info["level_complete"] = bool(infos[0]["prev_level_complete"])
        return self._frame.copy(), float(rewards[0]), terminated, False, info

    def _look(self) -> None:
        """Copy the frame, picture and label map, because an episode's last frame is needed after its end."""
        self._frame = self._venv.observations()[0].copy()
        if self.render_mode is not None:
            self._picture = self._venv.get_images()[0]
        if self._venv.segmentation_mode is not None:
            self._labels = self._venv.segmentation()[0]

    def _info(self, level_seed: int) -> dict[str, Any]:
        info: dict[str, Any] = {"level_seed": int(level_seed)}
        if self._labels is not None:
            info["segmentation"] = self._labels.copy()
        return info

    def get_state(self) -> dict[str, Any]:
        """Return the simulator's state and the current frame.

        Raises:
            ValueError: the environment is closed.
            NotSavableError: the environment has generated assets, which have no states.
        """
        return {
            "game": self._venv.whole_state_options(),
            "simulator": self._venv.whole_state(),
            "episode": (self._seeded, self._episode_is_new, self._episode.running),
            "shown": (self._frame, self._picture, self._labels),
            "level_seed": int(self._venv.reset_infos[0].get("level_seed", 0)),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`get_state`.

        Raises:
            ValueError: the state belongs to another game, or to other options.
        """
        if state["game"] != self._venv.whole_state_options():
            raise ValueError(f"the state belongs to another game or to other options: {state['game']}")
        self._venv.set_whole_state(state["simulator"])
        self._seeded, self._episode_is_new, self._episode.running = state["episode"]
        self._frame, self._picture, self._labels = state["shown"]
        self._venv.reset_infos = [{"level_seed": state["level_seed"]}]

    def render(self) -> Frame | None:
        """Return the current frame in 512 x 512 pixels with ``render_mode="rgb_array"``; otherwise ``None``."""
        return None if self.render_mode is None else self._picture.copy()

    def close(self) -> None:
        """End the simulator; harmless when repeated."""
        self._venv.close()

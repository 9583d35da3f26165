"""The toy grid as a natively vectorized SB3 environment."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from camal_rl.envs.copies import Copyable
from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention
from camal_rl.envs.episodes import EpisodeStatistics, NoEpisodeError
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.saved_values import WholeStateVecEnv
from camal_rl.envs.segmentation import TERMINAL_KEY, LabelMap, SegmentedVecEnv
from camal_rl.envs.toy_grid.art import Image
from camal_rl.envs.toy_grid.counterfactual import INTERVENTIONS, redraw, redraw_labels
from camal_rl.envs.toy_grid.game import Ints, ToyGridGames
from camal_rl.envs.toy_grid.layout import MOVE_NAMES, MOVES
from camal_rl.envs.toy_grid.level import SIZE
from camal_rl.envs.toy_grid.options import ToyGridOptions
from camal_rl.envs.toy_grid.random_stream import RandomStream

_STREAM = struct.Struct("<qq")
RENDER_FPS = 5


def observation_space() -> spaces.Box:
    """Return the space of the images, uint8[64, 64, 3]."""
    return spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)


def action_space() -> spaces.Discrete:
    """Return the space of the four moves: 0 up, 1 right, 2 down, 3 left."""
    return spaces.Discrete(len(MOVES))


class ToyGridVecEnv(Copyable, SegmentedVecEnv, CounterfactualEnv, WholeStateVecEnv):
    """Many toy grids in one process, stepped by NumPy.

    The level of episode ``k`` of environment ``i`` is drawn by a random stream with the keys ``(seed, i, k)``, so a
    state contains no generator. When an episode ends, ``info["episode"]`` holds ``r``, ``l`` and ``t`` as in SB3's
    Monitor.
    """

    labels_redrawn = True

    def __init__(
        self, num_envs: int, seed: int, options: ToyGridOptions, render_mode: str | None = "rgb_array"
    ) -> None:
        """Make ``num_envs`` games; call :meth:`reset` before the first step."""
        check_render_mode(render_mode)
        self.render_mode = render_mode
        super().__init__(num_envs, observation_space(), action_space())
        self.metadata = {**self.metadata, "render_fps": RENDER_FPS}  # type: ignore[dict-item]
        self.spec = options.spec()
        self.options = options
        self._games = ToyGridGames(num_envs, options)
        self._streams = np.full(num_envs, seed, dtype=np.int64)
        self._episodes = np.zeros(num_envs, dtype=np.int64)
        self._actions = np.zeros(num_envs, dtype=np.int64)
        self._statistics = EpisodeStatistics(num_envs)

    def reset(self) -> VecEnvObs:
        """Start a new episode in every game; a seed given to :meth:`seed` restarts the level streams."""
        for index, seed in enumerate(self._seeds):
            if seed is not None:
                self._streams[index], self._episodes[index] = seed, 0
        self._next_episodes(np.arange(self.num_envs))
        self._statistics.restart()
        self._reset_seeds()
        self._reset_options()
        return self._games.images.copy()

    def _next_episodes(self, games: Ints) -> None:
        count = self.options.level_count()
        picks = [
            RandomStream(int(self._streams[i]), i, int(self._episodes[i])).randrange(count) for i in games.tolist()
        ]
        self._episodes[games] += 1
        self._games.place(games, self.options.start_level + np.array(picks, dtype=np.int64))
        for index in games.tolist():
            self.reset_infos[index] = {"level": int(self._games.levels[index])}

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the next :meth:`step_wait`.

        Raises:
            NoEpisodeError: before the first :meth:`reset`.
            ValueError: wrong number, type or value.
        """
        self._require_levels()
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(
                f"actions must be {self.num_envs} integers, got shape {given.shape} and dtype {given.dtype}"
            )
        if given.min() < 0 or given.max() >= len(MOVES):
            raise ValueError(f"actions must be in [0, {len(MOVES) - 1}], got {given.min()} to {given.max()}")
        self._actions = given.astype(np.int64)

    def step_wait(self) -> VecEnvStepReturn:
        """Step every game; a finished one starts its next episode, as in SB3's own vectorized environments."""
        outcome = self._games.step(self._actions)
        dones = outcome.terminated | outcome.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        finished = np.flatnonzero(dones)
        for index in finished.tolist():
            infos[index] = {
                "terminal_observation": self._games.images[index].copy(),
                "TimeLimit.truncated": bool(outcome.truncated[index]),
                "is_success": bool(outcome.success[index]),
                "level": int(self._games.levels[index]),
            }
            if self.has_segmentation:
                infos[index][TERMINAL_KEY] = self._games.labels[index].copy()
        self._statistics.step(outcome.rewards, dones, infos)
        if len(finished):
            self._next_episodes(finished)
        return self._games.images.copy(), outcome.rewards, dones, infos

    def _has_levels(self) -> bool:
        return bool(self._games.levels.min() >= 0)

    def _require_levels(self) -> None:
        if not self._has_levels():
            raise NoEpisodeError("there is no running episode; call reset() first")

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions."""
        return MOVE_NAMES

    @property
    def has_segmentation(self) -> bool:
        """Whether label maps are switched on."""
        return self.options.segmentation is not None

    def segmentation(self) -> LabelMap:
        """Return the label maps uint8[num_envs, 64, 64] of the current observations.

        Raises:
            ValueError: label maps are switched off.
            NoEpisodeError: called before the first :meth:`reset`.
        """
        self._require_labels()
        self._require_levels()
        return self._games.labels.copy()

    def _require_labels(self) -> None:
        if not self.has_segmentation:
            raise ValueError("label maps are switched off; make the environment with segmentation='silhouette'")

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions: other floors, themes and cues, and images without a class or an object."""
        return INTERVENTIONS

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the current observations redrawn under an intervention; the games themselves do not change.

        Raises:
            ValueError: not one of :meth:`interventions`, or called before the first :meth:`reset`.
        """
        return redraw(self._games, intervention, self.spec.relevant)

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps uint8[num_envs, 64, 64] of the images from :meth:`counterfactual`.

        Raises:
            ValueError: not one of :meth:`interventions`, label maps are switched off, or called before the first
                :meth:`reset`.
        """
        self._require_labels()
        return redraw_labels(self._games, intervention, self.spec.relevant)

    def get_state(self) -> list[bytes]:
        """Return every game's state, including the position in its stream of levels."""
        return [
            _STREAM.pack(int(self._streams[index]), int(self._episodes[index])) + self._games.get_state(index)
            for index in range(self.num_envs)
        ]

    def set_state(self, states: Sequence[bytes]) -> VecEnvObs:
        """Put every game into a state from :meth:`get_state` and return the observations.

        A state contains no episode returns and lengths, which restart at 0.

        Raises:
            ValueError: wrong number of states, or a state of the wrong size.
        """
        if len(states) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} states, one for each environment, got {len(states)}")
        for index, state in enumerate(states):
            self._games.set_state(index, state[_STREAM.size :])
            self._streams[index], self._episodes[index] = _STREAM.unpack(state[: _STREAM.size])
        self._statistics.restart()
        return self._games.images.copy()

    def whole_state(self) -> dict[str, Any]:
        """Return every game's state, and the returns and lengths of the running episodes."""
        return {
            "streams": self._streams.copy(),
            "episodes": self._episodes.copy(),
            "states": self.get_state() if self._has_levels() else None,
            "statistics": self._statistics.state(),
        }

    def set_whole_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`whole_state` returned; this also works before the first reset."""
        self._streams[:], self._episodes[:] = state["streams"], state["episodes"]
        if state["states"] is not None:
            self.set_state(state["states"])
        self._statistics.set_state(state["statistics"])

    def whole_state_options(self) -> dict[str, str]:
        """Return the options except ``relevant``, which does not affect a state."""
        return {name: str(value) for name, value in asdict(self.options).items() if name != "relevant"}

    def close(self) -> None:
        """Do nothing: the games hold no resources."""

    def get_images(self) -> Sequence[Image | None]:
        """Return the current images."""
        return list(self._games.images.copy())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this environment once for each index."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute; the games share it, so all indices are needed."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("the games of a toy grid share their attributes; set them for all indices")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of this environment once and return its result for each index."""
        result = getattr(self, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Return for each index whether the games act like a wrapper: they report episodes like ``Monitor``."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

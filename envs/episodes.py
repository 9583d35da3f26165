"""Records of episodes that every environment keeps: whether one is running, its return and its length."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded


class NoEpisodeError(ResetNeeded, RuntimeError):
    """``step`` was called while no episode was running."""


class EpisodeOrder:
    """Tracks whether an episode is running: from a reset until the step that terminates or truncates it."""

    def __init__(self) -> None:
        self.running = False

    def start(self) -> None:
        """Record a reset."""
        self.running = True

    def end(self, over: bool) -> None:
        """Record a step, and whether it ended the episode."""
        self.running = self.running and not over

    def require(self) -> None:
        """Raise a :class:`NoEpisodeError` if no episode is running."""
        if not self.running:
            raise NoEpisodeError("there is no running episode; call reset() first")


class EpisodeStatistics:
    """Returns and lengths of many running episodes, reported as SB3's ``Monitor`` reports them."""

    def __init__(self, num_envs: int) -> None:
        self._returns: npt.NDArray[np.float64] = np.zeros(num_envs, dtype=np.float64)
        self._lengths: npt.NDArray[np.int64] = np.zeros(num_envs, dtype=np.int64)
        self._start_time = time.time()

    def restart(self) -> None:
        """Set all returns and lengths to 0."""
        self._returns[:] = 0.0
        self._lengths[:] = 0

    def state(self) -> dict[str, Any]:
        """Return the returns and lengths of the running episodes."""
        return {"returns": self._returns.copy(), "lengths": self._lengths.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned."""
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]

    def step(self, rewards: npt.NDArray[Any], dones: npt.NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        """Add a step's rewards ``[num_envs]``; write ``info["episode"]`` (``r``, ``l``, ``t``) of ended episodes."""
        self._returns += rewards
        self._lengths += 1
        for index in np.flatnonzero(dones):
            infos[index]["episode"] = {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": round(time.time() - self._start_time, 6),
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0

"""A small typed interface to Procgen's C++ simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.libraries import open_library
from camal_rl.envs.procgen.sprite_pack import SpritePack


@dataclass(frozen=True)
class StepResult:
    """The simulator's results after a step (or at the start).

    Attributes:
        rewards: ``float32[n]``.
        frames: ``uint8[n, 64, 64, 3]``; for an episode that ended, the first frame of the next one.
        first: ``bool[n]``, whether the frame is the first of an episode.
        level_complete: ``bool[n]``, whether the step completed a level.
        level_seeds: ``int32[n]``, the level of the frame.
        infos: what Procgen reports per environment.
        pictures: with ``render_mode="rgb_array"``, frames of 512 x 512; else empty.
    """

    rewards: npt.NDArray[np.float32]
    frames: npt.NDArray[np.uint8]
    first: npt.NDArray[np.bool_]
    level_complete: npt.NDArray[np.bool_]
    level_seeds: npt.NDArray[np.int32]
    infos: list[dict[str, Any]]
    pictures: list[npt.NDArray[np.uint8]]


class Simulator:
    """``num`` copies of one game, stepped together by the simulator's own threads."""

    def __init__(
        self, game: str, num: int, seed: int, arguments: dict[str, Any], pack: SpritePack | None = None
    ) -> None:
        """Start the copies; with a ``pack``, they draw its sprites instead of Procgen's."""
        self.num = num
        # Every method but own_frames() returns copies.
        self._library = open_library(game, num, seed, arguments, pack)
        self._has_state = not arguments["use_generated_assets"]

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start a step; -1 ends the episode."""
        self._library.act(actions)

    def observe(self) -> StepResult:
        """Wait for the step and return what it shows."""
        rewards, frames, first = self._library.observe()
        infos = self._library.infos()
        return StepResult(
            rewards=rewards.copy(),
            frames=frames.copy(),
            first=first.copy(),
            level_complete=np.array([info["prev_level_complete"] for info in infos], dtype=bool),
            level_seeds=np.array([info["level_seed"] for info in infos], dtype=np.int32),
            infos=infos,
            pictures=[info.pop("rgb").copy() for info in infos if "rgb" in info],
        )

    def outcome(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Wait for the step and return ``rewards`` and ``first`` alone, see :class:`StepResult`."""
        rewards, _, first = self._library.observe()
        return rewards.copy(), first.copy()

    def frames(self) -> npt.NDArray[np.uint8]:
        """Wait for the step and return the frames alone, ``uint8[n, 64, 64, 3]``."""
        return self.own_frames().copy()

    def own_frames(self) -> npt.NDArray[np.uint8]:
        """Return the simulator's own buffer of frames, which the next step overwrites."""
        return self._library.observe()[1]

    def level_seeds(self) -> npt.NDArray[np.int32]:
        """Wait for the step and return the levels of the frames, ``int32[n]``."""
        return np.array([info["level_seed"] for info in self._library.infos()], dtype=np.int32)

    def get_state(self, index: int) -> bytes:
        """Return the state of one copy.

        Raises:
            ValueError: the assets are generated (a state does not contain their textures), or the simulator is closed.
        """
        self._check_has_state()
        return self._library.get_state(int(index))

    def set_state(self, index: int, state: bytes) -> None:
        """Put one copy into a state; :meth:`observe` then returns its frame.

        Raises:
            ValueError: as for :meth:`get_state`.
        """
        self._check_has_state()
        self._library.set_state(int(index), state)

    def _check_has_state(self) -> None:
        if not self._has_state:
            raise ValueError("Procgen cannot save states with use_generated_assets=True; leave that option out")
        if self._library.closed:
            raise ValueError("the environment is closed, and a closed simulator has no state")

    def close(self) -> None:
        """End the threads and free the memory; harmless when repeated."""
        self._library.close()

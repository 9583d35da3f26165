"""Procgen's C++ simulator behind a small typed surface."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.sprite_pack import SpritePack
from camal_rl.envs.registry import MissingExtraError


@dataclass(frozen=True)
class StepResult:
    """What the simulator shows after a step (or at the start).

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
        try:
            cffi = importlib.import_module("cffi")
            from procgen.env import MAX_STATE_SIZE, ProcgenGym3Env
        except ImportError as error:
            raise MissingExtraError("Procgen", "procgen") from error
        self.num = num
        make: Any = ProcgenGym3Env if pack is None else pack.environment_class()
        self._env = make(num=num, env_name=game, rand_seed=seed, **arguments)
        # cffi looks a function up at its first use, under the lock that it holds while it loads a library. Loading can
        # start a garbage collection, which closes environments that nobody closed: that must not need the lock.
        self._env._c_lib.libenv_close  # noqa: B018
        # An option of gym3's that Procgen does not pass on. What leaves here is copied here, but for own_frames().
        self._env._reuse_arrays = True
        self._ffi = cffi.FFI()
        self._buffer = self._ffi.new(f"char[{MAX_STATE_SIZE}]")
        self._has_state = not arguments["use_generated_assets"]

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start a step; -1 ends the episode."""
        self._env.act(actions)

    def observe(self) -> StepResult:
        """Wait for the step and return what it shows."""
        rewards, observation, first = self._env.observe()
        infos = self._env.get_info()
        return StepResult(
            rewards=rewards.copy(),
            frames=observation["rgb"].copy(),
            first=first.copy(),
            level_complete=np.array([info["prev_level_complete"] for info in infos], dtype=bool),
            level_seeds=np.array([info["level_seed"] for info in infos], dtype=np.int32),
            infos=infos,
            pictures=[info.pop("rgb").copy() for info in infos if "rgb" in info],
        )

    def outcome(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Wait for the step and return ``rewards`` and ``first`` alone, see :class:`StepResult`."""
        rewards, _, first = self._env.observe()
        return rewards.copy(), first.copy()

    def frames(self) -> npt.NDArray[np.uint8]:
        """Wait for the step and return the frames alone, ``uint8[n, 64, 64, 3]``."""
        return self.own_frames().copy()

    def own_frames(self) -> npt.NDArray[np.uint8]:
        """Return the frames where the simulator keeps them: the next step overwrites them."""
        frames: npt.NDArray[np.uint8] = self._env.observe()[1]["rgb"]
        return frames

    def level_seeds(self) -> npt.NDArray[np.int32]:
        """Wait for the step and return the levels of the frames, ``int32[n]``."""
        return np.array([info["level_seed"] for info in self._env.get_info()], dtype=np.int32)

    def get_state(self, index: int) -> bytes:
        """Return the state of one copy.

        Raises:
            ValueError: generated assets, whose textures a state does not hold, or a closed simulator.
        """
        self._check_has_state()
        length = self._env.call_c_func("get_state", int(index), self._buffer, len(self._buffer))
        return bytes(self._ffi.buffer(self._buffer, length))

    def set_state(self, index: int, state: bytes) -> None:
        """Give one copy a state; :meth:`observe` shows it.

        Raises:
            ValueError: as for :meth:`get_state`.
        """
        self._check_has_state()
        self._env.call_c_func("set_state", int(index), state, len(state))

    def _check_has_state(self) -> None:
        if not self._has_state:
            raise ValueError("Procgen has no states with use_generated_assets=True; leave that option out")
        if self._env.closed:
            raise ValueError("the environment is closed, and a closed simulator has no states")

    def close(self) -> None:
        """End the threads and free the memory; harmless when repeated."""
        self._env.close()

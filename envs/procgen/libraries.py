"""Procgen's C++ library, from the package that provides it for this Python version.

``procgen`` (also as ``procgen-mirror``) has wheels up to Python 3.12 and calls the library through gym3.
``procgen-gym`` has wheels from Python 3.13 on and calls it through ctypes. The games' C++ code is the same in both, and
so are levels, states and rewards.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.sprite_pack import SpritePack
from camal_rl.envs.registry import MissingExtraError

MODULE = "procgen_gym" if sys.version_info >= (3, 13) else "procgen"
"""The package to import for this Python."""
_STATE_FUNCTIONS = ["int get_state(libenv_env *, int, char *, int);", "void set_state(libenv_env *, int, char *, int);"]


class Library(ABC):
    """``num`` copies of one game inside the library. The next step overwrites the returned arrays."""

    @abstractmethod
    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start a step with ``int32[num]``."""

    @abstractmethod
    def observe(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Wait for the step and return rewards, frames ``uint8[num, 64, 64, 3]`` and which are first frames."""

    @abstractmethod
    def infos(self) -> list[dict[str, Any]]:
        """Wait for the step and return what the game reports, per copy."""

    @abstractmethod
    def get_state(self, index: int) -> bytes:
        """Return the state of one copy."""

    @abstractmethod
    def set_state(self, index: int, state: bytes) -> None:
        """Give one copy a state."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""

    @abstractmethod
    def close(self) -> None:
        """End the threads and free the memory; harmless when repeated."""


def open_library(game: str, num: int, seed: int, arguments: dict[str, Any], pack: SpritePack | None = None) -> Library:
    """Start ``num`` copies of a game; with a ``pack``, they draw its sprites instead of Procgen's.

    Raises:
        MissingExtraError: Procgen is not installed.
    """
    try:
        package = importlib.import_module(f"{MODULE}.env")
    except ImportError as error:
        raise MissingExtraError("Procgen", "procgen") from error
    kind = _Ported if MODULE == "procgen_gym" else _Gym3
    return kind(package, game, num, seed, arguments, pack)


class _Gym3(Library):
    """The library behind gym3 and cffi."""

    def __init__(
        self, package: Any, game: str, num: int, seed: int, arguments: dict[str, Any], pack: SpritePack | None
    ) -> None:
        make = package.ProcgenGym3Env if pack is None else _with_sprites(package, pack)
        self._env = make(num=num, env_name=game, rand_seed=seed, **arguments)
        # cffi looks a function up at its first use and needs a lock for that, which it also holds while it loads a
        # library. Loading can start a garbage collection that closes forgotten environments; that must not need the
        # lock, so the function is looked up now.
        self._env._c_lib.libenv_close  # noqa: B018
        # A gym3 option that Procgen does not pass on.
        self._env._reuse_arrays = True
        self._ffi = importlib.import_module("cffi").FFI()
        self._buffer = self._ffi.new(f"char[{package.MAX_STATE_SIZE}]")

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start a step."""
        self._env.act(actions)

    def observe(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Wait for the step and return rewards, frames and which are first frames."""
        rewards, observation, first = self._env.observe()
        return rewards, observation["rgb"], first

    def infos(self) -> list[dict[str, Any]]:
        """Wait for the step and return what the game reports."""
        found: list[dict[str, Any]] = self._env.get_info()
        return found

    def get_state(self, index: int) -> bytes:
        """Return the state of one copy."""
        length = self._env.call_c_func("get_state", index, self._buffer, len(self._buffer))
        return bytes(self._ffi.buffer(self._buffer, length))

    def set_state(self, index: int, state: bytes) -> None:
        """Give one copy a state."""
        self._env.call_c_func("set_state", index, state, len(state))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(self._env.closed)

    def close(self) -> None:
        """End the threads and free the memory."""
        self._env.close()


def _with_sprites(package: Any, pack: SpritePack) -> Any:
    """Return a class like ``ProcgenGym3Env`` with a library of its own, which draws the sprites of a pack."""
    library = importlib.import_module("gym3.libenv").CEnv

    class CopiedLibrary(library):  # type: ignore[misc, valid-type]
        """Comes after Procgen's classes in the method resolution order, so they pass it the folder of their library."""

        def __init__(self, lib_dir: str, options: dict[str, Any], **more: Any) -> None:
            with pack.files(Path(lib_dir), _assets(package)) as files:
                options = {**options, "resource_root": _as_root(files.sprites)}
                super().__init__(lib_dir=str(files.library), options=options, **more)
                files.keep(self._c_lib)

    return type("RepaintedEnv", (package.ProcgenGym3Env, CopiedLibrary), {})


def _assets(package: Any) -> Path:
    """Return the folder of Procgen's own sprites."""
    return Path(package.__file__).parent / "data" / "assets"


def _as_root(folder: Path) -> str:
    return f"{folder}{os.sep}"


class _Ported(Library):
    """The library behind procgen-gym's ctypes, without procgen-gym's environment, which cannot use other sprites."""

    def __init__(
        self, package: Any, game: str, num: int, seed: int, arguments: dict[str, Any], pack: SpritePack | None
    ) -> None:
        assets = _assets(package)
        folder = assets.parent / "prebuilt"
        options = _library_options(package, game, seed, arguments)
        if pack is None:
            self._start(folder, num, {**options, "resource_root": _as_root(assets)})
        else:
            # A copy in another folder does not find Qt by itself; it uses the Qt that the original has loaded.
            original = ctypes.CDLL(str(folder / "libenv.so"))
            with pack.files(folder, assets) as files:
                self._start(files.library, num, {**options, "resource_root": _as_root(files.sprites)})
                files.keep(original)
        self._buffer = ctypes.create_string_buffer(package.MAX_STATE_SIZE)

    def _start(self, folder: Path, num: int, options: dict[str, Any]) -> None:
        make = importlib.import_module("procgen_gym.libenv").CLibenv
        self._env = make(lib_dir=str(folder), num=num, options=options, c_func_defs=_STATE_FUNCTIONS)
        self._closed = False

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start a step."""
        self._env.act(actions)

    def observe(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Wait for the step and return rewards, frames and which are first frames."""
        self._env.observe()
        return self._env.get_reward_buf(), self._env.get_ob_bufs()["rgb"], self._env.get_first_buf().view(np.bool_)

    def infos(self) -> list[dict[str, Any]]:
        """Wait for the step and return what the game reports."""
        self._env.observe()
        columns = self._env.get_info_bufs()
        return [{name: column[index] for name, column in columns.items()} for index in range(self._env.num)]

    def get_state(self, index: int) -> bytes:
        """Return the state of one copy."""
        length = self._env.call_c_func("get_state", index, self._buffer, len(self._buffer))
        return ctypes.string_at(self._buffer, length)

    def set_state(self, index: int, state: bytes) -> None:
        """Give one copy a state."""
        self._env.call_c_func("set_state", index, state, len(state))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """End the threads and free the memory."""
        self._closed = True
        self._env.close()


def _library_options(package: Any, game: str, seed: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the library, as ``ProcgenGym3Env`` sets them."""
    mode = arguments["distribution_mode"]
    levels = {"num_levels": 0, "start_level": 0}
    if mode == "exploration":
        mode, levels = "hard", {"num_levels": 1, "start_level": package.EXPLORATION_LEVEL_SEEDS[game]}
    return {
        **levels,
        **{name: value for name, value in arguments.items() if name != "render_mode"},
        "distribution_mode": package.DISTRIBUTION_MODE_DICT[mode],
        "render_human": arguments.get("render_mode") == "rgb_array",
        "env_name": game,
        "rand_seed": seed,
        "num_actions": len(package.KEY_COMBOS),
    }

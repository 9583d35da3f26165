"""Starts ViZDoom's engine so that it leaves nothing behind, however the process that uses it ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from camal_rl.envs.registry import MissingExtraError
from camal_rl.envs.vizdoom import supervisor
from camal_rl.envs.vizdoom.appearance import held_out_wad
from camal_rl.envs.vizdoom.options import VizdoomOptions
from camal_rl.envs.vizdoom.scenarios import SCENARIOS


def import_vizdoom() -> Any:
    """Return the module ``vizdoom``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import vizdoom
    except ModuleNotFoundError as error:
        raise MissingExtraError("ViZDoom", "vizdoom") from error
    return vizdoom


def configured_game(scenario: str, options: VizdoomOptions) -> Any:
    """Return a ``vizdoom.DoomGame`` that is set up for a scenario but not started."""
    vizdoom = import_vizdoom()
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path, f"{SCENARIOS[scenario].config}.cfg")))
    # Otherwise the engine would use a doom2.wad in the working directory or in its own folder.
    game.set_doom_game_path(str(Path(vizdoom.install_path, "freedoom2.wad")))
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_labels_buffer_enabled(options.segmentation is not None)
    return game


def start(game: Any, appearance: str) -> None:
    """Start the engine of a configured game, supervised: see :mod:`camal_rl.envs.vizdoom.supervisor`."""
    vizdoom = import_vizdoom()
    command = (sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), vizdoom.exe_path)
    # The supervisor would start its session itself, but a SIGKILL to the process group could come before that.
    script = f'#!/bin/sh\nexec $(command -v setsid) {shlex.join(command)} "$@"\n'
    arguments = game.get_game_args()
    with contextlib.ExitStack() as stack:
        if appearance == "held_out":
            game.add_game_args(f"-file {stack.enter_context(_file_in_memory(held_out_wad()))}")
        game.set_vizdoom_path(stack.enter_context(_file_in_memory(script.encode())))
        stack.enter_context(_signals_held_back())
        try:
            game.init()
        finally:
            game.set_game_args(arguments)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold back the signals that a terminal or a scheduler sends to a whole process group.

    Processes that start meanwhile inherit the block. The supervisor needs it until it has a process group of its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """Provide the path of an executable file in memory, which child processes can read and a kill cannot leave behind.

    On systems without files in memory (other than Linux), it is a temporary file, which a kill can leave behind.
    """
    if hasattr(os, "memfd_create"):
        # Without flags the descriptor stays open in child processes, where this path means the same file.
        descriptor = os.memfd_create("camal_rl-vizdoom", 0)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_bytes(content)
            path.chmod(0o700)
            yield str(path)

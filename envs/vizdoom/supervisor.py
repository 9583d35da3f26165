"""Stands between a training process and its ViZDoom engine, so that nothing outlives the training process.

    python -I -S supervisor.py PARENT ENGINE ARGUMENTS...

The engine is a process of its own: it writes into its working directory and shares memory under names in /dev/shm.
ViZDoom removes these files only when it is closed properly. If a training process is killed, the engine waits forever
and the files stay. This program gives the engine a working directory of its own, ends the engine as soon as the process
``PARENT`` is gone, and removes what is left. It runs in a session of its own, so that neither Ctrl-C nor a signal to
the training's process group ends it or the engine before it has cleaned up.

It imports only the standard library, because it starts with every engine.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

CHECK_SECONDS = 0.2
INSTANCE_FLAG = "+viz_instance_id"
SHARED_NAMES = ("ViZDoomSM", "ViZDoomMQCtr", "ViZDoomMQDoom")
FOLDER_PREFIX = "camal_rl-vizdoom-"
_SHARED_MEMORY = Path("/dev/shm")
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the engine until it ends or the parent is gone; return its exit status."""
    parent, command = int(arguments[0]), arguments[1:]
    instance = command[command.index(INSTANCE_FLAG) + 1]
    if os.getsid(0) != os.getpid():
        os.setsid()
    signal.signal(signal.SIGTERM, _leave)
    # SIGTERM was blocked while this program started.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    folder = _temporary_folder() / f"{FOLDER_PREFIX}{instance}"
    try:
        folder.mkdir(mode=0o700)
        return _supervise(parent, command, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for name in SHARED_NAMES:
            (_SHARED_MEMORY / f"{name}{instance}").unlink(missing_ok=True)


def _supervise(parent: int, command: list[str], folder: Path) -> int:
    wakeup = _wake_on_child_exit()
    die_too = _die_with_parent if sys.platform == "linux" else None
    engine = subprocess.Popen(command, cwd=folder, close_fds=False, preexec_fn=die_too)
    try:
        while engine.poll() is None and os.getppid() == parent:
            select.select([wakeup], [], [], CHECK_SECONDS)
    finally:
        engine.kill()
        engine.wait()
    return abs(engine.returncode)


def _wake_on_child_exit() -> int:
    """Return a descriptor that becomes readable when a child exits: ``close()`` need not wait for the next check."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return reader


def _die_with_parent() -> None:
    """Let Linux kill the engine when the supervisor itself is killed; runs first in the engine's process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _temporary_folder() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

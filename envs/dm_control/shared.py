"""Renderers that the environments of a process share: any number of environments need one OpenGL context."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Any

from camal_rl.envs.dm_control.renderer import Classes, Renderer

# A context works only in the thread that created it, and not in a forked process.
_Key = tuple[int, int, str, int]
_MADE: dict[_Key, Renderer] = {}
_USERS: dict[_Key, int] = {}


class SharedRenderer:
    """An environment's access to the shared renderer of its task, which is created at its first use.

    Args:
        name: the task; environments of one task and side share a renderer.
        model: a ``mujoco.MjModel`` of the task.
        classes: the classes of its parts.
        side: height and width of the images in pixels.
    """

    def __init__(self, name: str, model: Any, classes: Classes, side: int) -> None:
        self._name, self._model, self._classes, self._side = name, model, classes, side
        self._keys: set[_Key] = set()

    def get(self) -> Renderer:
        """Return the renderer of this process and thread.

        Raises:
            NoRendererError: OpenGL cannot draw on this machine.
        """
        key = (os.getpid(), threading.get_ident(), self._name, self._side)
        if key not in self._keys:
            if key not in _MADE:
                _MADE[key] = Renderer(self._model, self._classes, self._side)
                # Registered again each time, so that it runs before the function that ends OpenGL, which the first
                # context has registered.
                atexit.unregister(close_all)
                atexit.register(close_all)
            self._keys.add(key)
            _USERS[key] = _USERS.get(key, 0) + 1
        return _MADE[key]

    def release(self) -> None:
        """Release the renderer; the last user frees the context. Calling it again changes nothing."""
        for key in self._keys:
            _USERS[key] -= 1
            if not _USERS[key]:
                del _USERS[key]
                _close(key)
        self._keys = set()


def close_all() -> None:
    """Free every context of this process."""
    for key in tuple(_MADE):
        _close(key)


def _close(key: _Key) -> None:
    renderer = _MADE.pop(key, None)
    if renderer is not None and key[0] == os.getpid():
        # When a program or thread ends, OpenGL may have ended before.
        with contextlib.suppress(Exception):
            renderer.close()

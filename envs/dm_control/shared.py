"""Renderers that the environments of a process share: one makes as much of an OpenGL context as a hundred do."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Any

from camal_rl.envs.dm_control.renderer import Classes, Renderer

# A context works in the thread that made it, and not in a process that was forked from its own.
_Key = tuple[int, int, str, int]
_MADE: dict[_Key, Renderer] = {}
_USERS: dict[_Key, int] = {}


class SharedRenderer:
    """An environment's share in the renderer of its task, which is made when it is first drawn with.

    Args:
        name: the task; environments of one task share a renderer.
        model: a ``mujoco.MjModel`` of the task.
        classes: what is what in it.
        side: height and width of the pictures.
    """

    def __init__(self, name: str, model: Any, classes: Classes, side: int) -> None:
        self._name, self._model, self._classes, self._side = name, model, classes, side
        self._keys: set[_Key] = set()

    def get(self) -> Renderer:
        """Return the renderer of this process and thread.

        Raises:
            NoRendererError: OpenGL cannot draw here.
        """
        key = (os.getpid(), threading.get_ident(), self._name, self._side)
        if key not in self._keys:
            if key not in _MADE:
                _MADE[key] = Renderer(self._model, self._classes, self._side)
                # Anew each time: it must come before what the first context has registered to end OpenGL.
                atexit.unregister(close_all)
                atexit.register(close_all)
            self._keys.add(key)
            _USERS[key] = _USERS.get(key, 0) + 1
        return _MADE[key]

    def release(self) -> None:
        """Give the share back; the last one frees the context. Harmless when repeated."""
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
        # At the end of a program, and of a thread, there may be no OpenGL left to free anything in.
        with contextlib.suppress(Exception):
            renderer.close()

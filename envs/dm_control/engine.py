"""Imports MuJoCo and the suite with an OpenGL backend: EGL or OSMesa if there is no display.

The variable ``MUJOCO_GL`` chooses the backend (``egl``, ``osmesa``, ``glfw``). This module sets it if it is not set and
there is no display. Without a backend, an error of one line says what to install.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from contextlib import suppress
from typing import Any

from camal_rl.envs.registry import MissingExtraError
from camal_rl.extras import install_command

_LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
_REMEDY = (
    "install EGL (apt-get install libegl1 libegl-mesa0) or OSMesa (apt-get install libosmesa6), and leave MUJOCO_GL "
    "unset or set it to egl or osmesa"
)


class NoRendererError(ImportError):
    """OpenGL cannot draw on this machine; the message says what to install or to set."""

    def __init__(self, what: str) -> None:
        super().__init__(f"dm_control cannot draw: {what}; {_REMEDY}")


def _install() -> str:
    """Return the install command, or nothing where it is that of the extra."""
    if sys.version_info < (3, 13):
        return ""
    # It requires labmaze, which has no wheel for Python 3.13, and which the suite does not import.
    return f"{install_command('dm-control')} && pip install --no-deps dm_control==1.0.50"


def import_suite() -> Any:
    """Return the module ``dm_control.suite``.

    Raises:
        MissingExtraError: the suite is not installed.
        NoRendererError: no OpenGL backend works.
    """
    _load_triton()
    _choose_renderer()
    # Mesa draws small images fastest in the calling thread.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        importlib.import_module("mujoco")
        return importlib.import_module("dm_control.suite")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mujoco", "dm_control"):
            raise
        raise MissingExtraError("The DeepMind Control Suite", "dm-control", _install()) from error
    except (ImportError, AttributeError, RuntimeError) as error:
        # PyOpenGL raises an AttributeError of None if a library is missing.
        raise NoRendererError(f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} does not work here") from error


def open_context(side: int) -> Any:
    """Return a new OpenGL context, current in this thread, with ``make_current()`` and ``free()``.

    Raises:
        NoRendererError: the context cannot be created.
    """
    import mujoco

    name = os.environ.get("MUJOCO_GL", "")
    try:
        # If MuJoCo was imported before, mujoco.GLContext is the backend that was chosen then.
        module = importlib.import_module(f"mujoco.{name}") if name in _LIBRARIES else mujoco
        context = module.GLContext(side, side)
        context.make_current()
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise NoRendererError(f"no OpenGL context with MUJOCO_GL={name or 'unset'} ({told})") from error
    return context


def _load_triton() -> None:
    """Load Triton, if it is installed, before Mesa's drivers: loaded after them it crashes the process.

    Both contain LLVM. PyTorch's CUDA builds install Triton, and import it with the first optimizer.
    """
    with suppress(Exception):  # neither a missing nor a broken Triton is a reason not to draw
        importlib.import_module("triton")


def _choose_renderer() -> None:
    on_a_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if os.environ.get("MUJOCO_GL") or on_a_display or sys.platform != "linux":
        return
    for name, files in _LIBRARIES.items():
        if any(_loads(file) for file in files):
            os.environ["MUJOCO_GL"] = name
            return
    raise NoRendererError("there is no display, and neither EGL nor OSMesa is installed")


def _loads(file: str) -> bool:
    try:
        ctypes.CDLL(file)
    except OSError:
        return False
    return True

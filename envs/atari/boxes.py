"""Bounding boxes of a game's objects, which OCAtari's detectors read from the RAM."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import weakref
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camal_rl.envs.object_graphs import PackageClasses, graph_of, graph_tree
from camal_rl.envs.registry import MissingExtraError

_COPIES = itertools.count()
# From Python 3.13 on, the extra omits OCAtari: some of its requirements, such as NumPy 1, have no wheels there.
_INSTALLED_BY = "pip install --no-deps ocatari==2.2.1" if sys.version_info >= (3, 13) else ""
# Types of the module variables that hold a detector's state; functions, classes and modules hold none.
_DATA = (type(None), bool, int, float, str, bytes, tuple, list, dict, set, np.generic, np.ndarray)


class Box(NamedTuple):
    """A labeled rectangle in pixels of the raw screen; it may extend beyond the screen."""

    label: int
    left: int
    top: int
    width: int
    height: int


class RamDetector:
    """Reads one game's objects from the 128 bytes of RAM, frame by frame.

    OCAtari's detectors keep state between frames, partly in variables of their module. All games of a process would
    share these variables, and a reset would not clear them. Each detector therefore has its own copy of the module and
    executes the copy again at every reset.

    Args:
        game: the game's name, for example ``MsPacman``.
        labels: the label of each of OCAtari's categories; objects of other categories are left out.

    Raises:
        MissingExtraError: OCAtari is not installed.
    """

    def __init__(self, game: str, labels: Mapping[str, int]) -> None:
        self._labels = labels
        self._functions = _import("ocatari.ram.extract_ram_info")
        original = _import(f"ocatari.ram.{game.lower()}")
        self._name = f"{game.lower()}_{next(_COPIES)}"
        full_name = f"ocatari.ram.{self._name}"
        spec = importlib.util.spec_from_file_location(full_name, original.__file__)
        if spec is None or spec.loader is None:
            raise ImportError(f"OCAtari's detector of {game} must be a source file, got {original.__file__}")
        self._spec, self._loader = spec, spec.loader
        self._module = importlib.util.module_from_spec(spec)
        # OCAtari's functions look up the module of a game here, by name.
        sys.modules[full_name] = self._module
        self._classes = PackageClasses("ocatari", full_name)
        weakref.finalize(self, sys.modules.pop, full_name, None)
        self._objects: list[Any] = []

    def reset(self) -> None:
        """Clear the state; call this when the game starts."""
        self._loader.exec_module(self._module)
        self._objects = self._functions.init_objects(self._name, True)

    def update(self, ram: npt.NDArray[np.uint8]) -> None:
        """Process the next raw frame; call this for every raw frame of the game.

        Args:
            ram: ``uint8[128]``. OCAtari adds and subtracts bytes, so they are converted to int64.
        """
        self._functions.detect_objects_ram(self._objects, ram.astype(np.int64), self._name, True)

    def get_state(self) -> dict[str, Any]:
        """Return the state between frames: the objects and the variables of the module."""
        return graph_tree({"objects": self._objects, "variables": self._variables()}, self._classes)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`get_state`.

        Raises:
            ValueError: the state comes from another version of OCAtari.
        """
        # This defines the classes from which the objects are rebuilt.
        self._loader.exec_module(self._module)
        known = graph_of(state, self._classes)
        vars(self._module).update(known["variables"])
        self._objects = known["objects"]

    def _variables(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self._module).items()
            if not name.startswith("__") and (isinstance(value, _DATA) or self._classes.name_of(type(value)))
        }

    def boxes(self) -> list[Box]:
        """Return the boxes in the last raw frame."""
        found = []
        for each in self._objects:
            if each and (label := self._labels.get(each.category)) is not None:
                left, top, width, height = each.xywh
                if width > 0 and height > 0:
                    found.append(Box(label, int(left), int(top), int(width), int(height)))
        return found


def _import(name: str) -> ModuleType:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("OCAtari", "atari", _INSTALLED_BY) from error

"""Boxes of a game's objects from its RAM, by OCAtari's detectors."""

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
# From Python 3.13 on the extra leaves OCAtari out: what it requires, NumPy 1 for one, has no wheel there.
_INSTALLED_BY = "pip install --no-deps ocatari==2.2.1" if sys.version_info >= (3, 13) else ""
# What can be a variable of a module; functions, classes and modules are none.
_DATA = (type(None), bool, int, float, str, bytes, tuple, list, dict, set, np.generic, np.ndarray)


class Box(NamedTuple):
    """A labeled rectangle in pixels of the raw screen; parts of it may lie outside."""

    label: int
    left: int
    top: int
    width: int
    height: int


class RamDetector:
    """Reads one game's objects out of the 128 bytes of RAM, frame by frame.

    OCAtari's detectors remember things between frames, some of them in variables of their module, which every game in
    the process would share and no reset would clear. Each detector therefore has a copy of the module to itself, and
    runs it anew at every reset.

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
            raise ImportError(f"OCAtari's detector of {game} is no source file: {original.__file__}")
        self._spec, self._loader = spec, spec.loader
        self._module = importlib.util.module_from_spec(spec)
        # OCAtari's functions find the module of a game by its name here.
        sys.modules[full_name] = self._module
        self._classes = PackageClasses("ocatari", full_name)
        weakref.finalize(self, sys.modules.pop, full_name, None)
        self._objects: list[Any] = []

    def reset(self) -> None:
        """Forget everything; to be called when the game starts."""
        self._loader.exec_module(self._module)
        self._objects = self._functions.init_objects(self._name, True)

    def update(self, ram: npt.NDArray[np.uint8]) -> None:
        """Take in one more raw frame of the game; every raw frame has to be shown.

        Args:
            ram: ``uint8[128]``. OCAtari adds and subtracts bytes, so they are widened first.
        """
        self._functions.detect_objects_ram(self._objects, ram.astype(np.int64), self._name, True)

    def get_state(self) -> dict[str, Any]:
        """Return the objects and the variables of the module: what is remembered between frames."""
        return graph_tree({"objects": self._objects, "variables": self._variables()}, self._classes)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Remember what :meth:`get_state` returned.

        Raises:
            ValueError: the state comes from another version of OCAtari.
        """
        # Objects are made again of the classes that this defines.
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

"""Converts objects that refer to each other to trees, and back; shared objects stay shared.

This serves simulators whose state consists of such objects. Classes are saved by name. Only classes of one package are
restored, without a call of ``__init__``.
"""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from camal_rl.envs.saved_values import NotSavableError

Tree = dict[str, Any]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class PackageClasses:
    """Names for the classes of one package, and of one more module, that are valid in other processes too.

    Args:
        package: the package's name.
        renamed: a module whose name is valid only in this process; its classes are saved under the name ``own``.
    """

    def __init__(self, package: str, renamed: str = "") -> None:
        self._package, self._renamed = package, renamed

    def name_of(self, kind: type) -> str | None:
        """Return the name of a class, or ``None`` if the class is not in the package."""
        if kind.__module__.partition(".")[0] != self._package:
            return None
        return f"{'own' if kind.__module__ == self._renamed else kind.__module__}:{kind.__qualname__}"

    def class_of(self, name: str) -> type:
        """Return the class of a name.

        Raises:
            ValueError: the package has no such class.
        """
        module, _, qualified = name.partition(":")
        module = self._renamed if module == "own" else module
        found = vars(sys.modules.get(module, object)).get(qualified)
        if module.partition(".")[0] != self._package or not isinstance(found, type):
            raise ValueError(f"{self._package} has no class {name!r}; it may be another version of the package")
        return found


def graph_tree(root: Any, classes: PackageClasses, known: Mapping[str, Any] = _NOTHING) -> Tree:
    """Convert an object, with all objects that it refers to, to a tree.

    Args:
        root: the object.
        classes: the classes of its package.
        known: objects, by name, that will exist when the tree is read; only references to them are saved.

    Raises:
        NotSavableError: an object of another package is among them.
    """
    writer = _Writer(classes, known)
    return {"root": writer.value(root), "objects": writer.objects}


def graph_of(tree: Mapping[str, Any], classes: PackageClasses, known: Mapping[str, Any] = _NOTHING) -> Any:
    """Make the object that :func:`graph_tree` converted to a tree.

    Args:
        tree: the result of :func:`graph_tree`.
        classes: the classes of the object's package.
        known: replacements for the known objects, by the same names.

    Raises:
        ValueError: a class is missing.
    """
    return _Reader(tree["objects"], classes, known).value(tree["root"])


class _Writer:
    """Numbers objects in the order in which they are met; a reference is ``["ref", number]``."""

    def __init__(self, classes: PackageClasses, known: Mapping[str, Any]) -> None:
        self._classes = classes
        self._known = {id(value): name for name, value in known.items()}
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []
        self.objects: list[Any] = []

    def value(self, value: Any) -> Any:
        if id(value) in self._known:
            return ["known", self._known[id(value)]]
        if isinstance(value, enum.Enum):
            return ["enum", self._name(type(value)), value.name]
        if isinstance(value, type):
            return ["class", self._name(value)]
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        if isinstance(value, np.generic):
            return ["scalar", value.dtype.str, value.item()]
        if type(value) is tuple:
            return ["tuple", [self.value(each) for each in value]]
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.objects)
            self._alive.append(value)
            self.objects.append(None)
            self.objects[self._numbers[id(value)]] = self._content(value)
        return ["ref", self._numbers[id(value)]]

    def _content(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return ["array", value.copy()]
        if type(value) is deque:
            return ["deque", [self.value(each) for each in value], value.maxlen]
        if type(value) in (list, set):
            return [type(value).__name__, [self.value(each) for each in value]]
        if type(value) is dict:
            return ["dict", [[self.value(key), self.value(each)] for key, each in value.items()]]
        name = self._name(type(value))
        return ["object", name, {key: self.value(each) for key, each in vars(value).items()}]

    def _name(self, kind: type) -> str:
        name = self._classes.name_of(kind)
        if name is None:
            raise NotSavableError(f"a {kind.__name__} cannot be part of a saved state")
        return name


class _Reader:
    def __init__(self, contents: list[Any], classes: PackageClasses, known: Mapping[str, Any]) -> None:
        self._contents, self._classes, self._known = contents, classes, known
        self._made: dict[int, Any] = {}

    def value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        kind = value[0]
        if kind == "ref":
            return self._made[value[1]] if value[1] in self._made else self._make(value[1])
        if kind == "known":
            return self._known[value[1]]
        if kind == "tuple":
            return tuple(self.value(each) for each in value[1])
        if kind == "scalar":
            return np.dtype(value[1]).type(value[2])
        if kind == "class":
            return self._classes.class_of(value[1])
        return self._classes.class_of(value[1])[value[2]]  # type: ignore[index]  # a member of an Enum

    def _make(self, number: int) -> Any:
        content = self._contents[number]
        kind = content[0]
        if kind == "array":
            self._made[number] = content[1].copy()
        elif kind == "object":
            made: Any = object.__new__(self._classes.class_of(content[1]))
            self._made[number] = made
            vars(made).update({key: self.value(each) for key, each in content[2].items()})
        elif kind == "dict":
            filled: dict[Any, Any] = {}
            self._made[number] = filled
            filled.update({self.value(key): self.value(each) for key, each in content[1]})
        elif kind == "set":
            self._made[number] = {self.value(each) for each in content[1]}
        else:
            queue: Any = [] if kind == "list" else deque(maxlen=content[2])
            self._made[number] = queue
            queue.extend([self.value(each) for each in content[1]])
        return self._made[number]

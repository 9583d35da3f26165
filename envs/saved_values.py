"""Converts values of environments (numbers, arrays, generators, queues) to trees for a checkpoint, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_ARRAY_KINDS = "biufc"
# Objects that are saved by their attributes: running means of SB3 and Gymnasium, SB3's frame stacks.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "RunningMeanStd": ("mean", "var", "count"),
    "StackedObservations": ("stacked_obs", "sub_stacked_observations"),
}


class NotSavableError(TypeError):
    """A value cannot be stored in a tree."""


def frozen(value: Any) -> Any:
    """Return a value as a tree that shares nothing with it.

    Args:
        value: ``None``, numbers, strings, bytes, arrays, tensors, random generators, and lists, tuples, queues and
            dictionaries of them.

    Raises:
        NotSavableError: the value contains anything else.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes | np.bool_ | np.number):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in _ARRAY_KINDS:
        return value.copy()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.random.Generator):
        return frozen(value.bit_generator.state)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return {frozen(key): frozen(each) for key, each in value.items()}
    if isinstance(value, list | deque):
        return [frozen(each) for each in value]
    if isinstance(value, tuple):
        return tuple(frozen(each) for each in value)
    parts = _PARTS.get(type(value).__name__)
    if parts is None:
        raise NotSavableError(f"a {type(value).__name__} is not a number, string, array, generator, or list of these")
    return {name: frozen(vars(value)[name]) for name in parts if name in vars(value)}


def thawed(saved: Any, present: Any) -> Any:
    """Convert a tree from :func:`frozen` back to a value of the type of the present value.

    Present generators, running means and frame stacks are changed in place, so that every object that shares them sees
    the restored state.

    Args:
        saved: the tree.
        present: the value that the result replaces.
    """
    if isinstance(saved, Mapping) and saved.get("bit_generator") in _BIT_GENERATORS:
        return _generator(saved, present)
    if isinstance(present, deque):
        return deque((thawed(each, None) for each in saved), maxlen=present.maxlen)
    if type(present).__name__ in _PARTS:
        for name, part in saved.items():
            setattr(present, name, thawed(part, getattr(present, name)))
        return present
    if isinstance(present, dict) and isinstance(saved, Mapping) and present.keys() == saved.keys():
        return {key: thawed(each, present[key]) for key, each in saved.items()}
    return frozen(saved)


def _generator(saved: Mapping[str, Any], present: Any) -> np.random.Generator:
    name = saved["bit_generator"]
    if not isinstance(present, np.random.Generator) or type(present.bit_generator).__name__ != name:
        present = np.random.Generator(getattr(np.random, name)())
    present.bit_generator.state = frozen(saved)
    return present


def frozen_where_possible(infos: list[Any]) -> list[dict[Any, Any]]:
    """Return infos without the entries that cannot be stored in a tree."""
    found: list[dict[Any, Any]] = []
    for info in infos:
        found.append({})
        for key, value in (info or {}).items():
            try:
                found[-1][key] = frozen(value)
            except NotSavableError:
                continue
    return found


class WholeStateVecEnv(ABC):
    """A vectorized environment without Gymnasium environments inside, which can save its whole state."""

    @abstractmethod
    def whole_state(self) -> dict[str, Any]:
        """Return the simulators' states, and the returns and lengths of running episodes, as a tree.

        Raises:
            NotSavableError: the simulators cannot save their states.
            ValueError: a step is under way, or the environment is closed.
        """

    @abstractmethod
    def set_whole_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`whole_state` returned."""

    @abstractmethod
    def whole_state_options(self) -> dict[str, str]:
        """Return the options that must be equal when a state is restored, as strings."""


class AttributeState:
    """An environment or wrapper whose state is some of its attributes.

    Attributes:
        state_attributes: the attributes of the running episode.
        lasting_attributes: the attributes that last across episodes.
        fixed_attributes: the attributes that must be equal when a state is restored.
    """

    state_attributes: ClassVar[tuple[str, ...]] = ()
    lasting_attributes: ClassVar[tuple[str, ...]] = ()
    fixed_attributes: ClassVar[tuple[str, ...]] = ()

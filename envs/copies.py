"""Copying and pickling of environments: a copy is independent of the original, or there is a clear error."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Copyable")
# Attributes of a gymnasium.Env: its entry in the registry, and the generators that were seeded.
FROM_OUTSIDE = ("spec", "action_space", "_np_random", "_np_random_seed")


class Copyable:
    """``copy.copy`` makes a deep copy: two environments that share a game would change each other's state."""

    def __copy__(self: Self) -> Self:
        """Return a copy that shares nothing with this object."""
        return copy.deepcopy(self)


class CopyableUntilStarted(Copyable):
    """Holds a simulator that cannot be copied; before its first episode, a copy makes a new one.

    A subclass calls :meth:`remember` with the arguments of its ``__init__`` and implements :meth:`started`.
    """

    _what: str
    _arguments: tuple[Any, ...]

    def remember(self, what: str, *arguments: Any) -> None:
        """Keep the arguments of ``__init__`` for copies; ``what`` names the environment in the error message."""
        self._what, self._arguments = what, arguments

    def started(self) -> bool:
        """Return whether an episode has been started, so that a copy would lose state."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments of ``__init__`` and the attributes that Gymnasium or a user has set.

        Raises:
            TypeError: an episode has been started.
        """
        if self.started():
            raise TypeError(
                f"{self._what} that was started cannot be copied or pickled: its simulator cannot save its complete "
                "state; copy the environment before its first reset(), or make another one"
            )
        return {"_arguments": self._arguments, **{key: vars(self)[key] for key in FROM_OUTSIDE if key in vars(self)}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the object anew from its arguments."""
        self.__init__(*state["_arguments"])  # type: ignore[misc]
        vars(self).update(state)

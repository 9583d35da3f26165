"""What becomes of an environment that is copied or pickled: the copy goes on by itself, or there is a clear error."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Copyable")
# Attributes of a gymnasium.Env: its entry in the registry, and the generators that were seeded.
FROM_OUTSIDE = ("spec", "action_space", "_np_random", "_np_random_seed")


class Copyable:
    """Its ``copy.copy`` is its ``copy.deepcopy``: two environments that share a game would move each other's."""

    def __copy__(self: Self) -> Self:
        """Return a copy that shares nothing with this object."""
        return copy.deepcopy(self)


class CopyableUntilStarted(Copyable):
    """Holds a simulator that cannot be copied: a copy makes it again, as long as it was not started.

    A subclass calls :meth:`remember` with the arguments of its ``__init__``, and :meth:`started` says whether there is
    anything that a copy would lose.
    """

    _what: str
    _arguments: tuple[Any, ...]

    def remember(self, what: str, *arguments: Any) -> None:
        """Keep the arguments of ``__init__`` for copies; ``what`` is the simulator's name, for the message."""
        self._what, self._arguments = what, arguments

    def started(self) -> bool:
        """Return whether an episode was started."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Return what makes the object again: the arguments, and what Gymnasium and its users set from outside.

        Raises:
            TypeError: an episode was started.
        """
        if self.started():
            raise TypeError(
                f"{self._what} that was started cannot be copied or pickled: its simulator gives no complete state; "
                "copy the environment before its first reset(), or make another one"
            )
        return {"_arguments": self._arguments, **{key: vars(self)[key] for key in FROM_OUTSIDE if key in vars(self)}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the object again."""
        self.__init__(*state["_arguments"])  # type: ignore[misc]
        vars(self).update(state)

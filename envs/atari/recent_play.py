"""An emulator's state as one from some frames ago, and what was played since.

ALE's states hold everything but the picture. Some frames do not draw every line, so that what is seen there comes from
frames before; playing these again draws it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

RESET = -1
_FRAMES = 64
_NO_OPERATION = 0


class RecentPlay:
    """Remembers the last 64 to 128 raw frames of an emulator.

    Args:
        ale: an ``ale_py.ALEInterface`` with a game loaded.
        actions: the actions that are played, by number.
    """

    def __init__(self, ale: Any, actions: Any) -> None:
        self._ale, self._actions = ale, actions
        self._older: tuple[Any, list[int]] | None = None
        self._start, self._played = ale.cloneSystemState(), list[int]()

    def note(self, number: int) -> None:
        """Remember an action, or :data:`RESET`, that is about to be played."""
        if len(self._played) >= _FRAMES:
            self._older = self._start, self._played
            self._start, self._played = self._ale.cloneSystemState(), []
        self._played.append(number)

    def get_state(self) -> dict[str, Any]:
        """Return what :meth:`set_state` takes in another process, too."""
        start, before = (self._start, []) if self._older is None else self._older
        return {"emulator": start.serialize(), "played": np.array([*before, *self._played], dtype=np.int16)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Bring the emulator, with its picture, to where :meth:`get_state` was called."""
        # The console of a new emulator is not ready before its first frame.
        self._ale.act(self._actions[_NO_OPERATION])
        start = importlib.import_module("ale_py").ALEState(state["emulator"])
        self._ale.restoreSystemState(start)
        self._older, self._start, self._played = None, start, state["played"].tolist()
        for number in self._played:
            if number == RESET:
                self._ale.reset_game()
            else:
                self._ale.act(self._actions[number])

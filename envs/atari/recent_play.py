"""Saves an emulator as an earlier state and the actions since then.

ALE's states contain everything except the screen. Some frames do not draw every line, so parts of the screen come from
earlier frames. Playing these frames again redraws the screen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

RESET = -1
# Code of an overwritten byte: _FIRST_WRITE - 256 * address - value.
_FIRST_WRITE = -2
_BYTES = 256
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
        self._start, self._played, self._frames = ale.cloneSystemState(), list[int](), 0

    def note(self, number: int) -> None:
        """Record an action, or :data:`RESET`, that is about to be played."""
        self._played.append(number)
        self._frames += 1

    def begin_frame(self) -> None:
        """Drop the oldest frames if necessary; call this before anything else in a raw frame."""
        if self._frames >= _FRAMES:
            self._older = self._start, self._played
            self._start, self._played, self._frames = self._ale.cloneSystemState(), [], 0

    def overwrite(self, address: int, value: int) -> None:
        """Overwrite a byte of the RAM and record it."""
        self._played.append(_FIRST_WRITE - _BYTES * address - value)
        self._ale.setRAM(address, value)

    def get_state(self) -> dict[str, Any]:
        """Return a state that :meth:`set_state` restores, also in another process."""
        start, before = (self._start, []) if self._older is None else self._older
        return {"emulator": start.serialize(), "played": np.array([*before, *self._played], dtype=np.int32)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`get_state`, including the screen."""
        # The console of a new emulator is not ready before its first frame.
        self._ale.act(self._actions[_NO_OPERATION])
        start = importlib.import_module("ale_py").ALEState(state["emulator"])
        self._ale.restoreSystemState(start)
        self._older, self._start, self._played = None, start, state["played"].tolist()
        self._frames = sum(number > _FIRST_WRITE for number in self._played)
        for number in self._played:
            if number <= _FIRST_WRITE:
                self._ale.setRAM(*divmod(_FIRST_WRITE - number, _BYTES))
            elif number == RESET:
                self._ale.reset_game()
            else:
                self._ale.act(self._actions[number])

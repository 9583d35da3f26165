"""Modifications of a game: bytes of its RAM that are overwritten before every raw frame.

What a modification writes depends only on the current RAM, on the RAM of the previous raw frame and on the frame
number. It has no random numbers and no state, so a level is the same whenever it is played, and environments in one
process do not affect each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from camal_rl.spelling import check_names

Ram = npt.NDArray[np.uint8]
Change = Literal["appearance", "behavior"]


@dataclass(frozen=True)
class RamState:
    """The input of an effect.

    Attributes:
        ram: ``uint8[128]``, before the raw frame.
        previous: ``uint8[128]``, before the previous raw frame and after that frame's modifications. Equals ``ram`` in
            the first frame.
        frame: number of raw frames since the start of the game.
    """

    ram: Ram
    previous: Ram
    frame: int


class Effect(ABC):
    """Bytes that are overwritten before every raw frame."""

    @property
    @abstractmethod
    def addresses(self) -> frozenset[int]:
        """All addresses that the effect may write to."""

    @abstractmethod
    def writes(self, state: RamState) -> Mapping[int, int]:
        """Return the new values, in [0, 255], by address; may be empty."""


class Hold(Effect):
    """Holds bytes at fixed values.

    Args:
        values: value by address.
    """

    def __init__(self, values: Mapping[int, int]) -> None:
        self.values: Mapping[int, int] = MappingProxyType(dict(values))

    @property
    def addresses(self) -> frozenset[int]:
        """All addresses that the effect writes to."""
        return frozenset(self.values)

    def writes(self, state: RamState) -> Mapping[int, int]:
        """Return the fixed values."""
        return self.values


@dataclass(frozen=True)
class Drift(Effect):
    """Moves a coordinate by a few pixels at regular intervals, as wind or gravity would.

    Attributes:
        address: address of the coordinate.
        by: pixels that are added; may be negative.
        every: raw frames from one move to the next.
        least: smallest coordinate that is moved.
        most: largest coordinate that is moved.
        in_sight: address of the object's other coordinate, and its largest value while the object is on the screen;
            ``None`` if the object is always on the screen.
    """

    address: int
    by: int
    every: int
    least: int = 1
    most: int = 254
    in_sight: tuple[int, int] | None = None

    @property
    def addresses(self) -> frozenset[int]:
        """The address of the coordinate."""
        return frozenset((self.address,))

    def writes(self, state: RamState) -> Mapping[int, int]:
        """Return the moved coordinate, or nothing between moves, outside the range and off the screen."""
        now = int(state.ram[self.address])
        if state.frame % self.every or not self.least <= now <= self.most:
            return {}
        if self.in_sight is not None and state.ram[self.in_sight[0]] > self.in_sight[1]:
            return {}
        return {self.address: now + self.by}


@dataclass(frozen=True)
class StandStill(Effect):
    """Keeps one coordinate fixed while another one grows.

    Attributes:
        address: address of the coordinate that is kept.
        while_grows: address of the coordinate that is watched.
    """

    address: int
    while_grows: int

    @property
    def addresses(self) -> frozenset[int]:
        """The address of the coordinate that is kept."""
        return frozenset((self.address,))

    def writes(self, state: RamState) -> Mapping[int, int]:
        """Return the coordinate of the previous frame, or nothing if the other coordinate has not grown."""
        if state.ram[self.while_grows] <= state.previous[self.while_grows]:
            return {}
        return {self.address: int(state.previous[self.address])}


@dataclass(frozen=True)
class Follow(Effect):
    """Sets one coordinate to the value of another.

    Attributes:
        address: address of the coordinate that is written.
        leader: address of the coordinate that is read.
    """

    address: int
    leader: int

    @property
    def addresses(self) -> frozenset[int]:
        """The address of the coordinate that is written."""
        return frozenset((self.address,))

    def writes(self, state: RamState) -> Mapping[int, int]:
        """Return the value of the other coordinate."""
        return {self.address: int(state.ram[self.leader])}


@dataclass(frozen=True)
class Modification:
    """One modification of a game.

    Attributes:
        changes: ``appearance`` for the colors of objects, ``behavior`` for what objects do.
        summary: what the modification does, as a clause for tables and messages.
        effect: what is written to the RAM.
        classes: the classes whose colors change, with ``appearance``.
        checked: whether masks were measured with the modification and are good.
    """

    changes: Change
    summary: str
    effect: Effect
    classes: tuple[str, ...] = ()
    checked: bool = False


def check_modifications(game: str, names: Sequence[str], known: Mapping[str, Modification]) -> None:
    """Check the names of modifications that a user gives.

    Raises:
        ValueError: a name is unknown (the message names the nearest), a name is repeated, or two modifications write
            the same bytes.
    """
    check_names(names, known, f"modification of atari/{game}")
    owners: dict[int, str] = {}
    for name in names:
        for address in known[name].effect.addresses:
            other = owners.setdefault(address, name)
            if other != name:
                raise ValueError(f"modifications {other!r} and {name!r} of atari/{game} write the same bytes: give one")
    if len(set(names)) < len(names):
        raise ValueError(f"modifs of atari/{game} must not repeat a modification, got {', '.join(names)}")


class Modifier:
    """Computes what is written before each raw frame of a running game.

    Args:
        effects: in the order in which they write; each sees what the earlier ones wrote.
    """

    def __init__(self, effects: Iterable[Effect]) -> None:
        self._effects = tuple(effects)
        self._previous: Ram | None = None

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._effects)

    def start(self) -> None:
        """Clear the state; call this when a game starts."""
        self._previous = None

    def writes(self, ram: Ram, frame: int) -> list[tuple[int, int]]:
        """Return (address, value) for each byte that changes; call this once before every raw frame.

        Args:
            ram: ``uint8[128]``; it is not modified.
            frame: number of raw frames since the start of the game.
        """
        new = ram.copy()
        previous = ram if self._previous is None else self._previous
        for effect in self._effects:
            for address, value in effect.writes(RamState(new, previous, frame)).items():
                new[address] = value
        self._previous = new
        return [(int(address), int(new[address])) for address in np.flatnonzero(new != ram)]

    def get_state(self) -> bytes | None:
        """Return the modified RAM of the last frame, 128 bytes; ``None`` before the first frame."""
        return None if self._previous is None else self._previous.tobytes()

    def set_state(self, state: bytes | None) -> None:
        """Restore a state of :meth:`get_state`."""
        self._previous = None if state is None else np.frombuffer(state, dtype=np.uint8).copy()

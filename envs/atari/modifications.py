"""Modifications of a game: bytes of its RAM that are overwritten before every raw frame.

What a modification writes follows from the RAM, from the RAM a raw frame ago and from the number of the frame. It has
no random numbers and no memory of its own, so a level is the same level whenever it is played, and environments in one
process do not disturb each other.
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
class Moment:
    """What a modification is told.

    Attributes:
        ram: ``uint8[128]``, as it is before the raw frame.
        previous: ``uint8[128]``, as it was before the last one, with what was written there.
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
        """Every address that it may write to."""

    @abstractmethod
    def writes(self, moment: Moment) -> Mapping[int, int]:
        """Return the new values, in [0, 255], by address; may be empty."""


class Hold(Effect):
    """Keeps bytes at a value.

    Args:
        values: value by address.
    """

    def __init__(self, values: Mapping[int, int]) -> None:
        self.values: Mapping[int, int] = MappingProxyType(dict(values))

    @property
    def addresses(self) -> frozenset[int]:
        """Every address that it writes to."""
        return frozenset(self.values)

    def writes(self, moment: Moment) -> Mapping[int, int]:
        """Return the same values always."""
        return self.values


@dataclass(frozen=True)
class Drift(Effect):
    """Moves a coordinate by a few pixels now and then, as wind or gravity would.

    Attributes:
        address: where the coordinate is.
        by: pixels; negative to the other side.
        every: raw frames from one move to the next.
        least: smallest coordinate that is moved.
        most: largest coordinate that is moved.
        in_sight: address and largest value of the other coordinate, where something can be off the screen.
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

    def writes(self, moment: Moment) -> Mapping[int, int]:
        """Return the moved coordinate, if it is its turn and in its range."""
        now = int(moment.ram[self.address])
        if moment.frame % self.every or not self.least <= now <= self.most:
            return {}
        if self.in_sight is not None and moment.ram[self.in_sight[0]] > self.in_sight[1]:
            return {}
        return {self.address: now + self.by}


@dataclass(frozen=True)
class StandStill(Effect):
    """Keeps something where it is while something else moves to larger coordinates.

    Attributes:
        address: the coordinate that is kept.
        while_grows: the coordinate that is watched.
    """

    address: int
    while_grows: int

    @property
    def addresses(self) -> frozenset[int]:
        """The address of the coordinate that is kept."""
        return frozenset((self.address,))

    def writes(self, moment: Moment) -> Mapping[int, int]:
        """Return where it was a frame ago, if the other coordinate has grown since."""
        if moment.ram[self.while_grows] <= moment.previous[self.while_grows]:
            return {}
        return {self.address: int(moment.previous[self.address])}


@dataclass(frozen=True)
class Follow(Effect):
    """Gives one coordinate the value of another.

    Attributes:
        address: the coordinate that is written.
        leader: the coordinate that is read.
    """

    address: int
    leader: int

    @property
    def addresses(self) -> frozenset[int]:
        """The address of the coordinate that is written."""
        return frozenset((self.address,))

    def writes(self, moment: Moment) -> Mapping[int, int]:
        """Return the other coordinate."""
        return {self.address: int(moment.ram[self.leader])}


@dataclass(frozen=True)
class Modification:
    """One modification of a game.

    Attributes:
        changes: ``appearance``, the colors of objects; ``behavior``, what they do.
        summary: what it does, a clause for tables and messages.
        effect: what it writes.
        classes: with ``appearance``, the classes that have other colors.
        checked: whether the masks were measured with it and found good.
    """

    changes: Change
    summary: str
    effect: Effect
    classes: tuple[str, ...] = ()
    checked: bool = False


def check_modifications(game: str, names: Sequence[str], known: Mapping[str, Modification]) -> None:
    """Check the names that a user gives.

    Raises:
        ValueError: an unknown one (the message names the nearest), one given twice, or two that write the same bytes.
    """
    check_names(names, known, f"modification of atari/{game}")
    owners: dict[int, str] = {}
    for name in names:
        for address in known[name].effect.addresses:
            other = owners.setdefault(address, name)
            if other != name:
                raise ValueError(f"modifications {other!r} and {name!r} of atari/{game} write the same bytes: give one")
    if len(set(names)) < len(names):
        raise ValueError(f"modifs of atari/{game} names a modification twice: {', '.join(names)}")


class Modifier:
    """Says what is written before each raw frame of one game under way.

    Args:
        effects: in the order in which they write; each sees what those before it have written.
    """

    def __init__(self, effects: Iterable[Effect]) -> None:
        self._effects = tuple(effects)
        self._previous: Ram | None = None

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._effects)

    def start(self) -> None:
        """Forget the last game."""
        self._previous = None

    def writes(self, ram: Ram, frame: int) -> list[tuple[int, int]]:
        """Return addresses and values that differ from the RAM; to be called once before every raw frame.

        Args:
            ram: ``uint8[128]``; is not changed.
            frame: number of raw frames since the start of the game.
        """
        new = ram.copy()
        previous = ram if self._previous is None else self._previous
        for effect in self._effects:
            for address, value in effect.writes(Moment(new, previous, frame)).items():
                new[address] = value
        self._previous = new
        return [(int(address), int(new[address])) for address in np.flatnonzero(new != ram)]

    def get_state(self) -> bytes | None:
        """Return what is remembered of the last frame."""
        return None if self._previous is None else self._previous.tobytes()

    def set_state(self, state: bytes | None) -> None:
        """Remember what :meth:`get_state` returned."""
        self._previous = None if state is None else np.frombuffer(state, dtype=np.uint8).copy()

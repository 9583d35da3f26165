"""A tiny random stream with the same numbers on every platform and NumPy version, since levels depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(value: int) -> int:
    """Return the 64-bit finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of a 64-bit integer."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class RandomStream:
    """A SplitMix64 generator; different keys give unrelated streams."""

    def __init__(self, *keys: int) -> None:
        """Start the stream of some integer keys."""
        state = 0
        for key in keys:
            state = mix((state + _GOLDEN + key) & _MASK)
        self._state = state

    def bits(self) -> int:
        """Return 64 random bits."""
        self._state = (self._state + _GOLDEN) & _MASK
        return mix(self._state)

    def randrange(self, bound: int) -> int:
        """Return a random integer in [0, bound); its bias is below bound / 2**64."""
        return self.bits() % bound

    def random(self) -> float:
        """Return a random number in [0, 1)."""
        return (self.bits() >> 11) / 2**53

    def choice(self, items: Sequence[_T]) -> _T:
        """Return one of the items."""
        return items[self.randrange(len(items))]

    def sample(self, items: Sequence[_T], count: int) -> list[_T]:
        """Return ``count`` different items in random order, or all of them if there are fewer."""
        pool = list(items)
        last = min(count, len(pool))
        for index in range(last):
            other = index + self.randrange(len(pool) - index)
            pool[index], pool[other] = pool[other], pool[index]
        return pool[:last]

"""Suggests known names for a misspelled one; independent of all subpackages, so every one may use it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

CUTOFF = 0.6
"""Minimum similarity of a misspelled name, difflib's default."""


def nearest(name: object, known: Iterable[object], count: int = 1) -> list[str]:
    """Return the known names most similar to ``name``, most similar first; often none.

    Names with parts, such as ``procgen/maze`` and ``camal.weight``, are as similar as their least similar parts, so
    that a shared beginning does not count. A name with fewer parts is compared with the last parts of a longer one.

    Args:
        name: the given name.
        known: the names that exist.
        count: maximum number of names to return.
    """
    given = str(name)
    rated = [(_likeness(given, each), each) for each in map(str, known)]
    # A stable sort keeps equally similar names in the order of ``known``.
    rated.sort(key=lambda item: -item[0])
    return [each for rating, each in rated[:count] if rating >= CUTOFF]


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'? `` (ending with a space), or an empty text if no known name is similar.

    Args:
        name: the given name.
        known: the names that exist.
    """
    near = nearest(name, known)
    return f"did you mean {near[0]!r}? " if near else ""


def check_settings(given: Iterable[object], known: Sequence[str], owner: str) -> None:
    """Raise a ValueError for the first unknown setting, with a suggestion and all known settings.

    Args:
        given: names of settings.
        known: the names that exist.
        owner: the owner of the settings, for the message.
    """
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"unknown setting {name!r} in {owner}; {hint}the settings are {', '.join(known)}")


def check_names(given: Iterable[object], known: Iterable[str], kind: str) -> None:
    """Raise a ValueError for the first unknown name, with a suggestion and all known names.

    Args:
        given: names.
        known: the names that exist.
        kind: kind of the named things, for the message.
    """
    names = list(known)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names)
            raise ValueError(f"unknown {kind} {name!r}; {hint}known: {', '.join(names) or 'none'}")


def _likeness(given: str, known: str) -> float:
    """Return the similarity of two names in [0, 1]; case is ignored."""
    ours, theirs = (re.split(r"[./]", text.lower()) for text in (given, known))
    if len(ours) > len(theirs):
        return 0.0
    return min(difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(ours[::-1], theirs[::-1], strict=False))

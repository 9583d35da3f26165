"""What a user may have meant by a name that does not exist; it knows nothing of any room, and every room may use it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

CUTOFF = 0.6
"""Names less alike than this are other names, not misspelled ones; difflib's own default."""


def nearest(name: object, known: Iterable[object], count: int = 1) -> list[str]:
    """Return the known names that ``name`` may be a misspelling of, the most alike first; often none.

    Names with parts, such as ``procgen/maze`` and ``camal.weight``, are as alike as their least alike parts: a shared
    beginning says nothing. A name with fewer parts is compared with the last ones of a longer one.

    Args:
        name: what was given.
        known: the names that exist.
        count: how many to return at most.
    """
    given = str(name)
    rated = [(_likeness(given, each), each) for each in map(str, known)]
    # A stable sort: of equally good ones the first that is known.
    rated.sort(key=lambda item: -item[0])
    return [each for rating, each in rated[:count] if rating >= CUTOFF]


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return ``did you mean 'x'? `` (with the space, to go on in the sentence), or an empty text where nothing is near.

    Args:
        name: what was given.
        known: the names that exist.
    """
    near = nearest(name, known)
    return f"did you mean {near[0]!r}? " if near else ""


def check_settings(given: Iterable[object], known: Sequence[str], owner: str) -> None:
    """Raise a ValueError for the first setting that does not exist, with what may be meant and those that do.

    Args:
        given: names of settings.
        known: the names that exist.
        owner: what the settings are of, for the message.
    """
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"unknown setting {name!r} in {owner}; {hint}the settings are {', '.join(known)}")


def check_names(given: Iterable[object], known: Iterable[str], kind: str) -> None:
    """Raise a ValueError for the first name that does not exist, with what may be meant and those that do.

    Args:
        given: names.
        known: the names that exist.
        kind: what they are names of, for the message.
    """
    names = list(known)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names)
            raise ValueError(f"unknown {kind} {name!r}; {hint}known: {', '.join(names) or 'none'}")


def _likeness(given: str, known: str) -> float:
    """Return how alike two names are, in [0, 1]; capitals do not count."""
    ours, theirs = (re.split(r"[./]", text.lower()) for text in (given, known))
    if len(ours) > len(theirs):
        return 0.0
    return min(difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(ours[::-1], theirs[::-1], strict=False))

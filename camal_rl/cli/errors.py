"""Bad input is one line on stderr and exit code 2; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(Exception):
    """Something the user can mend; the message is one line."""


@contextmanager
def checking_input() -> Iterator[None]:
    """Turn the errors by which the layers below refuse user data into :class:`BadInput`.

    Only for the stages that read and check what the user gave: an error in the middle of training is a bug.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise BadInput(" ".join(str(error).split()) or type(error).__name__) from error

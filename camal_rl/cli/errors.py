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


def bad_image_file(error: ValueError) -> str | None:
    """Return the line that tells of an image or mask which training or evaluation could not use, ``None`` for a bug.

    Files are read when their turn comes, so this shows late.
    """
    from camal_rl.supervised.data.samples import BadImageFile

    if not isinstance(error, BadImageFile):
        return None
    # From a worker process of the loader the message comes with its traceback; its last line is the message.
    return str(error).strip().splitlines()[-1].rpartition(f"{BadImageFile.__name__}: ")[2]

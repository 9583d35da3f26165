"""Bad input is one line on stderr and exit code 2; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer

from camal_rl.runs.stopping import exit_code


class BadInput(Exception):
    """Something the user can mend; the message is one line."""


@contextmanager
def checking_input(config: str | None = None, overrides: Sequence[str] | None = None) -> Iterator[None]:
    """Turn the errors by which the layers below refuse user data into :class:`BadInput`.

    Only for the stages that read and check what the user gave: an error in the middle of training is a bug.

    Args:
        config: the configuration that is checked; with it a message says which settings it inherits.
        overrides: settings over it.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        message = " ".join(_told(error).split()) or type(error).__name__
        note = "" if config is None or isinstance(error, ImportError) else _note(config, overrides or (), message)
        raise BadInput(message + (f"; {note}" if note else "")) from error


def _told(error: Exception) -> str:
    """Return what an error says; one of the system's with the file in front, cut where its name is long."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = str(error.filename)
        return f"{name if len(name) <= _LONGEST_NAME else f'{name[:40]}...'}: {error.strerror.lower()}"
    return str(error)


def _note(config: str, overrides: Sequence[str], message: str) -> str:
    """Return where a setting that is refused comes from, empty where the configuration itself cannot be read."""
    from camal_rl.runs.inherited import inherited_note

    try:
        return inherited_note(config, overrides, message)
    except (ValueError, OSError):
        return ""


def end_interrupted(summary: Mapping[str, Any], verb: str) -> None:
    """Leave with the exit code of the signal that ended a training, 130 or 143, if one did; say how to go on.

    Args:
        summary: what ``train.json`` holds.
        verb: the command that goes on.
    """
    if not summary["interrupted"]:
        return
    print(f"interrupted; what is done is saved, the same camal-rl {verb} with --resume goes on", file=sys.stderr)
    raise typer.Exit(exit_code(summary["signal"]))


@contextmanager
def warning_in_one_line() -> Iterator[None]:
    """Print warnings of this package as one line on stderr; those of others come as Python prints them."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__module__.partition(".")[0] == "camal_rl":
            print(f"camal-rl: warning: {message}", file=sys.stderr)
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        yield


_LONGEST_NAME = 200
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def cannot_write(error: OSError) -> str | None:
    """Return the line on a file that cannot be written or read, or a folder that is in use, ``None`` for a bug.

    What is checked before the work can change during it: disks fill up.
    """
    from camal_rl.atomic import WriteError
    from camal_rl.runs.folders import DamagedFile
    from camal_rl.runs.lock import FolderInUse

    if isinstance(error, WriteError | FolderInUse | DamagedFile):
        return " ".join(str(error).split())
    if error.errno in _NO_ROOM:
        where = f" ({error.filename})" if error.filename else ""
        return f"cannot write{where}: {error.strerror}; files that were complete before are whole; make room"
    return None

"""Bad input gives one line on stderr and exit code 2; any other error is a bug and keeps its traceback."""

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
    """An error that the user can fix; the message is one line."""


@contextmanager
def checking_input(config: str | None = None, overrides: Sequence[str] | None = None) -> Iterator[None]:
    """Turn errors of the library about user data into :class:`BadInput`.

    Only for the stages that read and check user input: an error in the middle of training is a bug.

    Args:
        config: the checked configuration; with it, messages name inherited settings.
        overrides: settings over it.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        message = " ".join(_error_message(error).split()) or type(error).__name__
        note = "" if config is None or isinstance(error, ImportError) else _note(config, overrides or (), message)
        raise BadInput(message + (f"; {note}" if note else "")) from error


def _error_message(error: Exception) -> str:
    """Return the message of an error; an OSError begins with the file, whose name is shortened if it is long."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = str(error.filename)
        return f"{name if len(name) <= _LONGEST_NAME else f'{name[:40]}...'}: {error.strerror.lower()}"
    return str(error)


def _note(config: str, overrides: Sequence[str], message: str) -> str:
    """Return the source of a refused setting, empty if the configuration itself cannot be read."""
    from camal_rl.runs.inherited import inherited_note

    try:
        return inherited_note(config, overrides, message)
    except (ValueError, OSError):
        return ""


def end_interrupted(summary: Mapping[str, Any], verb: str) -> None:
    """Exit with code 130 or 143 if a signal ended a training, and print how to resume.

    Args:
        summary: content of ``train.json``.
        verb: the command that resumes.
    """
    if not summary["interrupted"]:
        return
    print(f"interrupted; progress is saved, repeat the same camal-rl {verb} with --resume to continue", file=sys.stderr)
    raise typer.Exit(exit_code(summary["signal"]))


@contextmanager
def warning_in_one_line() -> Iterator[None]:
    """Print warnings of this package as one line on stderr; Python prints the warnings of other packages."""

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
    """Return the line for a file that cannot be written or read, or a folder in use; ``None`` for a bug.

    These errors can occur during the work although they were checked before: disks fill up.
    """
    from camal_rl.atomic import WriteError
    from camal_rl.runs.folders import DamagedFile
    from camal_rl.runs.lock import FolderInUse

    if isinstance(error, WriteError | FolderInUse | DamagedFile):
        return " ".join(str(error).split())
    if error.errno in _NO_ROOM:
        where = f" ({error.filename})" if error.filename else ""
        return f"cannot write{where}: {error.strerror}; earlier complete files are intact; free some space"
    return None

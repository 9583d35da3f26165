"""Folders that are written into: whether one can be made, and who may read what lies in it."""

from __future__ import annotations

import os
from pathlib import Path

_MAX_NAME = 255
"""Bytes in the name of a file or folder, in the file systems that are used today."""


def check_new_folder(path: Path) -> None:
    """Raise an OSError, whose message is one line, unless a folder is there or can be made.

    Raises:
        FileExistsError: something is there that is no folder.
        NotADirectoryError: one of the folders above is a file.
        PermissionError: the nearest folder that exists may not be written.
        OSError: a name is too long.
    """
    for part in path.parts:
        if (length := len(os.fsencode(part))) > _MAX_NAME:
            raise OSError(f"a folder's name has at most {_MAX_NAME} bytes, {part[:20]}... has {length}")
    there = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        kind: type[OSError] = FileExistsError if there == path else NotADirectoryError
        raise kind(f"{there} is not a folder; give another folder than {path}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{there} may not be written; give another folder than {path}")


def share_files(folder: Path) -> None:
    """Give every file below a folder the permissions of a new one: safetensors makes its own for the owner alone."""
    probe = folder / ".new-file"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)

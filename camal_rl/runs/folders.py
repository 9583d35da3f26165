"""Folders that are written into: whether one can be made, and who may read what lies in it."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_MAX_NAME = 255
"""Bytes in the name of a file or folder, in the file systems that are used today."""
_MAX_READABLE = 80
_NOT_PORTABLE = re.compile(r"[^A-Za-z0-9._+-]")
_DIGITS = 8
_UNIQUE = re.compile(rf"(?!.*-[0-9a-f]{{{_DIGITS}}}$)[a-z0-9][a-z0-9._+-]{{0,{_MAX_READABLE - 1}}}")


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; training goes on."""


class DamagedFile(OSError):
    """A file or folder that a run wrote cannot be read, found out after the checks; the message is one line."""


def portable_name(name: str) -> str:
    """Return a name that files and folders can have anywhere, of letters, digits and ``._+-``; others become ``-``.

    Windows takes no colons, and tools such as scp and rsync read what stands before one as a machine's name. Different
    names can become one; where that matters, :func:`unique_name` is for it.
    """
    return _NOT_PORTABLE.sub("-", name).lstrip(".-") or "_"


def unique_name(name: str) -> str:
    """Return a portable name, always the same one for a name, and another one for each.

    A name of small letters, digits and ``._+-`` stays as it is. Any other is made portable, and the beginning of its
    SHA-256 is put behind it: on many file systems capitals make no difference.
    """
    if _UNIQUE.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{portable_name(name)[:_MAX_READABLE]}-{digest}"


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
    try:
        # Trying is the one test that also knows read-only and full disks.
        with tempfile.TemporaryFile(dir=there):
            pass
    except PermissionError as error:
        raise PermissionError(f"{there} may not be written; give another folder than {path}") from error
    except OSError as error:
        raise OSError(f"{there} cannot be written ({error.strerror}); give another folder than {path}") from error


def check_writable(file: Path) -> None:
    """Raise an OSError, whose message is one line, unless a file can be written or replaced, its folders made before.

    For work that ends with a file: hours of it must not be lost at the end.

    Raises:
        IsADirectoryError: a folder is there.
        OSError: as :func:`check_new_folder` has it.
    """
    if (length := len(os.fsencode(file.name))) > _MAX_NAME:
        raise OSError(f"a file's name has at most {_MAX_NAME} bytes, {file.name[:20]}... has {length}")
    check_new_folder(file.parent)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder, and a file is to be written there; give another name")


def share_files(folder: Path) -> None:
    """Give every file below a folder the permissions of a new one: safetensors makes its own for the owner alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            share_file(path)


def share_file(path: Path) -> None:
    """Give a file the permissions of a new one."""
    probe = path.with_name(f".new-file-{os.getpid()}")
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    path.chmod(mode)


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8 as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

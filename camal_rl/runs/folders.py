"""Checks for folders and files to be written: whether they can be created, their names and permissions."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_MAX_NAME = 255
"""Maximum bytes in the name of a file or folder in common file systems."""
_MAX_READABLE = 80
_NOT_PORTABLE = re.compile(r"[^A-Za-z0-9._+-]")
_DIGITS = 8
_UNIQUE = re.compile(rf"(?!.*-[0-9a-f]{{{_DIGITS}}}$)[a-z0-9][a-z0-9._+-]{{0,{_MAX_READABLE - 1}}}")


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; training continues."""


class DamagedFile(OSError):
    """A file or folder of a run turned out to be unreadable after the checks; the message is one line."""


def portable_name(name: str) -> str:
    """Return a file name that is valid everywhere: letters, digits and ``._+-``; other characters become ``-``.

    Windows forbids colons, and tools such as scp and rsync read the text before one as a host name. Different names can
    give the same result; :func:`unique_name` avoids this.
    """
    return _NOT_PORTABLE.sub("-", name).lstrip(".-") or "_"


def unique_name(name: str) -> str:
    """Return a portable name, deterministic and different for each name.

    A name of lower-case letters, digits and ``._+-`` is kept. Any other name is made portable and gets the beginning of
    its SHA-256 as a suffix, since many file systems ignore case.
    """
    if _UNIQUE.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{portable_name(name)[:_MAX_READABLE]}-{digest}"


def check_new_folder(path: Path) -> None:
    """Raise an OSError with a message of one line unless a folder exists or can be created.

    Raises:
        FileExistsError: the path exists and is not a folder.
        NotADirectoryError: one of its parent folders is a file.
        PermissionError: the nearest existing folder is not writable.
        OSError: a name is too long.
    """
    for part in path.parts:
        if (length := len(os.fsencode(part))) > _MAX_NAME:
            raise OSError(f"a folder's name may have at most {_MAX_NAME} bytes, {part[:20]}... has {length}")
    there = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        kind: type[OSError] = FileExistsError if there == path else NotADirectoryError
        raise kind(f"{there} is not a folder; give another folder than {path}")
    try:
        # Only a trial write also detects read-only and full disks.
        with tempfile.TemporaryFile(dir=there):
            pass
    except PermissionError as error:
        raise PermissionError(f"{there} is not writable; give another folder than {path}") from error
    except OSError as error:
        raise OSError(f"{there} cannot be written ({error.strerror}); give another folder than {path}") from error


def check_writable(file: Path) -> None:
    """Raise an OSError with a message of one line unless a file, with its folders, can be written or replaced.

    Call it before long work that ends by writing a file.

    Raises:
        IsADirectoryError: the path is a folder.
        OSError: as in :func:`check_new_folder`.
    """
    if (length := len(os.fsencode(file.name))) > _MAX_NAME:
        raise OSError(f"a file's name may have at most {_MAX_NAME} bytes, {file.name[:20]}... has {length}")
    check_new_folder(file.parent)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder, not a file; give another name")


def share_files(folder: Path) -> None:
    """Give every file in a folder the permissions of a new file: safetensors creates files only for the owner."""
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

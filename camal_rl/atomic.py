"""Files that appear whole or not at all, whatever ends the program while they are written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial-"
"""What the name of everything begins with that is not complete yet; nothing reads such files."""
_MAX_NAME = 255


class WriteError(OSError):
    """A file cannot be written; the message is one line that names it and says what is still whole."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which then takes the place of ``path`` in one step.

    The file is written under another name in the same folder, brought to the disk and renamed. After an exception,
    Ctrl-C, SIGKILL or a loss of power there is either the file as it was before or the new one, never a part of it.

    Args:
        path: the file; its folder exists. What is yielded has its ending, which some libraries ask for the format.

    Raises:
        WriteError: the file cannot be written.
    """
    partial = _partial(path)
    try:
        with explained(path):
            yield partial
            put_in_place(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which then takes the place of ``path`` as :func:`replacing` does with a file.

    A former folder of this name is removed only when the new one is on the disk. A folder cannot replace another one in
    one step; a kill between the two steps leaves none of this name.

    Raises:
        WriteError: a file in it cannot be written.
    """
    partial = partial_folder(path)
    try:
        with explained(path):
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                _flush(file)
            if path.exists():
                shutil.rmtree(path)
            put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file as :func:`replacing` says."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 as :func:`replacing` says."""
    write_bytes(path, text.encode())


def put_in_place(written: Path, path: Path) -> None:
    """Bring a complete file or folder to the disk and rename it, in one file system."""
    _flush(written)
    written.replace(path)
    _flush(path.parent)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a :class:`WriteError` on ``path``."""
    there = os.path.lexists(path)
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        whole = "the former one is as it was" if there else "no part of it is there"
        why = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise WriteError(
            f"{path} cannot be written ({why}); {whole}; make room, or see that the folder may be written, and try "
            "again"
        ) from error


def remove_partial(folder: Path) -> None:
    """Remove what killed programs left half-written in a folder, which the caller alone writes into."""
    for path in folder.glob(f"{PARTIAL}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def partial_folder(path: Path) -> Path:
    """Return what :func:`replacing_folder` yields."""
    return path.with_name(f"{PARTIAL}{path.name}")


def _partial(path: Path) -> Path:
    """Return a name of this process's own that a file system takes where it takes that of ``path``."""
    name = f"{PARTIAL}{os.getpid()}-{path.name}"
    if len(os.fsencode(name)) > _MAX_NAME:
        name = f"{PARTIAL}{os.getpid()}{path.suffix}"
    return path.with_name(name)


def _flush(path: Path) -> None:
    """Bring a file, or the list of a folder's files, to the disk; Windows opens no folders."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows flushes only files that are open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Atomic writes: a file appears completely or not at all, even if the program is killed while writing."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial-"
"""Prefix of the names of incomplete files and folders, which nothing reads."""
_MAX_NAME = 255


class WriteError(OSError):
    """A file cannot be written; the message is one line that names it and says which version is intact."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which then replaces ``path`` atomically.

    The file is written under another name in the same folder, flushed to disk and renamed. After an exception, Ctrl-C,
    SIGKILL or a power failure there is either the previous file or the new one, never a part of it.

    Args:
        path: the file; its folder must exist. The yielded path has the same suffix, from which some libraries infer the
            format.

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
    """Yield an empty folder to fill, which then replaces ``path`` as in :func:`replacing`.

    An earlier folder of this name is removed only when the new one is on disk. A folder cannot replace another one
    atomically; a kill between the two steps leaves no folder of this name.

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
    """Write a file atomically, see :func:`replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 atomically, see :func:`replacing`."""
    write_bytes(path, text.encode())


def put_in_place(written: Path, path: Path) -> None:
    """Flush a complete file or folder to disk and rename it, within one file system."""
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
        whole = "the earlier one is intact" if there else "nothing was written"
        why = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise WriteError(
            f"{path} cannot be written ({why}); {whole}; free some space or make the folder writable, and try again"
        ) from error


def remove_partial(folder: Path) -> None:
    """Remove incomplete files of killed programs from a folder; only the caller may write into it."""
    for path in folder.glob(f"{PARTIAL}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def partial_folder(path: Path) -> Path:
    """Return the temporary folder that :func:`replacing_folder` yields."""
    return path.with_name(f"{PARTIAL}{path.name}")


def _partial(path: Path) -> Path:
    """Return a temporary name unique to this process, valid wherever the name of ``path`` is valid."""
    name = f"{PARTIAL}{os.getpid()}-{path.name}"
    if len(os.fsencode(name)) > _MAX_NAME:
        name = f"{PARTIAL}{os.getpid()}{path.suffix}"
    return path.with_name(name)


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk; Windows cannot open folders."""
    if path.is_dir() and os.name == "nt":
        return
    # Windows can flush only files that are open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Locks a folder for one writer: a second one is refused, and a killed one leaves no lock behind."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from camal_rl.atomic import explained

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The locked file. It remains after a kill, but without the lock."""
_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_SECONDS_BETWEEN_TRIES = 0.2


class FolderInUse(FileExistsError):
    """Another program is writing into a folder, or has written into it; the message is one line."""


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Lock an existing folder inside the block against other programs that use this function.

    The operating system releases the lock when the process ends for any reason, and child processes do not hold it.
    There is no protection on platforms without ``fcntl`` (Windows) and on file systems without locks.

    Args:
        folder: the folder.
        what: the activity, for the message: ``training``.

    Raises:
        FolderInUse: another program, or another part of this one, has locked it.
        WriteError: the lock file cannot be written.
    """
    descriptor = _open_locked(folder, what)
    _open_locks.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        _open_locks.discard(descriptor)
        os.close(descriptor)


def wait_until_free(folder: Path, seconds: float) -> None:
    """Wait, for a limited time, until nobody has locked a folder; a missing folder is free.

    A run that was ended on another machine may hold the lock for a moment longer.
    """
    deadline = time.monotonic() + seconds
    while folder.is_dir():
        try:
            with locked(folder, "program"):
                return
        except FolderInUse:
            if time.monotonic() >= deadline:
                return
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _open_locked(folder: Path, what: str) -> int:
    """Return a descriptor of the locked file.

    The previous owner removes the file, possibly after it was opened here, so the lock is valid only if the file of
    that name is still the same.
    """
    while True:
        with explained(folder / LOCK):
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder, what)
            with contextlib.suppress(FileNotFoundError):
                if _is_file(descriptor, folder / LOCK):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_file(descriptor: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(descriptor), path.stat())


def _lock(descriptor: int, folder: Path, what: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        process = f", process {owner}" if owner.isdecimal() else ""
        raise FolderInUse(
            f"{folder} is in use by another {what}{process}; wait until it ends or give another folder"
        ) from error


# Forked processes share open files and their locks: without this a worker would hold the lock after its parent ended.
_open_locks: set[int] = set()


def _close_in_child() -> None:
    for descriptor in _open_locks:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)

"""One writer a folder: the second is refused, and nothing of a killed one stays in the way."""

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
"""The file that is locked. A killed process leaves it, without the lock."""
_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_SECONDS_BETWEEN_TRIES = 0.2


class FolderInUse(FileExistsError):
    """Another program writes into a folder, or has done so in the meantime; the message is one line."""


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep other programs that use this function out of a folder inside the block; the folder exists.

    The operating system frees the lock when the process ends, however it ends, and child processes do not hold it. On
    platforms without ``fcntl`` (Windows), and on file systems without locks, nobody is kept out.

    Args:
        folder: the folder.
        what: what is written, for the message: ``training``.

    Raises:
        FolderInUse: another program has it, or another part of this one.
        WriteError: the file of the lock cannot be written.
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
    """Wait until nobody has the lock of a folder, at most so long; a folder that is not there is free.

    What was ended on another machine may hold it for a moment longer.
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

    Who had the lock before removes the file, perhaps after it was opened here: the lock is one on the file of that name
    only if it is still the same.
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
            f"{folder} is in use by another {what}{process}; wait for its end or give another folder"
        ) from error


# A lock belongs to an open file, which a forked process shares: without this a worker would hold it after its parent.
_open_locks: set[int] = set()


def _close_in_child() -> None:
    for descriptor in _open_locks:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)

"""One writer a folder: the second is refused, and nothing of a killed one stays in the way."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The file that is locked. It stays when the lock is gone: removing it would let two writers lock two files."""
_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class FolderInUse(OSError):
    """Another program writes into a folder; the message is one line."""


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
        OSError: the file of the lock cannot be written.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    _open_locks.add(descriptor)
    try:
        _lock(descriptor, folder, what)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        _open_locks.discard(descriptor)
        os.close(descriptor)


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

"""Worker processes: how one ended, and signals that reach them too."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


def ending(code: int | None) -> str:
    """Return in words how a process ended: a negative exit code is a signal."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


@contextlib.contextmanager
def signals_held_back(*numbers: int) -> Iterator[None]:
    """Hold back signals, as Ctrl-C of a terminal, which reaches a whole group, from processes started meanwhile.

    They hold them back until they call :func:`let_signals_through`; this process gets them after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Python's own process for shared resources: its start, with the first worker, would let signals through.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through(*numbers: int) -> None:
    """Hold signals back no longer, in a worker process that knows now what to do with them."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

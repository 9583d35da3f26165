"""Worker processes: how they ended, and how signals reach them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


def ending(code: int | None) -> str:
    """Describe how a process ended; a negative exit code is a signal."""
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
    """Block signals in processes started inside the block; Ctrl-C in a terminal reaches a whole process group.

    They stay blocked there until :func:`let_signals_through` is called; this process receives them after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Start Python's resource tracker now: its start with the first worker would unblock signals.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through(*numbers: int) -> None:
    """Unblock signals in a worker process that has installed its handlers."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

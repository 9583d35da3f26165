"""Handles Ctrl-C and SIGTERM: the current step is finished and saved; a second signal ends the program at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHELL_OFFSET = 128


class StopRequest:
    """A request to stop training, with its signal.

    Attributes:
        signal: the number of the first signal received, ``None`` before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Return whether training should stop after the current step."""
        return self.signal is not None


def exit_code(number: int) -> int:
    """Return the shells' exit code of a program ended by a signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return _SHELL_OFFSET + number


_open: list[StopRequest] = []


@contextmanager
def stopping(on_first: Callable[[int], None] | None = None, ends_at_second: bool = True) -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM inside the block into a request to stop.

    Later signals end the program at once, as usual. A nested block changes nothing and shares the request of the outer
    one. Outside the main thread, where no handler can be set, there is never a request.

    Args:
        on_first: called with the number of the first signal, within its handler; by default a line is written to
            stderr.
        ends_at_second: whether a second signal ends the program; otherwise it is ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    if _open:
        yield _open[0]
        return

    def handle(number: int, _: FrameType | None) -> None:
        if request():
            return
        request.signal = number
        if ends_at_second:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)
        (on_first or _tell)(number)

    before = {each: signal.signal(each, handle) for each in SIGNALS}
    _open.append(request)
    try:
        yield request
    finally:
        _open.remove(request)
        for each, handler in before.items():
            signal.signal(each, handler)


def _tell(number: int) -> None:
    # A handler can run in the middle of a print(): this bypasses Python's buffers.
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    line = f"camal-rl: {name}: finishing and saving the current step; repeat to end at once\n"
    os.write(2, line.encode())

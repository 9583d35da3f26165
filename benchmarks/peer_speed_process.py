"""A participant of peer_speed.py that is a program of its own: it stands still while others have their turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

SECONDS_TO_END = 60


class PausedProcess:
    """A program that leads a process group, whose processes all run only between :meth:`send` and :meth:`recv`.

    It writes lines of JSON on standard output: when it is ready one that describes it, and after each update one with
    the ``cpu_seconds`` of its processes so far. It ends by itself after a number of updates.

    Args:
        command: the program, which makes a process group of its own before its first line.
        steps: environment steps of a rollout.
        updates: after which it ends.
        log: an open file for what it writes on standard error.
    """

    def __init__(self, command: Sequence[str], steps: int, updates: int, log: TextIO) -> None:
        self._steps, self._updates, self._log = steps, updates, log
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self._start = self._cpu_seconds = 0.0
        try:
            self.description = self._message()
            self._signal(signal.SIGSTOP)
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> PausedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_END if self._updates == 0 else 0)
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def send(self, name: str) -> None:
        """Let it run."""
        self._start = time.perf_counter()
        self._signal(signal.SIGCONT)

    def recv(self) -> tuple[float, float]:
        """Wait for its next update; return its steps per second by wall clock and by CPU time."""
        cpu_seconds = self._message()["cpu_seconds"]
        seconds = time.perf_counter() - self._start
        self._signal(signal.SIGSTOP)
        spent, self._cpu_seconds = cpu_seconds - self._cpu_seconds, cpu_seconds
        self._updates -= 1
        return self._steps / seconds, self._steps / spent

    def _message(self) -> dict[str, Any]:
        """Return what its next line says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            last = (self._log.read().strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"{self._process.args!r} ended before its time: {last}")
        return json.loads(line)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

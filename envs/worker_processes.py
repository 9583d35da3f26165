"""One process for each environment, with errors that say what to do where Python's and SB3's do not."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper

Maker = Callable[[], gymnasium.Env[Any, Any]]
# How a worker ends that finds itself running the program from its start: no other program is likely to use it.
_UNGUARDED = 119
_ONE_PROCESS = "or use subproc=False, which steps every environment in this process"


class WorkersError(RuntimeError):
    """Worker processes that cannot start; the message says what to change."""


class WorkerVecEnv(SubprocVecEnv):
    """SB3's ``SubprocVecEnv``, whose workers start afresh and import the program (``spawn``).

    Not SB3's default, the fork server: its socket stays in the temporary folder when the program is killed.

    Args:
        makers: one function for each environment.

    Raises:
        TypeError: the makers cannot be sent to another process.
        WorkersError: a worker could not make its environment. No worker is left behind.
    """

    def __init__(self, makers: Sequence[Maker]) -> None:
        leave_if_imported_by_a_worker()
        _check_can_be_sent(makers[0])
        reason = self._start([_Reporting(maker) for maker in makers])
        if reason is not None:
            raise WorkersError(reason)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse copies: pipes and processes have none.

        Raises:
            TypeError: always.
        """
        raise TypeError("environments in processes of their own cannot be copied or pickled; make them anew")

    def _start(self, makers: list[Maker]) -> str | None:
        """Start the workers; return what went wrong, with every worker ended, or ``None``."""
        try:
            with _without_a_file_that_is_none():
                super().__init__(makers, start_method="spawn")
        except (EOFError, OSError):
            return self._end_workers()
        for remote in self.remotes:
            remote.send(("has_attr", "making_error"))
        failed = [index for index, remote in enumerate(self.remotes) if remote.recv()]
        if not failed:
            return None
        error = self.get_attr("making_error", indices=failed[0])[0]
        self.close()
        return f"the environment cannot be made in a worker process: {error}"

    def _end_workers(self) -> str:
        """End every worker and return why the first one ended by itself."""
        self.processes[0].join()
        code = self.processes[0].exitcode
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        for connection in (*self.remotes, *self.work_remotes):
            connection.close()
        if code == _UNGUARDED:
            return (
                "worker processes import this script again: put the code that makes the environment and trains under "
                f'`if __name__ == "__main__":`, {_ONE_PROCESS}'
            )
        return (
            f"a worker process ended with code {code} before its environment was made; its own message is above this "
            f"one. Mend what it says, {_ONE_PROCESS}"
        )


def leave_if_imported_by_a_worker() -> None:
    """End this process, silently, if it is a worker that is still importing the program that started it.

    There, the program has no ``if __name__ == "__main__":`` around what starts workers. The process that started this
    one sees how it ended and says so, once.
    """
    # What Python's own check of the same mistake asks.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(_UNGUARDED)


def _check_can_be_sent(maker: Maker) -> None:
    try:
        pickle.dumps(CloudpickleWrapper(maker))
    except Exception as error:
        raise TypeError(
            f"the environment cannot be sent to worker processes: {error}; give a class, or a function that makes the "
            f"environment with all that it holds, {_ONE_PROCESS}"
        ) from None


@contextlib.contextmanager
def _without_a_file_that_is_none() -> Iterator[None]:
    """Have workers import no program that comes from the standard input: its ``__file__`` is no file, ``<stdin>``.

    They need not: classes and functions of such a program are sent whole.
    """
    program = sys.modules["__main__"]
    file = getattr(program, "__file__", None)
    if file is None or Path(file).exists():
        yield
        return
    del program.__file__
    try:
        yield
    finally:
        program.__file__ = file


class _Reporting:
    """Makes an environment in a worker, or an empty one that says what went wrong, once, where it can be read."""

    def __init__(self, make: Maker) -> None:
        self._make = make

    def __call__(self) -> gymnasium.Env[Any, Any]:
        try:
            return self._make()
        except Exception as error:
            return _NotMade(f"{type(error).__name__}: {error}")


class _NotMade(gymnasium.Env[Any, Any]):
    """Stands for an environment whose making failed."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)

    def __init__(self, making_error: str) -> None:
        self.making_error = making_error

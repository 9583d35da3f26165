"""One process for each environment, with errors that say what to do where Python's and SB3's do not."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy.typing as npt
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from camal_rl.envs.guarded_env import FAILURE, EnvironmentFailure, TellingEnv, guarded
from camal_rl.failures import RunFailure
from camal_rl.processes import ending, let_signals_through, signals_held_back

Maker = Callable[[], gymnasium.Env[Any, Any]]
# How a worker ends that finds itself running the program from its start: no other program is likely to use it.
_UNGUARDED = 119
# How long a pipe may be closed before its process has ended.
_GRACE_SECONDS = 5.0
_ONE_PROCESS = "or use subproc=False, which steps every environment in this process"


class WorkersError(RunFailure, RuntimeError):
    """Worker processes that cannot start; the message says what to change."""


class WorkerVecEnv(SubprocVecEnv):
    """SB3's ``SubprocVecEnv``, whose workers start afresh and import the program (``spawn``).

    Not SB3's default, the fork server: its socket stays in the temporary folder when the program is killed.

    Args:
        makers: one function for each environment.

    Raises:
        TypeError: the makers cannot be sent to another process.
        WorkersError: a worker could not make its environment. No worker is left behind.
        EnvironmentFailure: later, an environment failed, or its process ended. No worker is left behind.
    """

    def __init__(self, makers: Sequence[Maker]) -> None:
        leave_if_imported_by_a_worker()
        _check_can_be_sent(makers[0])
        reason = self._start([_Reporting(maker, index) for index, maker in enumerate(makers)])
        if reason is not None:
            raise WorkersError(reason)

    def reset(self) -> VecEnvObs:
        """Reset every environment."""
        with ending_with_a_worker(self):
            observations = super().reset()
        self._check_told(self.reset_infos)
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Tell every environment its action."""
        with ending_with_a_worker(self):
            super().step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Return what every environment gave."""
        with ending_with_a_worker(self):
            result = super().step_wait()
        self._check_told(result[3])
        self._check_told(self.reset_infos)
        return result

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of environments."""
        with ending_with_a_worker(self):
            return super().get_attr(attr_name, indices)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of environments."""
        with ending_with_a_worker(self):
            return super().env_method(method_name, *args, indices=indices, **kwargs)

    def get_images(self) -> Sequence[Any]:
        """Return a picture of every environment."""
        with ending_with_a_worker(self):
            return super().get_images()

    def close(self) -> None:
        """Close the environments, and end every worker that is left."""
        try:
            super().close()
        except (EOFError, OSError):
            _abandon(self)

    def _check_told(self, infos: Sequence[Any]) -> None:
        """Raise what a worker has told of its environment; all are closed before."""
        for info in infos:
            if info and FAILURE in info:
                self.close()
                raise info[FAILURE]

    def __getstate__(self) -> dict[str, Any]:
        """Refuse copies: pipes and processes have none.

        Raises:
            TypeError: always.
        """
        raise TypeError("environments in processes of their own cannot be copied or pickled; make them anew")

    def _start(self, makers: list[Maker]) -> str | None:
        """Start the workers; return what went wrong, with every worker ended, or ``None``."""
        try:
            with _without_a_file_that_is_none(), signals_held_back(signal.SIGINT):
                super().__init__(makers, start_method="spawn")
            for remote in self.remotes:
                remote.send(("has_attr", "making_error"))
            failed = [index for index, remote in enumerate(self.remotes) if remote.recv()]
        except (EOFError, OSError):
            return self._end_workers()
        if not failed:
            return None
        error = self.get_attr("making_error", indices=failed[0])[0]
        self.close()
        return f"the environment cannot be made in a worker process: {error}"

    def _end_workers(self) -> str:
        """End every worker and return why the first one that ended did so."""
        ended = _abandon(self)
        code = None if ended is None else ended[1]
        if code == _UNGUARDED:
            return (
                "worker processes import this script again: put the code that makes the environment and trains under "
                f'`if __name__ == "__main__":`, {_ONE_PROCESS}'
            )
        return (
            f"a worker process ended with code {code} before its environment was made; its own message is above this "
            f"one. Mend what it says, {_ONE_PROCESS}"
        )


@contextlib.contextmanager
def ending_with_a_worker(venv: SubprocVecEnv) -> Iterator[None]:
    """End every worker if one has ended, and say which and how.

    Raises:
        EnvironmentFailure: one has ended.
    """
    try:
        yield
    except (EOFError, OSError) as error:
        ended = _abandon(venv)
        if ended is None:
            raise EnvironmentFailure("a worker process no longer answers; every environment was closed") from error
        index, code = ended
        raise EnvironmentFailure(
            f"environment {index}: its worker process {ending(code)}; every environment was closed"
        ) from error


def _abandon(venv: SubprocVecEnv) -> tuple[int, int | None] | None:
    """End every worker; return the number and the exit code of the first that had ended by itself."""
    # A pipe is closed a moment before its process has ended.
    dead = connection.wait([process.sentinel for process in venv.processes], timeout=_GRACE_SECONDS)
    ended = [(index, each) for index, each in enumerate(venv.processes) if each.sentinel in dead]
    for process in venv.processes:
        process.kill()
    for process in venv.processes:
        process.join()
    for pipe in (*venv.remotes, *venv.work_remotes):
        pipe.close()
    venv.closed, venv.waiting = True, False
    return (ended[0][0], ended[0][1].exitcode) if ended else None


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


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent: it can finish its step, write what it has, and close its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_signals_through(signal.SIGINT)


class _Reporting:
    """Makes an environment in a worker, or an empty one that says what went wrong, once, where it can be read."""

    def __init__(self, make: Maker, index: int) -> None:
        self._make, self._index = make, index

    def __call__(self) -> gymnasium.Env[Any, Any]:
        _ignore_interrupts()
        try:
            return TellingEnv(guarded(self._make(), self._index))
        except Exception as error:
            return _NotMade(f"{type(error).__name__}: {error}")


class _NotMade(gymnasium.Env[Any, Any]):
    """Stands for an environment whose making failed."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)

    def __init__(self, making_error: str) -> None:
        self.making_error = making_error

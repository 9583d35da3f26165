"""Runs each environment in its own process, with errors that say what to do when those of Python and SB3 do not."""

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

from camal_rl.envs.guarded_env import FAILURE, EnvironmentFailure, ReportingEnv, guarded
from camal_rl.failures import RunFailure
from camal_rl.processes import ending, let_signals_through, signals_held_back

Maker = Callable[[], gymnasium.Env[Any, Any]]
# The exit code of a worker that starts to run the whole program again; other programs are unlikely to use it.
_UNGUARDED = 119
# How long after its pipe is closed a process may take to end.
_GRACE_SECONDS = 5.0
_ONE_PROCESS = "or use subproc=False, which steps every environment in this process"


class WorkersError(RunFailure, RuntimeError):
    """Worker processes cannot start; the message says what to change."""


class WorkerVecEnv(SubprocVecEnv):
    """SB3's ``SubprocVecEnv`` with the start method ``spawn``: workers are new processes that import the program.

    SB3's default, the fork server, leaves its socket in the temporary folder when the program is killed.

    Args:
        makers: one function for each environment.

    Raises:
        TypeError: the makers cannot be sent to another process.
        WorkersError: a worker could not make its environment. No worker is left behind.
        EnvironmentFailure: in later calls: an environment failed, or its process ended. No worker is left behind.
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
        self._raise_reported(self.reset_infos)
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Send every environment its action."""
        with ending_with_a_worker(self):
            super().step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Return the results of the step."""
        with ending_with_a_worker(self):
            result = super().step_wait()
        self._raise_reported(result[3])
        self._raise_reported(self.reset_infos)
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
        """Return an image of every environment."""
        with ending_with_a_worker(self):
            return super().get_images()

    def close(self) -> None:
        """Close the environments, and end every worker that is left."""
        try:
            super().close()
        except (EOFError, OSError):
            _abandon(self)

    def _raise_reported(self, infos: Sequence[Any]) -> None:
        """Raise a failure that a worker has reported, after all environments are closed."""
        for info in infos:
            if info and FAILURE in info:
                self.close()
                raise info[FAILURE]

    def __getstate__(self) -> dict[str, Any]:
        """Raise an error, because pipes and processes cannot be copied.

        Raises:
            TypeError: always.
        """
        raise TypeError("environments in processes of their own cannot be copied or pickled; make new ones")

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
            f"one. Fix that error, {_ONE_PROCESS}"
        )


@contextlib.contextmanager
def ending_with_a_worker(venv: SubprocVecEnv) -> Iterator[None]:
    """End every worker if one has ended, and report which one and how.

    Raises:
        EnvironmentFailure: a worker has ended.
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
    """End this process silently if it is a worker that is still importing the program that started it.

    In that case the program starts workers outside of ``if __name__ == "__main__":``. The parent process sees the exit
    code and reports the mistake once.
    """
    # Python's own check for the same mistake reads this attribute.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(_UNGUARDED)


def _check_can_be_sent(maker: Maker) -> None:
    try:
        pickle.dumps(CloudpickleWrapper(maker))
    except Exception as error:
        raise TypeError(
            f"the environment cannot be sent to worker processes: {error}; give a class, or a function that makes the "
            f"environment and everything in it, {_ONE_PROCESS}"
        ) from None


@contextlib.contextmanager
def _without_a_file_that_is_none() -> Iterator[None]:
    """Keep workers from importing a program from the standard input, whose ``__file__`` is ``<stdin>`` and not a file.

    Workers need no import: classes and functions of such a program are sent to them in full.
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
    """Ignore Ctrl-C, so that the parent can finish its step, save its results and close its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_signals_through(signal.SIGINT)


class _Reporting:
    """Makes an environment in a worker; if that fails, an empty one that holds the error message for the parent."""

    def __init__(self, make: Maker, index: int) -> None:
        self._make, self._index = make, index

    def __call__(self) -> gymnasium.Env[Any, Any]:
        _ignore_interrupts()
        try:
            return ReportingEnv(guarded(self._make(), self._index))
        except Exception as error:
            return _NotMade(f"{type(error).__name__}: {error}")


class _NotMade(gymnasium.Env[Any, Any]):
    """Stands in for an environment that could not be made."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)

    def __init__(self, making_error: str) -> None:
        self.making_error = making_error

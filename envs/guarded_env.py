"""Checks a user's environments at every step; an error is one line that names the environment and the cause."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import is_wrapped

from camal_rl.envs.copies import Copyable
from camal_rl.envs.interface_checks import (
    check_flag,
    check_image,
    check_info,
    check_reward,
    parts_of_reset,
    parts_of_step,
)
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.saved_wrappers import check_chain, restore_chain, save_chain
from camal_rl.failures import NotFiniteError, RunFailure

FAILURE = "camal_rl.failure"
"""The key of ``info`` under which a worker process tells its parent what went wrong."""


class EnvironmentFailure(RunFailure, RuntimeError):
    """An environment raised an error, ended its process, or was ended; the message is one line."""


class _Transparent(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper that sets attributes on the wrapped environment, so that callers need not know about the wrapper."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the wrapper's own, or one of the environment."""
        if name == "env" or name.startswith("_") or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self.env, name, value)


class GuardedEnv(_Transparent):
    """Checks what ``reset`` and ``step`` return, and says which environment failed and how.

    Args:
        env: the environment.
        index: its number among the copies, for messages.

    Raises:
        EnvironmentFailure: in ``reset`` or ``step``: the environment raised, or called ``sys.exit``.
        ValueError: what ``reset`` or ``step`` returned is malformed.
        NotFiniteError: a reward or an observation is NaN or infinite.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], index: int) -> None:
        super().__init__(env)
        self._index = index

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        result = self._call("reset()", lambda: self.env.reset(**given))
        try:
            observation, info = parts_of_reset(result)
            self._check_observation(observation, "reset()")
            return observation, check_info(info, "reset()")
        except ValueError as error:
            raise self._malformed(error) from error

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        result = self._call("step()", lambda: self.env.step(action))
        try:
            observation, reward, terminated, truncated, info = parts_of_step(result)
            self._check_observation(observation, "step()")
            check_reward(reward)
            check_flag("terminated", terminated)
            check_flag("truncated", truncated)
            info = check_info(info, "step()")
            if terminated or truncated:  # the reset that follows may draw into the same arrays
                observation, info = _copied(observation), {key: _copied(value) for key, value in info.items()}
            return observation, reward, bool(terminated), bool(truncated), info
        except ValueError as error:
            raise self._malformed(error) from error

    def _call(self, name: str, call: Any) -> Any:
        try:
            return call()
        except RunFailure:
            raise
        except (Exception, SystemExit) as error:
            raise EnvironmentFailure(f"environment {self._index}: {name} {described(error)}") from error

    def _malformed(self, error: ValueError) -> ValueError:
        line = f"environment {self._index}: {error}"
        if isinstance(error, NotFiniteError):
            return NotFiniteError(error.what, line)
        return MalformedError(line)

    def _check_observation(self, observation: Any, call: str) -> None:
        space = self.env.observation_space
        if not isinstance(space, spaces.Box):
            return
        if space.dtype == np.uint8:
            check_image(observation, space, call)
        elif not np.isfinite(observation).all():
            raise NotFiniteError("observation", f"{call} returned an observation with NaN or infinity")


class MalformedError(RunFailure, ValueError):
    """``reset`` or ``step`` of an environment returned something malformed; the message says how to fix it."""


class ReportingEnv(_Transparent):
    """In a worker process: reports failures to the parent in ``info``, because an exception would end the worker."""

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        try:
            return self.env.reset(**given)
        except RunFailure as error:
            return self._nothing(), {FAILURE: _sendable(error)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        try:
            return self.env.step(action)
        except RunFailure as error:
            return self._nothing(), 0.0, False, False, {FAILURE: _sendable(error)}

    def save_chain(self) -> dict[str, Any]:
        """Return the state of the environment, as :func:`camal_rl.envs.saved_wrappers.save_chain` does."""
        return save_chain(self)

    def check_chain(self, saved: dict[str, Any]) -> str | None:
        """Return why a state belongs to another environment, or ``None``."""
        return _error_message(lambda: check_chain(self, saved))

    def restore_chain(self, saved: dict[str, Any], exact: bool) -> str | None:
        """Restore a state; return why that failed, or ``None``."""
        return _error_message(lambda: restore_chain(self, saved, exact))

    def _nothing(self) -> Any:
        space = self.env.observation_space
        return np.zeros(space.shape, space.dtype) if isinstance(space, spaces.Box) else space.sample()


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _error_message(call: Callable[[], None]) -> str | None:
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def _sendable(error: RunFailure) -> RunFailure:
    """Return an error without its cause and traceback, which may not be picklable."""
    error.__cause__, error.__traceback__, error.__context__ = None, None, None
    return error


def described(error: BaseException) -> str:
    """Describe the failure of an environment: what it raised and where, or how it ended the process."""
    if isinstance(error, SystemExit):
        return f"ended the process with sys.exit({error.code!r})"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}{f': {text}' if text else ''}{where}"


def guarded(env: gymnasium.Env[Any, Any], index: int) -> gymnasium.Env[Any, Any]:
    """Wrap an environment in :class:`GuardedEnv`, unless it already is wrapped, for example inside a Monitor."""
    return env if is_wrapped(env, GuardedEnv) else GuardedEnv(env, index)

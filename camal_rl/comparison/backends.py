"""Backends that execute the runs of a comparison, registered by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from camal_rl.comparison.outcomes import OnProgress, Outcome, Tell
from camal_rl.comparison.plan import PlannedRun
from camal_rl.registry import Registry


class Execute(Protocol):
    """Trains and evaluates unfinished runs, each from its newest checkpoint."""

    def __call__(
        self, runs: Sequence[PlannedRun], command: Sequence[str], on_progress: OnProgress, tell: Tell
    ) -> Outcome:
        """Execute the runs and return their outcome.

        A failed run does not affect the others. The first Ctrl-C or SIGTERM ends training after the current step and
        writes a checkpoint. Results do not depend on the backend: each run has its own process with one torch thread.

        Args:
            runs: the runs to execute; finished ones are reported as finished and not executed again.
            command: the command line, for the run folders.
            on_progress: called with the progress of each run.
            tell: called with a message about a run.
        """


class Backend(Protocol):
    """A place where runs are executed; its factory takes the options as keyword arguments."""

    def opened(self, folder: Path) -> AbstractContextManager[Execute]:
        """Connect to the backend, and yield the function that executes runs inside the block.

        Args:
            folder: the folder that contains the runs' folders; it may not exist yet.

        Raises:
            ValueError, ImportError, OSError: the backend cannot be reached, or has no room for a run; one line.
        """


BACKENDS: Registry[Callable[..., Backend]] = Registry(
    "backend",
    {
        "local": "camal_rl.comparison.local:LocalBackend",
        "ray": "camal_rl.comparison.ray_backend:RayBackend",
    },
    group="camal_rl.backends",
)
"""Factories of backends by name; their keyword arguments are options of ``camal-rl compare``."""


def make_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """Return the backend of that name.

    Args:
        name: its name, or ``package.module:name``.
        options: values by name; ``None`` leaves an option out.

    Raises:
        ValueError: there is no such backend, it does not have an option, or it refuses a value.
    """
    make = BACKENDS.find(name)
    given = {key: value for key, value in options.items() if value is not None}
    known = inspect.signature(make).parameters
    unknown = [key for key in given if key not in known]
    if unknown:
        told = ", ".join(map(_flag, unknown))
        raise ValueError(
            f"the backend {name!r} has no {told}; its options are {', '.join(map(_flag, known)) or 'none'}"
        )
    return make(**given)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"

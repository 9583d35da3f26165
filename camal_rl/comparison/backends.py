"""Where the runs of a comparison are executed: backends by name, and what each of them is."""

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
    """Trains and evaluates runs that are not finished, each from its newest checkpoint."""

    def __call__(
        self, runs: Sequence[PlannedRun], command: Sequence[str], on_progress: OnProgress, tell: Tell
    ) -> Outcome:
        """Return how they ended.

        A run that fails takes no other along. The first Ctrl-C or SIGTERM ends training after the step under way, with
        a checkpoint. Results do not depend on the backend: each run has a process of its own with one torch thread.

        Args:
            runs: what is to be executed; finished ones are told as such, and nothing of them is run again.
            command: the command line, for the run folders.
            on_progress: told how far each run is.
            tell: told what happened to one.
        """


class Backend(Protocol):
    """A place to execute runs; what makes one takes its options by keyword."""

    def opened(self, folder: Path) -> AbstractContextManager[Execute]:
        """Make sure that the place is there, and return what executes runs inside the block.

        Args:
            folder: the folder below which the runs' folders lie; it may not be there yet.

        Raises:
            ValueError, ImportError, OSError: it cannot be reached, or has no room for a run; one line.
        """


BACKENDS: Registry[Callable[..., Backend]] = Registry(
    "backend",
    {
        "local": "camal_rl.comparison.local:LocalBackend",
        "ray": "camal_rl.comparison.ray_backend:RayBackend",
    },
    group="camal_rl.backends",
)
"""By name what makes them; their keyword arguments are options of ``camal-rl compare``."""


def make_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """Return a backend.

    Args:
        name: its name, or ``package.module:name``.
        options: values by name; ``None`` leaves an option out.

    Raises:
        ValueError: no such backend, an option that it does not have, or a value that it refuses.
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

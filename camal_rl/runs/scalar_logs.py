"""Loggers of training figures besides TensorBoard, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from camal_rl.registry import Registry

TENSORBOARD = "tensorboard"


class ScalarLog:
    """A logger of a run's figures; derive your own logger from this class.

    A resumed run continues from a checkpoint, and figures beyond the checkpoint's step are logged again. A logger must
    remove the earlier ones, or ignore the repetition.

    Args:
        folder: the run's folder, which exists.
        settings: the run's settings, nested plain data.
        step: the step from which training continues; 0 for a new run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        self.folder, self.settings, self.first_step = folder, settings, step

    @classmethod
    def check(cls) -> None:
        """Check, before anything is written, that the logger can be used here.

        Raises:
            ImportError: a package is missing; the message contains the install command.
            ValueError: something else is missing, such as an account.
        """

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write figures by name; one step may come in several calls, and steps never decrease."""
        raise NotImplementedError

    def flush(self) -> None:
        """Make sure that written figures survive the end of this process; called before a checkpoint is written."""

    def close(self) -> None:
        """End logging; called once, whether or not training succeeds."""


LOGGERS: Registry[type[ScalarLog]] = Registry(
    "logger",
    {"csv": "camal_rl.runs.csv_log:CsvLog", "wandb": "camal_rl.runs.wandb_log:WandbLog"},
    group="camal_rl.loggers",
)
"""The loggers by name. TensorBoard's events are always written, since reports read learning curves from them."""


def find_logger(name: str) -> type[ScalarLog]:
    """Return the class of a logger by its name or path.

    Raises:
        ValueError: there is none, or the object is not a logger.
    """
    if name == TENSORBOARD:
        raise ValueError("log.loggers: TensorBoard's events are always written; remove tensorboard from the list")
    try:
        found = LOGGERS.find(name)
    except ValueError as error:
        raise ValueError(f"log.loggers: {error}") from error
    if not isinstance(found, type) or not issubclass(found, ScalarLog):
        raise ValueError(
            f"log.loggers: {name!r} must be a class derived from camal_rl.runs.scalar_logs.ScalarLog, got {found!r}"
        )
    return found


def check_loggers(names: Sequence[str]) -> None:
    """Raise a ValueError for unknown or repeated names of loggers."""
    for name in names:
        find_logger(name)
    if len(set(names)) != len(names):
        raise ValueError(f"log.loggers must name each logger once, got {list(names)}")


def check_usable(names: Sequence[str]) -> None:
    """Raise an ImportError or a ValueError, one line, unless the loggers can be used here."""
    for name in names:
        find_logger(name).check()


@contextmanager
def logging_to(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int
) -> Iterator[dict[str, ScalarLog]]:
    """Open loggers for a block, and close them when it ends; the arguments are those of :class:`ScalarLog`."""
    with ExitStack() as stack:
        logs = {}
        for name in names:
            logs[name] = find_logger(name)(folder, settings, step)
            stack.callback(logs[name].close)
        yield logs

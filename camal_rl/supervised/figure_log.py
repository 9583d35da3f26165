"""Logs the figures of a training on images: TensorBoard's events, by Accelerate, and the configured loggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from camal_rl.runs.scalar_logs import ScalarLog, logging_to
from camal_rl.supervised.accelerator import TENSORBOARD, start_logging

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

    from camal_rl.supervised.trainer import Trainer


class FigureLog:
    """Writes figures in the main process; nothing if the trainer has no folder.

    Args:
        trainer: has the folder and the settings for loggers.
        accelerator: writes TensorBoard's events.
    """

    def __init__(self, trainer: Trainer, accelerator: Accelerator) -> None:
        self.trainer, self.accelerator = trainer, accelerator
        self._logs: Mapping[str, ScalarLog] = {}

    @contextmanager
    def opened(self, step: int) -> Iterator[None]:
        """Open the logs inside the block, starting at a step."""
        start_logging(self.accelerator)
        trainer = self.trainer
        if trainer.folder is None or not self.accelerator.is_main_process:
            yield
            return
        trainer.folder.mkdir(parents=True, exist_ok=True)
        with logging_to(trainer.log.loggers, trainer.folder, _settings(trainer), step) as self._logs:
            yield

    def write(self, metrics: dict[str, float], step: int) -> None:
        """Write the figures of a step."""
        if not metrics:
            return
        if self.accelerator.trackers:
            self.accelerator.log(metrics, step=step)
        for log in self._logs.values():
            log.write(metrics, step)

    def flush(self) -> None:
        """Flush all figures to disk: figures lost with a killed program would leave a gap."""
        if self.accelerator.trackers:
            self.accelerator.get_tracker(TENSORBOARD, unwrap=True).flush()
        for log in self._logs.values():
            log.flush()


def _settings(trainer: Trainer) -> dict[str, Any]:
    """Return the settings for loggers, as nested plain data."""
    sections = {
        "camal": asdict(trainer.camal),
        "optimization": asdict(trainer.optimization),
        "log": asdict(trainer.log),
    }
    return {"model": type(trainer.model).__name__, "seed": trainer.seed, **sections}

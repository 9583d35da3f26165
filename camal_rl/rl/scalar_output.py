"""Connects a run's loggers to Stable-Baselines3's logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from camal_rl.runs.scalar_logs import ScalarLog


class ScalarOutput(KVWriter):
    """Passes the scalars that Stable-Baselines3 dumps to a logger; pictures and hyperparameters are TensorBoard's.

    Args:
        name: the logger's name; what is recorded with ``exclude=name`` is left out.
        log: the logger.
    """

    def __init__(self, name: str, log: ScalarLog) -> None:
        self.name, self.log = name, log

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the figures of one dump."""
        scalars = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number) and self.name not in key_excluded.get(key, ())
        }
        if scalars:
            self.log.write(scalars, step)

    def flush(self) -> None:
        """See that what was written outlives this process."""
        self.log.flush()

    def close(self) -> None:
        """Leave the logger open: it is closed where it was opened."""


class ScalarLogCallback(BaseCallback):
    """Lets the model's logger write to loggers of a run too, by name."""

    def __init__(self, logs: Mapping[str, ScalarLog]) -> None:
        super().__init__()
        self.outputs = [ScalarOutput(name, log) for name, log in logs.items()]

    def _on_training_start(self) -> None:
        for output in self.outputs:
            self.logger.output_formats.append(output)

    def _on_step(self) -> bool:
        return True

"""Logs the figures of a training to Weights & Biases."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camal_rl.atomic import write_text
from camal_rl.extras import install_command
from camal_rl.failures import RunFailure
from camal_rl.runs.scalar_logs import ScalarLog
from camal_rl.runs.settings import flat_settings

FILE_NAME = "wandb.json"
"""In the run folder: the run's id, and the last step whose figures are all in W&B."""
_REMEDY = "log in with `wandb login`, or set WANDB_MODE=offline and send the run later with `wandb sync`"


class WandbLog(ScalarLog):
    """Sends figures to the project of ``WANDB_PROJECT``, by default ``camal-rl``; W&B's other variables apply too.

    The run is named after its folder, in a group named after the parent folder. Local files are in the run's folder.

    W&B cannot remove figures. A resumed training continues the same W&B run and skips the steps that were sent before;
    if resuming is exact, their figures would be the same.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        super().__init__(folder, settings, step)
        import wandb

        self._file = folder / FILE_NAME
        former = _read(self._file) if step else None
        name = folder.resolve()
        try:
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "camal-rl"),
                group=name.parent.name,
                name=name.name,
                id=None if former is None else former["id"],
                resume=None if former is None else "allow",
                dir=str(folder),
                config=flat_settings(dict(settings)),
                settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
            )
        except (wandb.errors.Error, OSError) as error:
            raise RunFailure(f"Weights & Biases: {_error_message(error)}; {_REMEDY}") from error
        self._sent = -1 if former is None else int(former["step"])
        self._present = self._sent
        self._remember()

    @classmethod
    def check(cls) -> None:
        """Check that wandb is installed, and that there is an account unless it is offline."""
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                f"log.loggers: wandb is not installed; install it with: {install_command('wandb')}"
            ) from error
        if os.environ.get("WANDB_MODE", "online") != "online":
            return
        try:
            known = wandb.login()
        except wandb.errors.Error as error:
            raise ValueError(f"log.loggers: Weights & Biases: {_error_message(error)}; {_REMEDY}") from error
        if not known:
            raise ValueError(f"log.loggers: Weights & Biases has no account here; {_REMEDY}")

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Send figures, except for steps that were sent before training was resumed."""
        if step <= self._sent:
            return
        if step > self._present > self._sent:
            self._complete()  # W&B considers a step complete when the next one begins
        self._present = step
        self.run.log(dict(scalars), step=step)

    def flush(self) -> None:
        """Make W&B consider the current step complete."""
        if self._present > self._sent:
            self.run.log({}, commit=True)
            self._complete()

    def close(self) -> None:
        """Wait until everything is sent."""
        self.run.finish()
        self._complete()

    def _complete(self) -> None:
        """Record that W&B has all figures of the current step."""
        self._sent = self._present
        self._remember()

    def _remember(self) -> None:
        write_text(self._file, json.dumps({"id": self.run.id, "step": self._sent}) + "\n")


def _error_message(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _read(file: Path) -> dict[str, Any] | None:
    """Return the content of :data:`FILE_NAME`; ``None``, for a new W&B run, if it is missing or incomplete."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {"id": str(found["id"]), "step": int(found["step"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None

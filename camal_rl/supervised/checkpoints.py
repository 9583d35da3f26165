"""Checkpoints of a training on images: folders that Accelerate fills, written whole or not at all."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from camal_rl.atomic import WriteError, partial_folder, replacing_folder
from camal_rl.runs.folders import CheckpointWarning, DamagedFile, share_files

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]


def read_checkpoint(accelerator: Accelerator, checkpoint: Path) -> None:
    """Take the states that a checkpoint holds; an OSError names one that is missing or damaged."""
    if not checkpoint.is_dir():
        raise FileNotFoundError(f"{checkpoint} is not a folder of a checkpoint")
    try:
        accelerator.load_state(str(checkpoint))
    except Exception as error:  # what a damaged file does to the readers of zip, pickle and torch
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DamagedFile(f"{checkpoint} cannot be read ({told}); remove it to go on from the one before") from error


def write_checkpoint(accelerator: Accelerator, checkpoint: Path) -> None:
    """Write a checkpoint; one that cannot be written does not end training: a warning tells of it."""
    try:
        # Under a launcher every process writes its part into the folder of the main one.
        main = accelerator.is_main_process
        own = replacing_folder(checkpoint) if main else contextlib.nullcontext(partial_folder(checkpoint))
        with own as partial:
            _save_state(accelerator, partial)
    except WriteError as error:
        warnings.warn(f"{error}; training goes on without it", category=CheckpointWarning, stacklevel=2)


def _save_state(accelerator: Accelerator, folder: Path) -> None:
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(folder))
    except Exception as error:
        raise OSError(str(error)) from error  # torch and safetensors have others for a full disk
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        share_files(folder)

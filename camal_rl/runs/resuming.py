"""Checks whether a run can be resumed, and from which checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camal_rl.runs.checkpoints import Checkpoint, newest_checkpoint
from camal_rl.runs.folders import check_new_folder
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.settings import flat_settings
from camal_rl.runs.task import RunConfig

_MOST_NAMED = 5


def checkpoint_to_resume(folder: RunFolder, config: RunConfig, length: str | None = None) -> Checkpoint | None:
    """Return the newest intact checkpoint of an unfinished run; ``None`` means that training starts again.

    Damaged checkpoints are reported with a :class:`camal_rl.runs.folders.CheckpointWarning`.

    Args:
        folder: the run's folder; it may be missing or empty if a run was killed early.
        config: the configuration to resume.
        length: the dotted key of a setting that may be larger than before; ``None`` if there is none.

    Raises:
        FileExistsError: the run is finished, or has another configuration; the line names the settings.
        FileNotFoundError: the folder contains something else, or a finished run left no checkpoint.
        ValueError: the configuration of the run cannot be read.
    """
    check_new_folder(folder.path)
    if folder.is_empty():
        return None
    changed = changed_settings(folder.config(), config)
    grown = drop_growth(changed, length)
    if changed:
        raise FileExistsError(
            f"{folder.path} contains a run of another configuration: {told_settings(changed)}; {_remedy(length)}"
        )
    ended = folder.is_trained()
    if ended and not grown:
        more = "" if length is None else f"; a larger {length} extends it"
        raise FileExistsError(f"the training in {folder.path} is finished; there is nothing to resume{more}")
    checkpoint = newest_checkpoint(folder.checkpoints)
    if checkpoint is None and ended:
        raise FileNotFoundError(f"{folder.path} contains no checkpoint to resume from; train again in another folder")
    # A checkpoint from before the first step contains environments that were reset; resuming would reset them again.
    return checkpoint if checkpoint is not None and checkpoint.step else None


def changed_settings(before: RunConfig, now: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two configurations differ: dotted key to both values.

    ``methods``, the settings of a comparison's other methods, do not affect a run and are left out.
    """
    old, new = flat_settings(before.as_dict()), flat_settings(now.as_dict())
    keys = dict.fromkeys([*old, *new])
    return {
        key: (old.get(key), new.get(key))
        for key in keys
        if old.get(key) != new.get(key) and not key.startswith("methods.")
    }


def drop_growth(changed: dict[str, tuple[Any, Any]], length: str | None) -> bool:
    """Remove the length from changed settings if it has increased; return whether it has."""
    grown = length is not None and length in changed and changed[length][0] < changed[length][1]
    if grown:
        del changed[str(length)]
    return grown


def told_settings(changed: dict[str, tuple[Any, Any]]) -> str:
    """Return changed settings in words."""
    named = [f"{key} is {old!r} there and {new!r} here" for key, (old, new) in list(changed.items())[:_MOST_NAMED]]
    more = len(changed) - len(named)
    return ", ".join(named) + (f", and {more} more" if more else "")


def _remedy(length: str | None) -> str:
    grow = "" if length is None else f"only {length} may change, to a larger value; "
    return f"{grow}give the same settings, or another --run-dir"


def resume_line(folder: Path, step: int) -> str:
    """Return the message on where training continues, or that it starts again without a checkpoint."""
    if step == 0:
        return f"{folder} contains no checkpoint: training begins at step 0"
    return f"training continues from step {step:,} in {folder}"

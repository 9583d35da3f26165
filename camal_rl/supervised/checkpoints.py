"""Checkpoints of a training on images, from which it can be resumed exactly."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from camal_rl.atomic import WriteError
from camal_rl.random_states import own_random_states, random_states, restore_own_random_states, restore_random_states
from camal_rl.runs.checkpoints import Checkpoint, write_checkpoint
from camal_rl.runs.folders import CheckpointWarning, DamagedFile
from camal_rl.supervised.data.listing import RemembersLostMasks
from camal_rl.supervised.divergence import check_parameters

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

    from camal_rl.supervised.trainer import _Run

MODEL, OPTIMIZATION, RANDOM, RUN = "model", "optimization", "random", "run"
"""The parts of a checkpoint."""


class FitCheckpoints:
    """Writes and reads the checkpoints of one call of :meth:`camal_rl.supervised.trainer.Trainer.fit`.

    With a launcher, the main process writes and every process reads. Every process takes part in writing, since the
    checkpoint contains its random states too.

    Args:
        run: the training run.
    """

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.seconds = 0.0
        self.last_step: int | None = None
        self._started = self._written_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training, including before an interruption."""
        return self.seconds + time.monotonic() - self._started

    def asked(self, signal: int | None) -> tuple[int | None, bool]:
        """Return the signal that ends training, if any, and whether a checkpoint is due by ``checkpoint_minutes``.

        All processes of a launcher get the same result.

        Args:
            signal: the signal that this process received; ``None`` if there was none.
        """
        minutes, accelerator = self.run.trainer.log.checkpoint_minutes, self.run.accelerator
        due = minutes > 0 and time.monotonic() - self._written_at >= 60 * minutes
        if accelerator.num_processes == 1:
            return signal, due
        own = torch.tensor([[signal or 0, int(due)]], device=accelerator.device)
        agreed = accelerator.gather(own).amax(dim=0).tolist()
        return agreed[0] or None, bool(agreed[1])

    def write(self) -> None:
        """Write a checkpoint of the current state; if that fails, warn and continue.

        The current state must be between two steps; after the last step of an epoch, its held-out figures must be
        logged already.

        Raises:
            DivergedError: a parameter is NaN or infinite.
        """
        run, folder = self.run, self.run.trainer.folder
        if folder is None or self.last_step == run.step:
            return
        check_parameters(run)  # training cannot continue from non-finite parameters
        states = _of_all_processes(run.accelerator, random_states())
        if run.accelerator.is_main_process:
            self._write(folder / "checkpoints", states)
        run.accelerator.wait_for_everyone()
        self.last_step, self._written_at = run.step, time.monotonic()

    def _write(self, folder: Path, states: list[Any]) -> None:
        run = self.run
        run.figures.flush()
        parts = {
            MODEL: model_state(run.trainer.model),
            OPTIMIZATION: {
                "optimizer": run.optimizer.state_dict(),
                "schedule": run.schedule.state_dict(),
                "scaler": None if run.accelerator.scaler is None else run.accelerator.scaler.state_dict(),
            },
            RANDOM: states,
            RUN: {"seconds": self.elapsed, **_run_state(run)},
        }
        try:
            write_checkpoint(folder, run.step, parts, run.trainer.log.checkpoint_keep)
        except (WriteError, TypeError) as error:
            warnings.warn(f"{error}; training continues without this checkpoint", CheckpointWarning, stacklevel=2)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore model, optimizer, random states and the rest from a checkpoint.

        Raises:
            DamagedFile: the checkpoint belongs to another configuration or version; one line.
        """
        run, parts = self.run, checkpoint.parts
        try:
            restore_model(run.trainer.model, parts[MODEL])
            optimization = parts[OPTIMIZATION]
            run.optimizer.load_state_dict(optimization["optimizer"])
            run.schedule.load_state_dict(optimization["schedule"])
            if run.accelerator.scaler is not None:
                run.accelerator.scaler.load_state_dict(optimization["scaler"])
            self.seconds = float(parts[RUN]["seconds"])
            _restore_run(run, parts[RUN])
            states, processes = parts[RANDOM], run.accelerator.num_processes
            if len(states) != processes:
                raise ValueError(f"it was written by {len(states)} processes, but there are {processes} here")
            restore_random_states(states[run.accelerator.process_index])
        except (KeyError, RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise DamagedFile(_foreign(checkpoint, error)) from error
        run.step = self.last_step = checkpoint.step


def check_checkpoint(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Raise a ValueError, one line, unless a checkpoint is of a training of this model; the model does not change."""
    try:
        if not {OPTIMIZATION, RANDOM, RUN} <= checkpoint.parts.keys():
            raise ValueError(f"it has the parts {sorted(checkpoint.parts)}")
        there = {name: getattr(value, "shape", None) for name, value in checkpoint.parts[MODEL]["state"].items()}
        here = {name: getattr(value, "shape", None) for name, value in model.state_dict().items()}
        if there != here:
            odd = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
            raise ValueError(f"its model is different: {odd[0]} differs")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(_foreign(checkpoint, error)) from error


def model_state(model: nn.Module) -> dict[str, Any]:
    """Return a model's state: parameters, all buffers, its own random generators."""
    state = model.state_dict()
    generators = {name: own_random_states(module) for name, module in model.named_modules()}
    return {
        "state": state,
        "buffers": {name: value for name, value in model.named_buffers() if name not in state},
        "generators": {name: own for name, own in generators.items() if own},
    }


def restore_model(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Restore a result of :func:`model_state`.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: the state belongs to another model.
    """
    model.load_state_dict(state["state"])
    buffers, modules = dict(model.named_buffers()), dict(model.named_modules())
    with torch.no_grad():
        for name, value in state["buffers"].items():
            buffers[name].copy_(value)
    for name, own in state["generators"].items():
        restore_own_random_states(modules[name], own)


def _run_state(run: _Run) -> dict[str, Any]:
    """Return the state of a run besides its step."""
    images, attention = run.trainer.train_set, run.attention
    return {
        "means": run.means.state(),
        "saw_a_mask": run.saw_a_mask,
        "last": run.last,
        "closed_form": None if attention is None else attention.closed_form,
        "lost_masks": images.lost_flags if isinstance(images, RemembersLostMasks) else None,
    }


def _restore_run(run: _Run, state: Mapping[str, Any]) -> None:
    run.means.restore(state["means"], run.accelerator.device)
    run.saw_a_mask, run.last = bool(state["saw_a_mask"]), dict(state["last"])
    if run.attention is not None:
        run.attention.restore_closed_form(state["closed_form"])
    images, lost = run.trainer.train_set, state["lost_masks"]
    if isinstance(images, RemembersLostMasks) and isinstance(lost, Tensor):
        images.lost_flags.copy_(lost)


def _of_all_processes(accelerator: Accelerator, state: Any) -> list[Any]:
    from accelerate.utils import gather_object  # type: ignore[import-untyped]

    return [state] if accelerator.num_processes == 1 else list(gather_object([state]))


def _foreign(checkpoint: Checkpoint, error: Exception) -> str:
    told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"{checkpoint.path} is not a checkpoint of this training ({told})"

"""Detects non-finite numbers in a classifier's training, and saves data to reproduce them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from camal_rl.failures import DivergedError, blame, read_evidence
from camal_rl.module_state import copied_state, non_finite_parameter
from camal_rl.supervised.batches import TrainingBatch

if TYPE_CHECKING:
    from camal_rl.supervised.trainer import Trainer, _Run

# Values above these are unusual.
_ORDINARY = {"learning_rate": 0.1, "weight_decay": 1.0, "max_grad_norm": 100.0}
_ORDINARY_WEIGHT = 10.0


def check_step(run: _Run, batch: TrainingBatch, loss: Tensor, metrics: Mapping[str, Any], norm: Tensor | None) -> None:
    """Raise a :class:`DivergedError` unless a step's loss and gradients are finite; waits for a GPU once.

    In float16, only the loss is checked. Gradients may be infinite: the optimizer then skips the step and lowers its
    scale.

    Args:
        run: the training run.
        batch: the images of the step.
        loss: the loss of the step.
        metrics: terms of the loss by name.
        norm: the norm of the gradients, ``None`` if unknown.
    """
    found = [loss.detach().float()]
    if run.accelerator.scaler is None:
        gradients = [each.grad for each in run.trainer.model.parameters() if each.grad is not None]
        norms = [torch.linalg.vector_norm(each) for each in gradients] if norm is None else [torch.as_tensor(norm)]
        found += [each.float().to(loss.device) for each in norms]
    if bool(torch.stack(found).isfinite().all()):
        return
    terms = {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
    bad = [name.removeprefix("train/") for name, value in terms.items() if not bool(value.isfinite().all())]
    what = "the gradient" if bool(loss.isfinite()) else "the loss"
    raise _diverged(run, what, bad[0] if bad else " + ".join(name.removeprefix("train/") for name in terms), batch)


def check_parameters(run: _Run) -> None:
    """Raise a :class:`DivergedError` unless every parameter is finite."""
    bad = non_finite_parameter(run.trainer.model)
    if bad is not None:
        raise _diverged(run, "a parameter", bad, None)


def _diverged(run: _Run, what: str, term: str, batch: TrainingBatch | None) -> DivergedError:
    settings, weight = run.settings, run.camal.weight_at(run.step / run.steps)
    values = {name: (float(getattr(settings, name)), ordinary) for name, ordinary in _ORDINARY.items()}
    values["camal.weight"] = (weight, _ORDINARY_WEIGHT)
    minibatch = {} if batch is None else {name: value for name, value in batch._asdict().items() if value is not None}
    evidence = {
        "model": copied_state(run.trainer.model),
        "minibatch": {name: value.detach().cpu().clone() for name, value in minibatch.items()},
        "progress": run.step / run.steps,
        "settings": {name: value for name, (value, _) in values.items()},
    }
    return DivergedError(run.step, what, term, blame(values), evidence=evidence)


def replay(trainer: Trainer, path: Path) -> dict[str, float]:
    """Repeat the step of a :class:`DivergedError` from the file that its ``save`` wrote.

    Args:
        trainer: a trainer with the same settings; its model receives the parameters of the file.
        path: the file.

    Returns:
        ``loss``, ``gradient_norm`` and the terms of the loss, as in that step.

    Raises:
        ValueError: the file contains no minibatch.
    """
    from camal_rl.supervised.trainer import _Run

    found = read_evidence(path)
    if not found["minibatch"]:
        raise ValueError(f"{path} contains no minibatch: {found['what']} is not finite ({found['term']}), after a step")
    trainer.model.load_state_dict(found["model"])
    trainer.model.train()
    device = next(trainer.model.parameters()).device
    batch = TrainingBatch(**{"targets": None, **{name: each.to(device) for name, each in found["minibatch"].items()}})
    loss, terms, _ = _Run(trainer).loss_of(batch, found["progress"])
    trainer.model.zero_grad()
    loss.backward()
    gradients = [each.grad for each in trainer.model.parameters() if each.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
    values = {name.removeprefix("train/"): float(torch.as_tensor(each).detach()) for name, each in terms.items()}
    return {**values, "loss": float(loss.detach()), "gradient_norm": float(norm)}

"""The parts of the training loop from Hugging Face: devices, precision, optimizer schedule, logging (Accelerate)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.optim import AdamW, Optimizer

from camal_rl.extras import install_command
from camal_rl.runs.settings import Device
from camal_rl.supervised.config import OptimizationConfig, Precision

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]
TENSORBOARD = "tensorboard"
_MIXED: dict[str, Literal["no", "bf16", "fp16"]] = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def check_supported(device: Device, precision: Precision) -> None:
    """Raise unless training with these settings is possible here.

    Raises:
        ImportError: Accelerate or transformers is missing; the message contains the install command.
        ValueError: CUDA is requested but not available.
    """
    try:
        import accelerate  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        remedy = f"install it with: {install_command('supervised')}"
        raise ImportError(f"training image classifiers needs {error.name}; {remedy}") from error
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise ValueError("device is cuda, but torch finds no CUDA device; use device=cpu or device=auto")
    if precision == "float16" and (not cuda or device == "cpu"):
        raise ValueError("optimization.precision float16 needs CUDA; use bfloat16 or float32")


def settled_precision(device: Device, precision: Precision) -> Precision:
    """Return the precision of training here: ``auto`` is bfloat16 on CUDA if supported, otherwise float32."""
    if precision != "auto":
        return precision
    fast = device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bfloat16" if fast else "float32"


def computing(device: Device, precision: Precision) -> dict[str, str]:
    """Return the actual ``device`` and ``precision`` of training here, for records of a run."""
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    return {"device": place, "precision": settled_precision(device, precision)}


def make_accelerator(device: Device, precision: Precision, seed: int, folder: Path | None) -> Accelerator:
    """Return an accelerator for which the order of the images depends only on ``seed`` and the epoch.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: see :func:`settled_precision`.
        seed: seed of the order of the images.
        folder: TensorBoard writes into its subfolder ``tensorboard``, see :func:`start_logging`; ``None`` writes none.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
    from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration  # type: ignore[import-untyped]

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        # Accelerate keeps its first settings for the life of the process, and refuses others.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=_MIXED[settled_precision(device, precision)],
        cpu=device == "cpu",
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=seed),
        log_with=None if folder is None else TENSORBOARD,
        project_config=None if folder is None else ProjectConfiguration(str(folder), logging_dir=str(folder)),
    )


def start_logging(accelerator: Accelerator) -> None:
    """Open TensorBoard's file, if the accelerator has a folder."""
    if accelerator.log_with:
        accelerator.init_trackers(TENSORBOARD)


def make_optimizer(parameters: Any, settings: OptimizationConfig) -> AdamW:
    """Return AdamW for the parameters that require gradients."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter that requires gradients; there is nothing to train")
    return AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def make_schedule(optimizer: Optimizer, settings: OptimizationConfig, steps: int) -> Any:
    """Return a schedule of ``steps`` steps: a linear warm-up, then a cosine decay to 0."""
    from transformers import get_cosine_schedule_with_warmup

    return get_cosine_schedule_with_warmup(optimizer, round(settings.warmup_fraction * steps), steps)

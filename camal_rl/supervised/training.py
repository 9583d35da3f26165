"""Trains one run on images: checks everything first, then writes a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from camal_rl.atomic import replacing
from camal_rl.failures import DivergedError
from camal_rl.module_state import non_finite_parameter
from camal_rl.runs.checkpoints import Checkpoint
from camal_rl.runs.folders import sha256_of, share_file
from camal_rl.runs.json_files import MODEL_SUM, write_record
from camal_rl.runs.resuming import checkpoint_to_resume
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised.accelerator import check_supported, computing
from camal_rl.supervised.cam_classifier import remember_maps
from camal_rl.supervised.checkpoints import check_checkpoint
from camal_rl.supervised.config import SupervisedConfig, supervised_config
from camal_rl.supervised.data.samples import BadImageFile, ImageSet
from camal_rl.supervised.divergence import replay
from camal_rl.supervised.trainer import OnStep, Trainer

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Trial:
    """A run that is ready to start: images and model exist, nothing is on disk yet.

    Attributes:
        config: the configuration.
        folder: where the run will be written.
        trainer: the trainer with the untrained model.
        checkpoint: the checkpoint to resume from; ``None`` starts a new training.
        replaces: whether the folder may contain an interrupted run.
    """

    config: SupervisedConfig
    folder: RunFolder
    trainer: Trainer
    checkpoint: Checkpoint | None = None
    replaces: bool = False

    @property
    def step(self) -> int:
        """The step from which training continues; 0 for a new run."""
        return 0 if self.checkpoint is None else self.checkpoint.step

    def close(self) -> None:
        """Do nothing: images and model have no open resources."""


def prepare(config: SupervisedConfig, folder: RunFolder, resume: bool = False) -> Trial:
    """Create images and model, so that mistakes in the configuration are found before anything is written.

    Args:
        config: the configuration.
        folder: where the run will be written.
        resume: continue from the folder's newest intact checkpoint; without one, start again.

    Raises:
        FileExistsError: the run folder exists and is not empty; or, when resuming, its training is finished, or it has
            another configuration.
        ImportError: an extra is not installed; the message contains the install command.
        ValueError, TypeError: the data, the model or the trainer refuses a value, or the checkpoint belongs to another
            run.
    """
    checkpoint = checkpoint_to_resume(folder, config) if resume else None
    if not resume:
        folder.check_free()
    check_supported(config.device, config.optimization.precision)
    if config.threads:
        torch.set_num_threads(config.threads)
    sets = make_sets(config)
    trainer = _make_trainer(config, sets, folder.path)
    if checkpoint is not None:
        check_checkpoint(checkpoint, trainer.model)
    return Trial(config, folder, trainer, checkpoint, resume)


def _make_trainer(config: SupervisedConfig, sets: Mapping[str, ImageSet], folder: Path | None) -> Trainer:
    return Trainer(
        make_model(config, sets["train"]),
        sets["train"],
        sets[config.evaluation.sets[-1]],
        camal=config.camal,
        optimization=config.optimization,
        log=config.log,
        layer=config.model.cam_layer,
        seed=config.seed,
        device=config.device,
        folder=folder,
    )


def replay_run(folder: RunFolder) -> dict[str, float]:
    """Repeat the step at which a run diverged, see :func:`camal_rl.supervised.divergence.replay`.

    Raises:
        FileNotFoundError: the folder contains no ``diverged.pt``.
    """
    if not folder.diverged_file.is_file():
        raise FileNotFoundError(f"{folder.path} contains no {folder.diverged_file.name}; did its training diverge?")
    config = supervised_config(folder.config())
    return replay(_make_trainer(config, make_sets(config), None), folder.diverged_file)


def run(
    trial: Trial, command: Sequence[str], progress: bool = False, on_step: OnStep = lambda _, __: None
) -> dict[str, Any]:
    """Train and write the run folder; return the content of ``train.json``, see :meth:`Trainer.fit`.

    Ctrl-C and SIGTERM end training early: the current step is finished, a checkpoint and the model are saved, and
    ``train.json`` records the interruption and its signal. A second signal ends the program at once.

    Raises:
        BadImageFile: an image or mask cannot be used; a new run folder is removed, unless it contains a checkpoint.
        FolderInUse: another training writes into the folder.
        WriteError: the disk is full, or the folder is no longer writable.
        DivergedError: numbers are not finite; checkpoints are kept, and ``diverged.pt`` reproduces the step.
    """
    with trial.folder.writing():
        return _run(trial, command, progress, on_step)


def _run(trial: Trial, command: Sequence[str], progress: bool, on_step: OnStep) -> dict[str, Any]:
    here = computing(trial.config.device, trial.config.optimization.precision)
    if trial.replaces:
        trial.folder.recreate(trial.config, command, here, trial.step)
    else:
        trial.folder.create(trial.config, command, here)
    try:
        summary = trial.trainer.fit(trial.checkpoint, progress, on_step)
    except BadImageFile:
        if trial.checkpoint is None and not trial.folder.checkpoints.exists():
            shutil.rmtree(trial.folder.path)
        raise
    except DivergedError as error:
        error.save(trial.folder.diverged_file)
        raise
    save_classifier(trial.trainer.model, trial.folder.weights_file)
    summary = {**summary, MODEL_SUM: sha256_of(trial.folder.weights_file)}
    write_record(trial.folder.train_file, summary)
    return summary


def save_classifier(model: nn.Module, path: Path) -> None:
    """Write a model's weights atomically, replacing an earlier file.

    Raises:
        WriteError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    with replacing(path) as partial:
        try:
            save_model(model, str(partial))
        except SafetensorError as error:
            raise OSError(str(error)) from error
        share_file(partial)


def make_sets(config: SupervisedConfig) -> Mapping[str, ImageSet]:
    """Return the image sets of a configuration by name, ``train`` among them.

    Raises:
        ValueError: a requested set does not exist.
    """
    from camal_rl.supervised.data.registry import image_sets

    data = config.data
    sets = image_sets(
        data.name,
        root=data.root,
        image_size=data.image_size,
        seed=data.seed,
        mask_fraction=data.mask_fraction,
        mask_change=data.mask_change,
        mask_amount=data.mask_amount,
        augment=data.augment,
        **data.options,
    )
    for name in ("train", *config.evaluation.sets):
        if name not in sets:
            raise ValueError(f"{data.name} has no set {name!r}; evaluation.sets can name {', '.join(sets)}")
    return sets


def make_model(config: SupervisedConfig, train_set: ImageSet) -> nn.Module:
    """Return the untrained model of a configuration; the caller's random state does not change."""
    from camal_rl.supervised.models import build_model

    with torch.random.fork_rng([]):
        torch.manual_seed(config.seed)
        classes, size = len(train_set.classes), config.data.image_size
        return build_model(config.model.name, classes, size, **config.model.options)


def load_classifier(folder: RunFolder, config: SupervisedConfig, train_set: ImageSet) -> nn.Module:
    """Return a run's trained model in evaluation mode, on the run's device if available.

    By default its maps are those of training (``model.camal``, ``model.cam_layer``).

    Raises:
        FileNotFoundError: the run has no model.
        ValueError: the weights are damaged, or belong to another model; one line that names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    folder.check_model(folder.weights_file)
    model = make_model(config, train_set)
    try:
        load_model(model, str(folder.weights_file))
    except RuntimeError as error:
        raise ValueError(
            f"{folder.weights_file} does not contain the weights of the model in {folder.config_file}: it has another "
            "version or configuration; train it again"
        ) from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, MemoryError) as error:
        told = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{folder.weights_file} cannot be read as weights ({told}); restore it from a copy, or train it again"
        ) from error
    if (bad := non_finite_parameter(model)) is not None:
        raise ValueError(f"{folder.weights_file} contains non-finite weights, including {bad}; train it again")
    remember_maps(model, config.camal, config.model.cam_layer)
    cuda = config.device != "cpu" and torch.cuda.is_available()
    return model.to("cuda" if cuda else "cpu").eval()

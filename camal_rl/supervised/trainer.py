"""Trains an image classifier with the CAMAL term; Accelerate carries devices, precision and checkpoints."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from camal_rl.attention import normalize_cam, zero_maps
from camal_rl.losses import attention_loss
from camal_rl.runs.settings import Device
from camal_rl.supervised.accelerator import (
    check_supported,
    make_accelerator,
    make_optimizer,
    make_schedule,
    start_logging,
)
from camal_rl.supervised.batches import (
    TrainingBatch,
    TrainingCollate,
    check_batch_size,
    check_training_set,
    evenly_spaced_indices,
    load_batch,
    to_unit_range,
)
from camal_rl.supervised.cam_classifier import CamClassifier, remember_maps
from camal_rl.supervised.checkpoints import read_checkpoint, write_checkpoint
from camal_rl.supervised.config import CamalConfig, LogConfig, OptimizationConfig
from camal_rl.supervised.data.listing import lost_masks, lost_masks_line
from camal_rl.supervised.data.samples import BadImageFile, ImageSet, UnusedDataWarning
from camal_rl.supervised.divergence import check_parameters, check_step
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.model_protocols import HasCustomLosses
from camal_rl.supervised.training_log import HeldOutLog, StepMeans
from camal_rl.targets import target_tensor

Metrics = dict[str, Tensor | float]
OnStep = Callable[[int, int], None]
"""Called after each step with the number of steps that are done and that of all."""


@dataclass
class Progress:
    """How far training is: what a checkpoint holds beside the states of model, optimizer and schedule."""

    epoch: int = 0
    step: int = 0

    def state_dict(self) -> dict[str, int]:
        """Return what Accelerate stores."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take what Accelerate has stored."""
        self.epoch, self.step = state["epoch"], state["step"]


class Trainer:
    """Cross-entropy, or the model's own losses, plus ``weight(t) * attention loss`` over the images with a mask.

    With weight 0 no map is made, and training is the plain loop, bit for bit. At inference nothing changes; the model
    remembers which maps it was trained with (``model.camal``, ``model.cam_layer``).

    Args:
        model: a classifier: logits ``(B, K)`` for images ``(B, 3, H, W)`` in [0, 1]; trained in place.
        train_set: the training images (:class:`camal_rl.supervised.data.samples.ImageSet`).
        held_out: images whose accuracy and alignment are logged after every epoch.
        camal: what is supervised, and how strongly.
        optimization: how the model is trained.
        log: what is written while training runs.
        layer: name of the CAM layer; by default ``model.cam_layer``.
        seed: of the order of the images, and of what the model draws in training. The caller's random state stays.
        device: ``auto``, ``cpu`` or ``cuda``.
        folder: where TensorBoard's events and checkpoints go; ``None`` writes nothing.

    Raises:
        ImportError: Accelerate is missing; the message holds the install line.
        TypeError, ValueError: a set without masks, an unknown layer, a layer without a map, a score that does not
            depend on the layer, a device or precision that is not there.
    """

    def __init__(
        self,
        model: nn.Module,
        train_set: ImageSet,
        held_out: ImageSet | None = None,
        *,
        camal: CamalConfig | None = None,
        optimization: OptimizationConfig | None = None,
        log: LogConfig | None = None,
        layer: str | None = None,
        seed: int = 0,
        device: Device = "auto",
        folder: Path | None = None,
    ) -> None:
        self.model, self.train_set, self.held_out = model, train_set, held_out
        self.camal = CamalConfig() if camal is None else camal
        self.optimization = OptimizationConfig() if optimization is None else optimization
        self.log = LogConfig() if log is None else log
        self.seed, self.device, self.folder = seed, device, folder
        check_supported(device, self.optimization.precision)
        check_training_set(train_set, needs_masks=self.camal.weight > 0)
        check_batch_size(train_set, self.optimization.batch_size)
        self.attention: CamClassifier | None = None
        if self.camal.weight > 0 or layer is not None or getattr(model, "cam_layer", None) is not None:
            example = to_unit_range(load_batch(train_set, evenly_spaced_indices(train_set, 4)).images)
            device_now = next(model.parameters()).device
            self.attention = CamClassifier(
                model, example.to(device_now), layer, strict=self.camal.weight > 0, camal=self.camal
            )
            remember_maps(model, self.camal, self.attention.layer)

    def fit(
        self, resume: Path | None = None, progress: bool = False, on_step: OnStep = lambda _, __: None
    ) -> dict[str, Any]:
        """Train the model.

        Ctrl-C ends training early and leaves the model as it is by then.

        Args:
            resume: a checkpoint's folder; training goes on as if it had never stopped.
            progress: show a progress bar.
            on_step: called after each step.

        Returns:
            ``interrupted``, ``timesteps`` (optimizer steps), ``epochs``, ``images``, ``seconds``, ``steps_per_second``,
            ``closed_form`` (whether the maps were a product of weights), ``lost_masks`` (training masks that were too
            small for the image size), and the last held-out metrics as ``last``.

        Raises:
            BadImageFile: an image or mask that cannot be used; no mask of the first epoch is left at the image size.
            DivergedError: a loss, a gradient or a parameter is NaN or infinite; the model keeps the last finite ones.
        """
        cuda = list(range(torch.cuda.device_count())) if self.device != "cpu" else []
        with torch.random.fork_rng(cuda):
            torch.manual_seed(self.seed)
            run = _Run(self)
            if resume is not None:
                read_checkpoint(run.accelerator, resume)
            return run.train(progress, on_step)


class _Run:
    """One call of :meth:`Trainer.fit`: everything that Accelerate has prepared."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.settings, self.camal = trainer, trainer.optimization, trainer.camal
        self.attention = trainer.attention
        self.loss = attention_loss(trainer.camal.loss)
        self.accelerator = make_accelerator(trainer.device, self.settings.precision, trainer.seed, trainer.folder)
        if isinstance(trainer.model, HasCustomLosses) and self.accelerator.num_processes > 1:
            raise ValueError("a model with losses of its own trains in one process; start it without a launcher")
        loader = self._loader()
        optimizer = make_optimizer(trainer.model.parameters(), self.settings)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(trainer.model, optimizer, loader)
        self.epochs, self.steps = self._length()
        # Accelerate steps a schedule once for every process.
        schedule = make_schedule(optimizer, self.settings, self.steps * self.accelerator.num_processes)
        self.schedule = self.accelerator.prepare(schedule)
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.progress)
        self.means = StepMeans()
        self.saw_a_mask = False
        self.held_out = HeldOutLog(trainer.held_out, trainer.model, self.attention, self.camal, trainer.log)

    def _loader(self) -> DataLoader[Any]:
        images, size = self.trainer.train_set, self.settings.batch_size
        grid = self.attention.grid if self.attention is not None and self.camal.weight > 0 else None
        return DataLoader(
            images,  # type: ignore[arg-type]
            batch_size=min(size, len(images)),
            shuffle=True,
            collate_fn=TrainingCollate(grid, self.camal.coverage),
            num_workers=self.settings.workers,
            # A short last batch would weigh its images more than the others.
            drop_last=True,
            generator=torch.Generator().manual_seed(self.trainer.seed),
        )

    def _length(self) -> tuple[int, int]:
        """Return the numbers of epochs and of steps."""
        per_epoch = len(self.loader)
        steps = self.settings.epochs * per_epoch if self.settings.steps is None else self.settings.steps
        return -(-steps // per_epoch), steps

    def train(self, shown: bool, on_step: OnStep) -> dict[str, Any]:
        """Train to the end."""
        started, first, first_epoch = time.perf_counter(), self.progress.step, self.progress.epoch
        interrupted = False
        start_logging(self.accelerator, first)
        metrics = self.held_out.metrics()
        if not first:
            self.held_out.draw(self.accelerator, first)
            self._write(metrics)
        bar = tqdm(total=self.steps, initial=first, disable=not shown, desc="training", unit="step")
        self.model.train()
        try:
            for epoch in range(self.progress.epoch, self.epochs):
                self._epoch(epoch, bar, on_step)
                if epoch == first_epoch:
                    self._tell_lost_masks()
                metrics = self.held_out.metrics()
                self._write(metrics)
                bar.set_postfix({name: f"{value:.3f}" for name, value in metrics.items()}, refresh=False)
                self._checkpoint()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            bar.close()
            self._unwrap()
        seconds = time.perf_counter() - started
        self.held_out.draw(self.accelerator, self.progress.step)
        self.accelerator.end_training()
        return self._summary(interrupted, seconds, self.progress.step - first, metrics)

    def _unwrap(self) -> None:
        """Undo what mixed precision has done to the model's forward function."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        vars(self.trainer.model).pop("forward", None)

    def _epoch(self, epoch: int, bar: Any, on_step: OnStep) -> None:
        self.loader.set_epoch(epoch)
        for batch in self.loader:
            if self.progress.step == self.steps:
                break
            self.saw_a_mask |= batch.targets is not None
            self.means.add(self._step(batch))
            self.progress.step += 1
            every = self.trainer.log.every
            if every and self.progress.step % every == 0:
                self._write(self.means.take())
            bar.update()
            on_step(self.progress.step, self.steps)
        check_parameters(self)
        self.progress.epoch = epoch + 1

    def _tell_lost_masks(self) -> None:
        """Warn of masks that were too small for the image size; without any other there is nothing to supervise."""
        line = lost_masks_line(self.trainer.train_set)
        if line is None or self.camal.weight == 0:
            return
        if not self.saw_a_mask:
            raise BadImageFile(f"camal.weight above 0 needs masks, but of the training images {line}")
        warnings.warn(f"of the training images {line}", category=UnusedDataWarning, stacklevel=2)

    def _step(self, batch: TrainingBatch) -> Metrics:
        """Take one step and return its metrics."""
        progress = self.progress.step / self.steps
        loss, metrics, logits = self.loss_of(batch, progress)
        self.accelerator.backward(loss)
        norm = None
        if self.settings.max_grad_norm:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        check_step(self, batch, loss, metrics, norm)
        self.optimizer.step()
        metrics["train/learning_rate"] = self.schedule.get_last_lr()[0]
        self.schedule.step()
        self.optimizer.zero_grad()
        accuracy = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        weight = self.camal.weight_at(progress)
        return {**metrics, "train/loss": loss, "train/accuracy": accuracy, "camal/weight": weight}

    def loss_of(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, Metrics, Tensor]:
        """Return the loss of a batch, its terms by name, and the logits.

        Args:
            batch: the images.
            progress: the share of training that is done, in [0, 1].
        """
        images, labels = to_unit_range(batch.images), batch.labels
        weight = self.camal.weight_at(progress)
        looks = weight > 0 and batch.targets is not None and self.attention is not None
        with contextlib.ExitStack() as stack:
            found = stack.enter_context(self.attention.capture()) if looks and self.attention is not None else []
            logits, losses = self._predict(images, labels, progress)
        loss = torch.stack(list(losses.values())).sum() if len(losses) > 1 else next(iter(losses.values()))
        metrics: Metrics = {f"train/{name}": value for name, value in losses.items()}
        if looks and self.attention is not None and batch.targets is not None:
            cam = self.attention.training_map(self.attention.one(found), logits, labels, self.camal)
            term, parts = self._camal_loss(cam, batch.targets)
            loss = loss + weight * term
            metrics.update(parts)
        return loss, metrics, logits

    def _predict(self, images: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits and losses by name."""
        model = self.trainer.model
        if isinstance(model, HasCustomLosses):
            with self.accelerator.autocast():
                own = model.training_losses(images, labels, progress)
            return own.logits, own.losses
        logits = logits_of(self.model(images))
        return logits, {"cross_entropy": functional.cross_entropy(logits, labels)}

    def _camal_loss(self, cam: Tensor, targets: Tensor) -> tuple[Tensor, Metrics]:
        parts = self.loss(normalize_cam(cam), target_tensor(targets))
        term = self.camal.inside_weight * parts.inside + parts.outside
        return term, {
            "camal/loss": term,
            "camal/inside": parts.inside,
            "camal/outside": parts.outside,
            "camal/valid_fraction": parts.valid_fraction,
            "camal/zero_maps": zero_maps(cam.detach()).float().mean(),
        }

    def _write(self, metrics: dict[str, float]) -> None:
        if metrics and self.accelerator.trackers:
            self.accelerator.log(metrics, step=self.progress.step)

    def _checkpoint(self) -> None:
        every, folder = self.trainer.log.checkpoint_every, self.trainer.folder
        if every and folder is not None and self.progress.epoch % every == 0:
            write_checkpoint(self.accelerator, folder / "checkpoints" / f"epoch-{self.progress.epoch}")

    def _summary(self, interrupted: bool, seconds: float, steps: int, last: dict[str, float]) -> dict[str, Any]:
        return {
            "interrupted": interrupted,
            "timesteps": self.progress.step,
            "epochs": self.progress.epoch,
            "images": steps * min(self.settings.batch_size, len(self.trainer.train_set)),
            "seconds": seconds,
            "steps_per_second": steps / seconds,
            "closed_form": None if self.attention is None else self.attention.closed_form,
            "lost_masks": lost_masks(self.trainer.train_set),
            "last": last,
        }

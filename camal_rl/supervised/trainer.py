"""Trains an image classifier with the CAMAL term; Accelerate handles devices and precision."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from camal_rl.attention import normalize_cam, zero_maps
from camal_rl.losses import attention_loss
from camal_rl.random_states import random_states_kept
from camal_rl.runs.checkpoints import Checkpoint
from camal_rl.runs.scalar_logs import check_usable
from camal_rl.runs.settings import Device
from camal_rl.runs.stopping import StopRequest, stopping
from camal_rl.supervised.accelerator import check_supported, make_accelerator, make_optimizer, make_schedule
from camal_rl.supervised.batches import (
    TrainingBatch,
    TrainingCollate,
    check_batch_size,
    check_training_set,
    evenly_spaced_indices,
    leave_signals_to_the_main_process,
    load_batch,
    to_unit_range,
)
from camal_rl.supervised.cam_classifier import CamClassifier, remember_maps
from camal_rl.supervised.checkpoints import FitCheckpoints
from camal_rl.supervised.config import CamalConfig, LogConfig, OptimizationConfig
from camal_rl.supervised.data.listing import lost_masks, lost_masks_line
from camal_rl.supervised.data.samples import BadImageFile, ImageSet, UnusedDataWarning, VariesByEpoch
from camal_rl.supervised.divergence import check_parameters, check_step
from camal_rl.supervised.figure_log import FigureLog
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.model_protocols import HasCustomLosses
from camal_rl.supervised.training_log import HeldOutLog, StepMeans
from camal_rl.targets import target_tensor

Metrics = dict[str, Tensor | float]
OnStep = Callable[[int, int], None]
"""Called after each step with the numbers of finished and of all steps."""


class Trainer:
    """Cross-entropy, or the model's own losses, plus ``weight(t) * attention loss`` over the images with a mask.

    With weight 0 no map is computed, and training is bit-identical to the plain loop. Inference does not change; the
    model stores the definition of its training maps (``model.camal``, ``model.cam_layer``).

    Args:
        model: a classifier: returns logits ``(B, K)`` for images ``(B, 3, H, W)`` in [0, 1]; trained in place.
        train_set: the training images (:class:`camal_rl.supervised.data.samples.ImageSet`).
        held_out: images whose accuracy and alignment are logged after every epoch.
        camal: settings of the CAMAL term.
        optimization: settings of the optimization.
        log: what is written during training.
        layer: name of the CAM layer; by default ``model.cam_layer``.
        seed: seed of the order of the images, and of the model's random numbers in training. The caller's random state
            does not change.
        device: ``auto``, ``cpu`` or ``cuda``.
        folder: folder for TensorBoard's events and checkpoints; ``None`` writes nothing.

    Raises:
        ImportError: Accelerate is missing; the message contains the install command.
        TypeError, ValueError: the set has no masks, the layer is unknown or gives no map, the score does not depend on
            the layer, or the device or precision is not available.
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
        check_usable(() if folder is None else self.log.loggers)
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
        self, resume: Checkpoint | None = None, progress: bool = False, on_step: OnStep = lambda _, __: None
    ) -> dict[str, Any]:
        """Train the model.

        Ctrl-C and SIGTERM end training early: the current step is finished, a checkpoint is written, and the model
        keeps its state at that time. A second signal ends the program at once.

        Args:
            resume: from :func:`camal_rl.runs.checkpoints.read_checkpoint`; training continues as if it had not been
                interrupted.
            progress: show a progress bar.
            on_step: called after each step.

        Returns:
            ``interrupted``, ``signal`` (its number, if one ended training), ``timesteps`` (optimizer steps),
            ``epochs``, ``images``, ``seconds``, ``steps_per_second``: over the whole training, including before it was
                resumed; ``closed_form`` (whether maps used the closed form), ``lost_masks`` (training masks that were
            too small for the image size), and the last held-out metrics as ``last``.

        Raises:
            BadImageFile: an image or mask cannot be used, or no mask of the first epoch is left at the image size.
            DamagedFile: the checkpoint belongs to another training.
            DivergedError: a loss, a gradient or a parameter is NaN or infinite; the model keeps the last finite ones.
        """
        with random_states_kept():
            torch.manual_seed(self.seed)
            run = _Run(self)
            if resume is not None:
                run.checkpoints.restore(resume)
            return run.train(progress, on_step)


class _Run:
    """The state of one call of :meth:`Trainer.fit`: everything that Accelerate has prepared, and the progress."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.settings, self.camal = trainer, trainer.optimization, trainer.camal
        self.attention = trainer.attention
        self.loss = attention_loss(trainer.camal.loss)
        self.accelerator = make_accelerator(trainer.device, self.settings.precision, trainer.seed, trainer.folder)
        if isinstance(trainer.model, HasCustomLosses) and self.accelerator.num_processes > 1:
            raise ValueError("a model with its own losses must be trained in one process; start it without a launcher")
        self.order = torch.Generator().manual_seed(trainer.seed)
        loader = self._loader()
        optimizer = make_optimizer(trainer.model.parameters(), self.settings)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(trainer.model, optimizer, loader)
        self.steps_per_epoch = len(self.loader)
        self.steps = self.settings.steps or self.settings.epochs * self.steps_per_epoch
        # Accelerate steps a schedule once per process.
        schedule = make_schedule(optimizer, self.settings, self.steps * self.accelerator.num_processes)
        self.schedule = self.accelerator.prepare(schedule)
        self.step = 0
        self.means = StepMeans()
        self.last: dict[str, float] = {}
        self.saw_a_mask = False
        self.held_out = HeldOutLog(trainer.held_out, trainer.model, self.attention, self.camal, trainer.log)
        self.figures = FigureLog(trainer, self.accelerator)
        self.checkpoints = FitCheckpoints(self)

    def _loader(self) -> DataLoader[Any]:
        images, size = self.trainer.train_set, self.settings.batch_size
        grid = self.attention.grid if self.attention is not None and self.camal.weight > 0 else None
        return DataLoader(
            images,  # type: ignore[arg-type]
            batch_size=min(size, len(images)),
            shuffle=True,
            collate_fn=TrainingCollate(grid, self.camal.coverage),
            num_workers=self.settings.workers,
            worker_init_fn=leave_signals_to_the_main_process,
            # A short last batch would give its images a larger weight.
            drop_last=True,
            generator=self.order,
        )

    def train(self, shown: bool, on_step: OnStep) -> dict[str, Any]:
        """Train to the end or until a signal."""
        with self.figures.opened(self.step):
            return self._train(shown, on_step)

    def _train(self, shown: bool, on_step: OnStep) -> dict[str, Any]:
        first, signal = self.step, None
        if not first:
            self.last = self.held_out.metrics()
            self.held_out.draw(self.accelerator, first)
            self.figures.write(self.last, self.step)
        bar = tqdm(total=self.steps, initial=first, disable=not shown, desc="training", unit="step")
        self.model.train()
        with stopping() as request:
            try:
                while self.step < self.steps and signal is None:
                    signal = self._epoch(request, bar, on_step)
            except KeyboardInterrupt:  # raised by a callback; without a checkpoint
                signal = SIGINT
            finally:
                bar.close()
                self._unwrap()
            ended = self.step == self.steps
            if ended and first < self.steps:
                self.held_out.draw(self.accelerator, self.step)
            if ended and self.trainer.log.writes_checkpoints:
                self.checkpoints.write()
        self.accelerator.end_training()
        return self._summary(None if ended else signal)

    def _unwrap(self) -> None:
        """Undo the changes by mixed precision to the model's forward function."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        vars(self.trainer.model).pop("forward", None)

    def _epoch(self, request: StopRequest, bar: Any, on_step: OnStep) -> int | None:
        """Train to the end of the current epoch or until a signal; return the signal's number."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        signal, due = None, False
        for batch in self._batches(epoch, done):
            if self.step == self.steps:
                break
            self.saw_a_mask |= batch.targets is not None
            self.means.add(self._step(batch))
            self.step += 1
            every = self.trainer.log.every
            if every and self.step % every == 0:
                self.figures.write(self.means.take(), self.step)
            bar.update()
            on_step(self.step, self.steps)
            signal, due = self.checkpoints.asked(request.signal)
            if (signal or due) and self.step % self.steps_per_epoch and self.step < self.steps:
                self.checkpoints.write()
                if signal:
                    return signal
        self._end_epoch(bar, is_first=epoch == 0)
        by_epochs = self.trainer.log.checkpoint_every
        if self.step < self.steps and (signal or due or (by_epochs and (epoch + 1) % by_epochs == 0)):
            self.checkpoints.write()
        return signal

    def _batches(self, epoch: int, done: int) -> Iterator[TrainingBatch]:
        """Return the batches of an epoch, in the order of seed and epoch, without the first ``done``."""
        from accelerate import skip_first_batches  # type: ignore[import-untyped]

        # The seeds of worker processes depend only on this seed, too.
        self.order.manual_seed(self.trainer.seed + epoch)
        self.loader.set_epoch(epoch)
        if isinstance(self.trainer.train_set, VariesByEpoch):
            self.trainer.train_set.set_epoch(epoch)
        return iter(skip_first_batches(self.loader, done) if done else self.loader)

    def _end_epoch(self, bar: Any, is_first: bool) -> None:
        check_parameters(self)
        if is_first:
            self._tell_lost_masks()
        self.last = self.held_out.metrics()
        self.figures.write(self.last, self.step)
        bar.set_postfix({name: f"{value:.3f}" for name, value in self.last.items()}, refresh=False)

    def _tell_lost_masks(self) -> None:
        """Warn of masks that were too small for the image size; raise an error if no others exist."""
        line = lost_masks_line(self.trainer.train_set)
        if line is None or self.camal.weight == 0:
            return
        if not self.saw_a_mask:
            raise BadImageFile(f"camal.weight above 0 needs masks, but of the training images {line}")
        warnings.warn(f"of the training images {line}", category=UnusedDataWarning, stacklevel=2)

    def _step(self, batch: TrainingBatch) -> Metrics:
        """Take one step and return its metrics."""
        progress = self.step / self.steps
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
            progress: the finished share of training in [0, 1].
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

    def _summary(self, signal: int | None) -> dict[str, Any]:
        seconds, whole = self.checkpoints.elapsed, self.step == self.steps
        return {
            "interrupted": not whole,
            "signal": signal,
            "timesteps": self.step,
            "epochs": -(-self.step // self.steps_per_epoch) if whole else self.step // self.steps_per_epoch,
            "images": self.step * min(self.settings.batch_size, len(self.trainer.train_set)),
            "seconds": seconds,
            "steps_per_second": self.step / seconds,
            "closed_form": None if self.attention is None else self.attention.closed_form,
            "lost_masks": lost_masks(self.trainer.train_set),
            "last": self.last,
        }

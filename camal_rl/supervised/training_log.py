"""TensorBoard logs of a training run: means over steps, metrics and pictures of held-out images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from camal_rl.attention import normalize_cam
from camal_rl.metrics.alignment import energy_pointing_game, iou
from camal_rl.overlays import attention_sheet
from camal_rl.supervised.accelerator import TENSORBOARD
from camal_rl.supervised.batches import evenly_spaced_indices, load_batch, mask_targets, to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, LogConfig
from camal_rl.supervised.data.samples import ImageSet
from camal_rl.supervised.logits import logits_of
from camal_rl.targets import marked_pixels, target_tensor
from camal_rl.training_modes import evaluating

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]
ACCURACY, EPG, IOU = "held_out/accuracy", "camal/class/epg", "camal/class/iou"


class StepMeans:
    """Means of metrics over the steps since they were last taken; figures are fetched from a GPU only then."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add the metrics of one step; tensors are scalars."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + (value.detach().float() if isinstance(value, Tensor) else value)
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """Return the means and reset them."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def state(self) -> dict[str, Any]:
        """Return what was added since the means were last taken."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore the result of :meth:`state`; tensors are moved to the device."""
        self._sums.update({name: _on(value, device) for name, value in state["sums"].items()})
        self._counts.update(state["counts"])


class HeldOutLog:
    """Accuracy and alignment on fixed held-out images; the model's random state and training modes do not change.

    Args:
        images: the held-out set; ``None`` logs nothing.
        model: the classifier.
        attention: its maps; ``None`` logs only accuracy.
        camal: defines the maps.
        log: the numbers of images.
    """

    def __init__(
        self,
        images: ImageSet | None,
        model: nn.Module,
        attention: CamClassifier | None,
        camal: CamalConfig,
        log: LogConfig,
    ) -> None:
        self.model, self.attention, self.camal, self.overlays = model, attention, camal, log.overlays
        wanted = images is not None and log.images > 0
        self.batch = (
            load_batch(images, evenly_spaced_indices(images, log.images)) if wanted and images is not None else None
        )

    def metrics(self) -> dict[str, float]:
        """Return accuracy, and the mean EPG and IoU of the maps against the masks on the maps' grid."""
        if self.batch is None:
            return {}
        device = next(self.model.parameters()).device
        labels = self.batch.labels.to(device)
        if self.attention is None:
            with evaluating(self.model), torch.no_grad():
                logits = logits_of(self.model(to_unit_range(self.batch.images.to(device))))
            return {ACCURACY: _accuracy(logits, labels)}
        cam, logits = self.attention.maps(to_unit_range(self.batch.images.to(device)), labels, self.camal)
        target = target_tensor(mask_targets(self.batch, self.attention.grid, self.camal.coverage)).to(device)
        cam = normalize_cam(cam)
        found = {
            ACCURACY: _accuracy(logits, labels),
            EPG: float(energy_pointing_game(cam, target).nanmean()),
            IOU: float(iou(cam, target).nanmean()),
        }
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def draw(self, accelerator: Accelerator, step: int) -> None:
        """Write a sheet image | mask | map into TensorBoard."""
        if self.batch is None or self.attention is None or not self.overlays or not accelerator.trackers:
            return
        count = self.overlays
        images, labels = self.batch.images[:count], self.batch.labels[:count]
        device = next(self.model.parameters()).device
        cam, _ = self.attention.maps(to_unit_range(images.to(device)), labels.to(device), self.camal)
        sheet = attention_sheet(
            images.permute(0, 2, 3, 1).numpy(),
            self.batch.masks[:count].numpy().astype(np.uint8),
            marked_pixels(),
            {"class": normalize_cam(cam).cpu().numpy()},
        )
        tracker: Any = accelerator.get_tracker(TENSORBOARD)
        tracker.log_images({"camal/attention": sheet[None]}, step, dataformats="NHWC")


def _on(value: Tensor | float, device: torch.device) -> Tensor | float:
    return value.to(device) if isinstance(value, Tensor) else value


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).float().mean())

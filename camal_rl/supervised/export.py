"""Exports an image classifier as one file that runs without this package: a ``torch.export`` program or ONNX.

The input is images ``uint8 (B, H, W, 3)`` of the training size. The division by 255 and the model's own normalization
are included. The output is the logits.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from camal_rl.runs.program_file import Exported, ExportFormat, ExportMismatch, Runner, write_program
from camal_rl.supervised.logits import logits_of
from camal_rl.training_modes import evaluating

_BATCHES = (1, 5)
_OUTPUTS = ("logits",)


class AnsweringNetwork(nn.Module):
    """A classifier for images as stored in files: ``uint8 (B, H, W, 3)`` to ``{"logits": (B, K)}``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits."""
        return {"logits": logits_of(self.model(images.permute(0, 3, 1, 2).float() / 255))}


def answering_program(model: nn.Module, image_size: int) -> ExportedProgram:
    """Return the graph of a classifier in float32, with a dynamic batch dimension.

    Args:
        model: the classifier, on the CPU; not modified.
        image_size: height and width of its images.

    Raises:
        ExportMismatch: torch.export cannot trace the model, which is the case for iFAM.
    """
    network = copy.deepcopy(AnsweringNetwork(model)).eval().requires_grad_(False)
    images = torch.from_numpy(_random_images(image_size, 2))
    try:
        with torch.no_grad():
            return torch.export.export(network, (images,), dynamic_shapes={"images": {0: Dim("batch", min=1)}})
    except Exception as error:  # a network of any library may contain operations that torch.export cannot trace
        told = str(error).strip().splitlines()[0][:200]
        raise ExportMismatch(f"torch.export cannot write this model as a graph: {told}") from error


def export_classifier(model: nn.Module, image_size: int, out: Path, file_format: ExportFormat) -> Exported:
    """Write a classifier, read the file again and compare it with the classifier.

    Args:
        model: the classifier, on the CPU; not modified.
        image_size: height and width of its images.
        out: the file, which must not exist; it appears only after passing the comparison.
        file_format: ``pt2`` or ``onnx``.

    Raises:
        ExportMismatch: a logit differs from the classifier's by more than the format's ``TOLERANCE``.
        WriteError: the file cannot be written.
    """
    program = answering_program(model, image_size)
    difference = write_program(program, out, file_format, _OUTPUTS, lambda run: _difference(model, image_size, run))
    return Exported(out, (image_size, image_size, 3), _OUTPUTS, difference)


def _difference(model: nn.Module, image_size: int, run: Runner) -> float:
    largest = 0.0
    for count in _BATCHES:
        images = _random_images(image_size, count)
        with evaluating(model), torch.no_grad():
            expected = AnsweringNetwork(model)(torch.from_numpy(images))["logits"]
        got = torch.tensor(run(images)["logits"])
        scale = max(1.0, float(expected.abs().max()))
        largest = max(largest, float((got - expected).abs().max()) / scale)
    return largest


def _random_images(image_size: int, count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, image_size, image_size, 3), np.uint8)
